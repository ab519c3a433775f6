from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from numpy.typing import NDArray

from transforms.calibrate.online import Issued
from transforms.calibrate.rules import start
from transforms.calibrate.tracker import Tracker

Floats = NDArray[np.float64]


def covered(
    outcomes: Floats, late: int = 0, kind: str = "tracker", base: float = 1.645
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Lower and upper ends around a base of ±1.645, and what they held; shape (S, time)."""
    calibrator = start(0.9, kind=kind, series=len(outcomes))
    half = np.full(len(outcomes), base)
    waiting: deque[tuple[Floats, Issued]] = deque()
    lower, upper = np.empty_like(outcomes), np.empty_like(outcomes)
    for t, outcome in enumerate(outcomes.T):
        if len(waiting) > late:
            known, issued = waiting.popleft()
            calibrator.learn(issued, known)
        issued = calibrator.issue(-half, half)
        lower[:, t], upper[:, t] = issued.lower, issued.upper
        waiting.append((outcome, issued))
    return lower, upper, (lower <= outcomes) & (outcomes <= upper)


def worst_of_500(held: NDArray[np.bool_]) -> float:
    """Mean over series of the lowest coverage of any 500 outcomes."""
    total = np.pad(held, ((0, 0), (1, 0))).cumsum(axis=1)
    return float((total[:, 500:] - total[:, :-500]).min(axis=1).mean() / 500)


def winkler(lower: Floats, upper: Floats, outcomes: Floats) -> float:
    """Mean Winkler score of 90 % intervals."""
    beyond = np.maximum(lower - outcomes, 0) + np.maximum(outcomes - upper, 0)
    return float((upper - lower + 20 * beyond).mean())


@pytest.mark.parametrize("late", [0, 24])
def test_coverage_is_what_is_aimed_at(late: int, rng: np.random.Generator) -> None:
    """Skewed noise of another scale and centre than the base: to a point, on both sides."""
    outcomes = 3 + rng.gumbel(size=(20, 2500))
    lower, upper, held = covered(outcomes, late)
    known = slice(500, None)
    error = np.sqrt(0.09 / held[:, known].size)
    assert abs(held[:, known].mean() - 0.907) < 0.01 + 3.5 * error
    for misses in (outcomes < lower, outcomes > upper):
        assert abs(misses[:, known].mean() - 0.0465) < 0.015


@pytest.mark.parametrize(("interval", "half"), [(0.5, 0.674), (0.99, 2.576)])
def test_other_intervals_are_held_too(
    interval: float, half: float, rng: np.random.Generator
) -> None:
    """Half of all and all but a hundredth, of noise three times that of a normal base."""
    calibrator, held = start(interval, series=20), []
    for outcome in 3 * rng.normal(size=(1000, 20)):
        issued = calibrator.issue(np.full(20, -half), np.full(20, half))
        held.append((issued.lower <= outcome) & (outcome <= issued.upper))
        calibrator.learn(issued, outcome)
    error = np.sqrt(interval * (1 - interval) / 16_000)
    assert -0.005 - 3.5 * error < np.mean(held[200:]) - interval < 0.01 + 3.5 * error


@pytest.mark.slow
@pytest.mark.parametrize(("late", "least"), [(0, 0.87), (24, 0.86)])
def test_worst_500_of_a_stream_that_breaks_hold(
    late: int, least: float, rng: np.random.Generator
) -> None:
    """Scale times three, then a centre two off: coverage falls to .87 or .86 at worst, on average.

    The lowest of some 2,000 windows varies by .012 from seed to seed.
    """
    outcomes = rng.standard_t(5, size=(20, 4500)) / np.sqrt(5 / 3)
    outcomes[:10, 2500:] *= 3
    outcomes[10:, 2500:] += 2
    held = covered(outcomes, late)[2][:, 1500:]
    assert worst_of_500(held) > least - 2 * 0.012 / np.sqrt(20)
    assert abs(held.mean() - 0.9) < 0.015


@pytest.mark.slow
def test_season_of_the_noise_is_seen_through_a_delay(rng: np.random.Generator) -> None:
    """With outcomes two thirds of a season late, widths still go up and down with the noise."""
    t = np.arange(4000)
    sigma = 1 + 0.8 * np.sin(2 * np.pi * t / 300)
    outcomes = sigma * rng.normal(size=(5, 4000))
    lower, upper, held = covered(outcomes, late=200)
    scored = slice(2000, None)
    widths = (upper - lower)[:, scored]
    assert np.corrcoef(widths.mean(axis=0), sigma[scored])[0, 1] > 0.85
    other, another, _ = covered(outcomes, late=200, kind="weighted")
    ours = winkler(lower[:, scored], upper[:, scored], outcomes[:, scored])
    theirs = winkler(other[:, scored], another[:, scored], outcomes[:, scored])
    assert ours < 0.95 * theirs
    assert abs(held[:, scored].mean() - 0.9) < 0.025


def test_late_outcomes_of_a_jump_do_not_wind_the_ends_up(rng: np.random.Generator) -> None:
    """Two hundred misses that were past helping leave the width near the new one, and finite."""
    outcomes = rng.normal(size=(10, 3000))
    outcomes[:, 1500:] *= 3
    lower, upper, held = covered(outcomes, late=200)
    width = (upper - lower)[:, 1900:].mean(axis=0)
    assert width.max() < 1.3 * 3 * 3.29
    assert held[:, 1900:].mean() > 0.88
    assert np.isfinite(lower).all()


def test_one_absurd_outcome_is_forgotten(rng: np.random.Generator) -> None:
    """After an outcome of 10⁹, the mean width of the next hundred is at most double."""
    outcomes = rng.normal(size=(5, 1200))
    outcomes[:, 1000] = 1e9
    lower, upper, _ = covered(outcomes)
    assert (upper - lower)[:, 1001:1100].mean() < 2 * (upper - lower)[:, 900:1000].mean()
    assert np.isfinite(upper).all()


def test_outcomes_that_never_come_cost_nothing_but_their_number(rng: np.random.Generator) -> None:
    """With a third of the outcomes missing at random, coverage of all is as aimed at."""
    outcomes = 2 * rng.normal(size=(10, 3000))
    calibrator, held = start(0.9, series=10), []
    for outcome in outcomes.T:
        issued = calibrator.issue(np.full(10, -1.0), np.full(10, 1.0))
        held.append((issued.lower <= outcome) & (outcome <= issued.upper))
        calibrator.learn(issued, np.where(rng.random(10) < 1 / 3, np.nan, outcome))
    found = np.mean(held[500:])
    assert abs(found - 0.907) < 3.5 * np.sqrt(0.09 / 25_000)


def test_constant_target_is_held_by_ever_less() -> None:
    """A target that never moves ends up in an interval a hundredth of the base's, still ordered."""
    lower, upper, held = covered(np.zeros((1, 2000)))
    assert held.mean() > 0.9
    assert (upper >= lower).all()
    assert (upper - lower)[0, -1] < 0.01 * (upper - lower)[0, 0]


def test_change_of_ends_below_and_above_is_learnt_apart(rng: np.random.Generator) -> None:
    """A long upper tail moves the upper end out and the lower one in."""
    lower, upper, _ = covered(rng.exponential(size=(5, 2000)))
    assert abs(np.median(lower[:, 1000:]) - -np.log(1 - 0.0465)) < 0.1
    assert abs(np.median(upper[:, 1000:]) - -np.log(0.0465)) < 0.4


@pytest.mark.parametrize(("share", "push"), [(0.03, 0.0), (0.1, 1.2), (-0.1, -1.2)])
def test_recent_misses_are_answered_beyond_chance_only(share: float, push: float) -> None:
    """Misses .03 off the aim over 60 outcomes are chance; .1 off moves each end by 1.2 scales."""
    rule = Tracker.start(0.9, 1)
    before = rule.ends(0)
    rule.recent[:] = share
    after = rule.ends(0)
    scale = rule.scale[0, 0]
    assert after[1][0] - before[1][0] == pytest.approx(push * scale, abs=0.15 * scale)
    assert after[0][0] - before[0][0] == pytest.approx(-push * scale, abs=0.15 * scale)
