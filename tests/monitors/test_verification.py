"""Forecasts meet their outcomes: late, revised, repeated, never; and calibrators learn in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from monitors import forecast_scores
from monitors.forecast_scores import ForecastScores, score, score_null
from monitors.online_intervals import Ledger, calibrate_in_time
from monitors.verification import ARRIVED, AWAITING, ISSUED, Verified, verify
from monitors.window import scores_alone
from monitors.window_codec import decode_part, encode_part
from schemas.forecasts import ForecastSpec
from transforms.calibrate.online import OnlineCalibrator
from transforms.calibrate.rules import restore, start

LEVELS = (0.05, 0.5, 0.95)
HOUR = 3_600_000_000
FIXED = ForecastSpec(target="y", levels=LEVELS)
ONLINE = ForecastSpec(target="y", levels=LEVELS, calibration="online")


def issued(times: Sequence[int], middle: Sequence[float], own: Sequence[float | None]) -> pa.Table:
    """Return forecasts of some hours, four hours a span, with the outcomes of their own rows."""
    n = len(times)
    at = pa.array([time * HOUR for time in times], pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "stream": ["s"] * n,
            "key": ["{}"] * n,
            "target": ["y"] * n,
            "issue_time": at,
            "valid_time": at,
            "levels": [list(LEVELS)] * n,
            "quantiles": [[m - 1, m, m + 1] for m in middle],
            "lower": [m - 1 for m in middle],
            "upper": [m + 1 for m in middle],
            "outcome": pa.array(own, pa.float64()),
            "model_id": ["m"] * n,
            "calibration": ["c"] * n,
            "path": ["rows"] * n,
            "row": list(range(n)),
            "span": [time // 4 for time in times],
            "baseline_id": ["b"] * n,
        }
    ).cast(ISSUED)


def arrived(*outcomes: tuple[int, float, int]) -> pa.Table:
    """Return outcomes: of which hour, what, and in which hour it became known."""
    rows = [
        {
            "key": "{}",
            "target": "y",
            "valid_time": at * HOUR,
            "outcome": outcome,
            "known_at": known * HOUR,
            "path": "outcomes",
            "row": row,
        }
        for row, (at, outcome, known) in enumerate(outcomes)
    ]
    return pa.Table.from_pylist(rows, ARRIVED)


NOTHING = issued([], [], [])


def verified(
    fresh: pa.Table = NOTHING,
    outcomes: pa.Table | None = None,
    awaiting: pa.Table | None = None,
    calibrator: OnlineCalibrator | None = None,
) -> Verified:
    """Verify, with a calibrator where there is one."""
    return verify(
        FIXED if calibrator is None else ONLINE,
        AWAITING.empty_table() if awaiting is None else awaiting,
        fresh,
        arrived() if outcomes is None else outcomes,
        lambda _: calibrator or start(0.9),
        wait=True,
    )


def total(*parts: Verified) -> ForecastScores:
    """Return the scores of all spans."""
    whole = ForecastScores()
    for part in parts:
        for _, _, _, gain in part.scores:
            whole = whole.merge(gain)
    return whole


def scored(middle: Sequence[float], outcome: Sequence[float]) -> ForecastScores:
    """Return the scores of forecasts with their outcomes, as if they had come at once."""
    m = np.array(middle)
    return score(np.stack([m - 1, m, m + 1], axis=1), m - 1, m + 1, outcome, LEVELS)


def test_a_forecast_counts_as_without_outcome_until_one_comes() -> None:
    """First without, then the difference: the sum is what it would be had both come at once."""
    first = verified(issued([0, 1, 5], [0, 0, 0], [None, None, 0.5]))
    assert total(first) == scored([0, 0, 0], [np.nan, np.nan, 0.5])
    second = verified(NOTHING, arrived((1, 3.0, 7)), first.awaiting)
    assert [(span, gain.scored, gain.no_outcome) for span, _, _, gain in second.scores] == [
        (0, 1, -1)
    ]
    assert total(first, second) == scored([0, 0, 0], [np.nan, 3.0, 0.5])
    told = second.outcomes.to_pylist()
    assert [(row["outcome"], row["revision"], row["row"]) for row in told] == [(3.0, 0, 1)]
    assert (told[0]["lower"], told[0]["upper"]) == (-1, 1)


def test_a_revision_takes_back_the_score_before() -> None:
    """An outcome outside the interval that is revised to one inside is no miss any more."""
    first = verified(issued([0], [0], [None]), arrived((0, 3.0, 2)))
    second = verified(NOTHING, arrived((0, 0.5, 4)), first.awaiting)
    assert total(first).misses == 1
    found = total(first, second)
    assert (found.scored, found.no_outcome, found.misses) == (1, 0, 0)
    assert found.pinball_sum == pytest.approx(scored([0], [0.5]).pinball_sum)
    assert found.pit == scored([0], [0.5]).pit
    assert second.outcomes["revision"].to_pylist() == [1]


def test_the_outcome_that_became_known_last_counts() -> None:
    """Whichever comes first; one that repeats it, or is out of date, changes nothing."""
    first = verified(issued([0], [0], [None]), arrived((0, 0.7, 9)))
    later = verified(NOTHING, arrived((0, 0.2, 3), (0, 0.7, 12)), first.awaiting)
    assert (later.used, later.repeated, later.outcomes.num_rows) == (0, 2, 0)
    assert later.awaiting["outcome"].to_pylist() == [0.7]
    together = verified(issued([0], [0], [None]), arrived((0, 0.7, 9), (0, 0.2, 3)))
    assert together.awaiting["outcome"].to_pylist() == [0.7]
    assert together.outcomes["revision"].to_pylist() == [0, 1]


def test_an_outcome_without_forecast_waits_for_it() -> None:
    """It is handed back, and joined when the forecast comes."""
    first = verified(NOTHING, arrived((3, 0.5, 4)))
    assert (first.unmatched.num_rows, first.used, first.repeated) == (1, 0, 0)
    second = verified(issued([3], [0], [None]), first.unmatched)
    assert second.unmatched.num_rows == 0
    assert total(second) == scored([0], [0.5])
    assert second.forecasts["outcome"].to_pylist() == [None]  # that of its own row


def test_infinite_intervals_do_not_spoil_the_sum() -> None:
    """A width that is infinite stays so: the difference of two is nothing, not NaN."""
    wide = score([[0.0, 1.0, 2.0]], [-np.inf], [np.inf], [1.0], LEVELS)
    assert wide.merge(wide.minus(wide)) == wide


def test_a_huge_value_taken_back_breaks_no_test() -> None:
    """What rounding leaves of the loss may be below zero: it has no logarithm."""
    n = 40
    q, y, ends = np.tile([-2.0, 0.0, 2.0], (n, 1)), np.linspace(-3, 3, n), np.full(n, 2.0)
    right = score(q, -ends, ends, y, LEVELS)
    null = score_null([replace(right, pinball_sum=right.pinball_sum + k) for k in range(9)], 0.9)
    assert forecast_scores.test_scores(right, null)["pinball"].tested
    lost = replace(right, pinball_sum=-0.25)
    assert not forecast_scores.test_scores(lost, null)["pinball"].tested


def test_scores_alone_change_nothing_else(rng: np.random.Generator) -> None:
    """Added to a window's part, before or after it was written to a file, they are a zero."""
    part = scores_alone({"y": ForecastScores(scored=2, pinball_sum=0.5)})
    for again in (part, decode_part(encode_part(part))):
        gram = rng.normal(size=(4, 4))
        both = again.profile.gram + gram
        assert np.array_equal(both, gram)
        whole = again + part
        assert whole.scores["y"].scored == 4
        assert (whole.rows.table.num_rows, whole.summary.columns) == (0, {})


def hourly(rng: np.random.Generator, n: int) -> tuple[list[float], list[float]]:
    """Return forecasts of 0 and outcomes twice as wide as they say."""
    return [0.0] * n, (2.0 * rng.normal(size=n)).tolist()


@pytest.mark.parametrize("delay", [0, 3], ids=["own rows", "three hours late"])
@pytest.mark.parametrize("cuts", [(20,), (7, 8, 31), tuple(range(1, 40))])
def test_intervals_do_not_depend_on_how_rows_are_cut(
    rng: np.random.Generator, delay: int, cuts: Sequence[int]
) -> None:
    """Rows and outcomes that come in order: bit-equal intervals and states, however often."""
    middle, y = hourly(rng, 40)
    own = y if delay == 0 else [None] * 40

    def pieces(cuts: Sequence[int]) -> tuple[list[float], Any, ForecastScores]:
        calibrator, awaiting = start(0.9), AWAITING.empty_table()
        lower, found = list[float](), list[Verified]()
        for first, last in zip([0, *cuts], [*cuts, 80], strict=True):
            times = [t for t in range(40) if first <= t < last]
            late = [(t, y[t], t + delay) for t in range(40) if first <= t + delay < last and delay]
            fresh = issued(times, [middle[t] for t in times], [own[t] for t in times])
            done = verified(fresh, arrived(*late), awaiting, calibrator)
            awaiting, calibrator = done.awaiting, restore(calibrator.to_dict())
            lower += done.forecasts["lower"].to_pylist()
            found.append(done)
        return lower, calibrator.to_dict(), total(*found)

    whole, state, scores = pieces(())
    lower, after, summed = pieces(cuts)
    assert lower == whole
    assert after == state
    assert summed.pit == scores.pit
    assert summed.scored == scores.scored == 40
    assert whole[-1] < -1.2  # it has learnt that outcomes lie further out


def ledger(known: Sequence[Sequence[tuple[int, float]]]) -> Ledger:
    """Return three hourly forecasts that are not issued yet."""
    n = len(known)
    ends = np.full(n, -1.0), np.full(n, 1.0)
    return Ledger(np.arange(n) * HOUR, *ends, [None] * n, np.zeros(n, np.bool_), known)


def test_an_outcome_is_learnt_after_it_is_known() -> None:
    """Known at noon, it moves the interval after noon's: not noon's, and not one before."""

    def lower(*known: list[tuple[int, float]]) -> NDArray[np.float64]:
        own = ledger(known)
        calibrate_in_time(start(0.9), own)
        return own.lower

    never, at_one = lower([], [], []), lower([(HOUR, 9.0)], [], [])
    assert at_one[:2].tolist() == never[:2].tolist()
    assert at_one[2] != never[2]
    at_once = lower([(0, 9.0)], [], [])
    assert at_once[1] != never[1]


def test_what_is_revised_before_it_is_learnt_is_learnt_revised() -> None:
    """The last version that was known before counts; what is known later is not learnt twice."""

    def after(*known: list[tuple[int, float]]) -> dict[str, Any]:
        calibrator = start(0.9)
        calibrate_in_time(calibrator, ledger(known))
        return calibrator.to_dict()

    plain = after([(0, 2.0)], [], [])
    assert after([(0, 2.0), (2 * HOUR, 7.0)], [], []) == plain
    assert after([(0, 5.0), (0, 2.0)], [], []) == plain
    assert after([(0, 5.0)], [], []) != plain
