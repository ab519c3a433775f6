from __future__ import annotations

import math

import numpy as np
import pytest

from transforms.calibrate.aci import Aci
from transforms.calibrate.online import OnlineCalibrator
from transforms.calibrate.rules import start
from transforms.calibrate.weighted import Weighted


def learn(calibrator: OnlineCalibrator, outcomes: list[float]) -> None:
    """Issue ±1 and learn, one after the other: the scores are |outcome| − 1."""
    for outcome in outcomes:
        calibrator.learn(calibrator.issue(-1.0, 1.0), outcome)


def test_weighted_bound_is_the_quantile_with_a_point_at_infinity() -> None:
    """Scores 0 … 19 in turn, 50 %: the first whose weights reach half of all and one more."""
    calibrator = start(0.5, kind="weighted")
    learn(calibrator, [float(1 + i) for i in range(20)])
    weights = 0.99 ** np.arange(20, 0, -1)
    expected = int(np.argmax(np.cumsum(weights) >= (weights.sum() + 1) / 2))
    assert calibrator.issue(-1.0, 1.0).upper[0] == pytest.approx(1 + expected)


@pytest.mark.parametrize(("scores", "finite"), [(9, False), (10, True)])
def test_weighted_needs_nine_whole_scores_at_ninety_percent(scores: int, finite: bool) -> None:  # noqa: FBT001
    """The weights must sum to nine, which at ρ = .99 takes ten scores."""
    calibrator = start(0.9, kind="weighted")
    learn(calibrator, [2.0] * scores)
    assert math.isfinite(calibrator.issue(-1.0, 1.0).upper[0]) is finite


def test_weighted_window_goes_round() -> None:
    """Old scores are overwritten: after more than the window, what is left is the last 688."""
    rule = Weighted.start(0.9, 1)
    calibrator = OnlineCalibrator(rule, 1)
    learn(calibrator, [float(i) for i in range(700)])
    assert sorted(rule.scores[0]) == [float(i - 1) for i in range(12, 700)]
    learn(calibrator, [5.0])
    assert 12 - 1 not in rule.scores[0]


def test_weighted_covers_exchangeable_outcomes(rng: np.random.Generator) -> None:
    """At least 90 %, and less than .91 + 3.5 binomial errors, of outcomes of one law are held."""
    calibrator, held = start(0.9, kind="weighted", series=10), []
    for outcome in rng.normal(size=(600, 10)):
        issued = calibrator.issue(np.full(10, -1.0), np.full(10, 1.0))
        held.append((issued.lower <= outcome) & (outcome <= issued.upper))
        calibrator.learn(issued, outcome)
    error = np.sqrt(0.09 / 5000)
    assert 0.9 - 3.5 * error < np.mean(held[100:]) < 0.91 + 3.5 * error


def test_aci_level_is_moved_by_each_miss_and_hit() -> None:
    """Two infinite intervals hold, then a miss: α = .1 + 2 · .05 · .1 + .05 (.1 − 1)."""
    rule = Aci.start(0.5, 1, 0.1)
    calibrator = OnlineCalibrator(rule, 1)
    learn(calibrator, [2.0])  # no score yet: infinite, a hit
    assert rule.alpha[0] == pytest.approx(0.5 + 0.1 * 0.5)
    learn(calibrator, [9.0])  # rank ⌈.45 · 2⌉ = 1 of one score: bound 1, ends ±2, a miss
    assert rule.alpha[0] == pytest.approx(0.55 - 0.1 * 0.5)


def test_aci_holds_its_bound_on_a_stream_that_plays_against_it() -> None:
    """Whatever comes, |misses/T − α| ≤ (max(α, 1 − α) + γ)/(Tγ)."""
    rule = Aci.start(0.9, 1, 0.05)
    calibrator, misses, times = OnlineCalibrator(rule, 1), 0, 1500
    for t in range(times):
        issued = calibrator.issue(-1.0, 1.0)
        outcome = float(issued.upper[0]) * 1.01 + 0.01 if t % 3 == 0 else 0.0
        if not math.isfinite(outcome):
            outcome = float(t)
        misses += not issued.lower[0] <= outcome <= issued.upper[0]
        calibrator.learn(issued, outcome)
    assert abs(misses / times - 0.1) <= (0.9 + 0.05) / (times * 0.05)


def test_dtaci_trusts_quick_steps_after_a_jump_and_slow_ones_before(
    rng: np.random.Generator,
) -> None:
    """The mean step size, by weight, grows when the scale jumps."""
    calibrator = start(0.9, kind="dtaci", series=10)
    steps = []
    for t, outcome in enumerate(rng.normal(size=(900, 10))):
        issued = calibrator.issue(np.full(10, -1.0), np.full(10, 1.0))
        calibrator.learn(issued, outcome * (4 if t >= 800 else 1))
        weights = np.array(calibrator.to_dict()["state"]["weights"])
        steps.append((weights @ (0.001 * 2.0 ** np.arange(8))).mean())
    assert steps[850] > 1.5 * steps[799]


@pytest.mark.parametrize("kind", ["dtaci", "pid"])
def test_long_run_coverage_of_a_changing_stream_is_nominal(
    kind: str, rng: np.random.Generator
) -> None:
    """Over a scale that doubles slowly, 90 % are held within a point and binomial error."""
    outcomes = rng.normal(size=(10, 1500)) * np.linspace(1, 2, 1500)
    calibrator, held = start(0.9, kind=kind, series=10), []
    for outcome in outcomes.T:
        issued = calibrator.issue(np.full(10, -1.0), np.full(10, 1.0))
        held.append((issued.lower <= outcome) & (outcome <= issued.upper))
        calibrator.learn(issued, outcome)
    assert abs(np.mean(held[300:]) - 0.9) < 0.01 + 3.5 * np.sqrt(0.09 / 12_000)


def test_pid_first_step_is_a_tenth_of_the_range_and_the_integrator() -> None:
    """Scores 1 and then 3, both missed, by hand."""
    calibrator = start(0.9, kind="pid")
    learn(calibrator, [2.0, 4.0])
    tracked = 0.1 * 0.0 * 0.9 + 0.1 * 2.0 * 0.9  # one score has no range; two have 2
    saturation = 2 / math.pi * (1 - 1 / math.log(10_000))
    bound = tracked + 3 * math.tan(min(1.8 * math.log(3) / (saturation * 3), 1.5))
    assert calibrator.issue(-1.0, 1.0).upper[0] == pytest.approx(1 + bound)
