from __future__ import annotations

import functools
import json
import math

import numpy as np
import pytest
from scipy import special
from scipy.signal import lfilter

from monitors import forecast_scores
from monitors.forecast_scores import (
    ForecastScores,
    Monitor,
    ScoreNull,
    score,
    score_null,
    threshold_for,
)
from schemas.errors import BaselineError

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
NORMAL = special.ndtri(LEVELS)
MONITORS: tuple[Monitor, ...] = ("coverage", "pinball", "pit")
WEEK = 168


def scores_of(y: np.ndarray) -> ForecastScores:
    """Score outcomes against the quantiles of a standard normal."""
    quantiles = np.tile(NORMAL, (len(y), 1))
    return score(quantiles, quantiles[:, 0], quantiles[:, -1], y, LEVELS)


def weeks(rng: np.random.Generator, phi: float, count: int) -> list[ForecastScores]:
    """Score consecutive weeks of an hourly AR(1) with a standard normal margin."""
    noise = rng.standard_normal((count + 1) * WEEK)
    y = lfilter([math.sqrt(1 - phi**2)], [1, -phi], noise)[WEEK:]
    return [scores_of(y[i * WEEK : (i + 1) * WEEK]) for i in range(count)]


def test_scores_count_what_they_say() -> None:
    """Below, above, missing, loss, width and PIT of three rows are as worked by hand."""
    q = np.tile([0.0, 1.0, 2.0], (4, 1))
    found = score(q, q[:, 0], q[:, 2], [-1.0, 1.0, 5.0, np.nan], (0.25, 0.5, 0.75))
    assert (found.scored, found.no_outcome, found.below, found.above) == (3, 1, 1, 1)
    assert found.width_sum == 6.0
    # ψ: (.75 + 1 + .75), (.25 + 0 + .25), (1.25 + 2 + 2.25), each over three levels
    assert found.pinball_sum == pytest.approx((2.5 + 0.5 + 5.5) / 3)
    assert sum(found.pit) == 3
    assert found.pit[5] == 1
    assert found.coverage == pytest.approx(1 / 3)


def test_merge_equals_scoring_at_once(rng: np.random.Generator) -> None:
    """Counts of parts add to the counts of the whole, in any order; nothing is neutral."""
    y = rng.normal(size=90)
    y[::7] = np.nan
    parts = [scores_of(part) for part in np.split(y, 3)]
    whole = scores_of(y)
    for order in ([0, 1, 2], [2, 0, 1]):
        merged = functools.reduce(ForecastScores.merge, [parts[i] for i in order], ForecastScores())
        assert merged.pinball_sum == pytest.approx(whole.pinball_sum)
        assert merged.pit == whole.pit
        assert (merged.scored, merged.no_outcome, merged.misses) == (
            whole.scored,
            whole.no_outcome,
            whole.misses,
        )


def test_json_round_trips_are_exact(rng: np.random.Generator) -> None:
    """Scores, an infinite width among them, and nulls survive strict JSON."""
    infinite = score([[0.0, 1.0]], [-np.inf], [np.inf], [0.5], (0.25, 0.75))
    for scores in (scores_of(rng.normal(size=30)), infinite):
        state = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
        assert ForecastScores.from_dict(state) == scores
    null = score_null(weeks(rng, 0.5, 10), 0.9)
    assert ScoreNull.from_dict(json.loads(json.dumps(null.to_dict(), allow_nan=False))) == null
    with pytest.raises(BaselineError, match="version 9"):
        ScoreNull.from_dict(null.to_dict() | {"version": 9})


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_false_alarms_stay_at_their_level_under_serial_dependence(phi: float) -> None:
    """On weekly windows of an hourly AR(1), each test's false alarms are at most its level."""
    rng = np.random.default_rng(7)
    repeats, tested = 80, 12
    p_values: dict[Monitor, list[float]] = {monitor: [] for monitor in MONITORS}
    for _ in range(repeats):
        windows = weeks(rng, phi, 26 + tested)
        null = score_null(windows[:26], 0.9)
        for window in windows[26:]:
            for monitor, result in forecast_scores.test_scores(window, null).items():
                assert result.p_value is not None
                p_values[monitor].append(result.p_value)
    for monitor, values in p_values.items():
        for level in (0.05, 0.01, 0.002):
            # windows of one reference share its errors: allow for twice the binomial variance
            error = math.sqrt(2 * level * (1 - level) / len(values))
            assert np.mean(np.array(values) <= level) <= level + 3 * error, (monitor, level)


def test_null_is_no_wider_than_it_must_be(rng: np.random.Generator) -> None:
    """Median p-values of windows like the reference's lie around one half, not near one."""
    windows = weeks(rng, 0.5, 90)
    null = score_null(windows[:30], 0.9)
    found = [forecast_scores.test_scores(window, null) for window in windows[30:]]
    for monitor in MONITORS:
        median = np.median([result[monitor].p_value or 0.0 for result in found])
        assert 0.25 < median < 0.8, monitor


def test_coverage_is_the_exact_binomial_without_over_dispersion() -> None:
    """When every reference window misses alike, the p-value is the binomial tail, doubled."""
    same = ForecastScores(scored=1000, below=50, above=50, pinball_sum=1.0, pit=(100,) * 10)
    null = score_null([same] * 1000, 0.9)
    window = ForecastScores(scored=100, below=2, above=16, pinball_sum=0.1, pit=(10,) * 10)
    result = forecast_scores.test_scores(window, null)["coverage"]
    assert result.p_value == pytest.approx(2 * special.bdtrc(17, 100, 0.1), rel=0.02)


@pytest.mark.parametrize(("spread", "direction"), [(2.0, 1), (0.3, -1)])
def test_coverage_alarms_on_both_sides(
    spread: float, direction: int, rng: np.random.Generator
) -> None:
    """Too many misses and too few are both seen, and the effect has the sign of the change."""
    null = score_null(weeks(rng, 0.0, 40), 0.9)
    result = forecast_scores.test_scores(scores_of(spread * rng.normal(size=4 * WEEK)), null)
    coverage = result["coverage"]
    assert coverage.statistic is not None
    assert coverage.statistic > threshold_for(0.002)
    assert coverage.effect is not None
    assert coverage.effect * direction < 0


def test_pinball_alarms_on_worse_forecasts_only(rng: np.random.Generator) -> None:
    """A doubled spread alarms and names the change; a halved one does not."""
    null = score_null(weeks(rng, 0.5, 26), 0.9)
    worse = forecast_scores.test_scores(scores_of(2 * rng.normal(size=WEEK)), null)["pinball"]
    better = forecast_scores.test_scores(scores_of(0.5 * rng.normal(size=WEEK)), null)["pinball"]
    assert worse.statistic is not None
    assert worse.statistic > threshold_for(0.002)
    assert worse.effect is not None
    assert f"({100 * worse.effect:+.0f} %)" in worse.explanation
    assert better.p_value is not None
    assert better.p_value > 0.9


def test_pit_sees_a_shift_that_coverage_does_not(rng: np.random.Generator) -> None:
    """A small bias moves the histogram while coverage stays."""
    windows = [scores_of(rng.normal(size=1000)) for _ in range(31)]
    biased = scores_of(0.3 + 0.95 * rng.normal(size=1000))
    found = forecast_scores.test_scores(biased, score_null(windows, 0.9))
    pit, coverage = found["pit"], found["coverage"]
    assert pit.statistic is not None
    assert coverage.statistic is not None
    assert pit.statistic > threshold_for(0.002) > coverage.statistic


def test_coverage_is_explained_in_one_sentence() -> None:
    """The explanation gives shares and counts of the window, and the reference's share."""
    reference = ForecastScores(scored=168, below=8, above=8, pinball_sum=1.0, pit=(17,) * 10)
    window = ForecastScores(scored=168, below=4, above=59, pinball_sum=1.0, pit=(17,) * 10)
    result = forecast_scores.test_scores(window, score_null([reference] * 20, 0.9))["coverage"]
    assert result.explanation == (
        "62.5 % of outcomes fell inside the 90 % interval (105 of 168; 4 below, 59 above), "
        "against 90.5 % in the reference"
    )


@pytest.mark.parametrize(
    ("reference_windows", "rows", "says"),
    [
        (26, 0, "0 forecasts of the window have an outcome"),
        (26, 12, "12 forecasts of the window have an outcome"),
        (5, WEEK, "the reference has 5 windows"),
        (0, WEEK, "the reference has 0 windows"),
    ],
)
def test_too_little_is_not_tested_and_says_why(
    reference_windows: int, rows: int, says: str, rng: np.random.Generator
) -> None:
    """Empty and small windows, and short references, give no statistic but a reason."""
    null = score_null(weeks(rng, 0.0, reference_windows), 0.9)
    for result in forecast_scores.test_scores(scores_of(rng.normal(size=rows)), null).values():
        assert not result.tested
        assert result.p_value is None
        assert says in result.explanation


def test_exact_forecasts_do_not_divide_by_zero() -> None:
    """A constant target forecast exactly leaves pinball and PIT untested, coverage tested."""
    exact = score(np.ones((50, 7)), np.ones(50), np.ones(50), np.ones(50), LEVELS)
    result = forecast_scores.test_scores(exact, score_null([exact] * 12, 0.9))
    assert [result[monitor].tested for monitor in MONITORS] == [True, False, False]


def test_a_window_much_longer_than_the_references_is_not_trusted_to_average_out() -> None:
    """Seeing every 16th hour of the reference hides its dependence; long windows stay quiet."""
    rng = np.random.default_rng(3)
    alarms = []
    for _ in range(40):
        noise = rng.standard_normal((26 + 5 + 1) * 672)
        y = lfilter([math.sqrt(1 - 0.81)], [1, -0.9], noise)[672:].reshape(-1, 672)
        null = score_null([scores_of(own[::16]) for own in y[:26]], 0.9)
        for own in y[26:]:
            found = forecast_scores.test_scores(scores_of(own), null)
            alarms.append([(found[m].p_value or 0.0) <= 0.01 for m in MONITORS])
    assert (np.mean(alarms, axis=0) <= 0.01 + 3 * math.sqrt(2 * 0.01 / 200)).all()


def test_statistic_and_threshold_share_a_scale(rng: np.random.Generator) -> None:
    """The statistic exceeds the threshold of a level just when the p-value is below the level."""
    null = score_null(weeks(rng, 0.0, 26), 0.9)
    result = forecast_scores.test_scores(scores_of(1.2 * rng.normal(size=WEEK)), null)["pinball"]
    assert result.p_value is not None
    assert result.statistic == pytest.approx(-math.log10(result.p_value))
    assert threshold_for(0.01) == pytest.approx(2.0)
