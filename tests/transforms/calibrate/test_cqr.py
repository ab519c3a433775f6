from __future__ import annotations

import json
import math

import numpy as np
import pytest

from schemas.errors import BaselineError
from transforms.calibrate.cqr import calibrate, from_dict


def test_offset_is_the_conformal_rank() -> None:
    """With scores 1 … 9 and 80 %, the offset is the ⌈10 · 0.8⌉ = 8th smallest."""
    y = np.arange(1.0, 10.0)
    assert calibrate(np.full(9, -99.0), np.zeros(9), y, 0.8).offset == 8.0


def test_coverage_holds_on_exchangeable_rows(rng: np.random.Generator) -> None:
    """Intervals that are far too narrow cover 90 % of new rows once calibrated on others."""
    inside = []
    for _ in range(400):
        y = rng.standard_t(4, size=120)
        lower, upper = np.full(120, -0.5), np.full(120, 0.2)
        found = calibrate(lower[:99], upper[:99], y[:99], 0.9)
        lo, hi = found.apply(lower[99:], upper[99:])
        inside.append(np.mean((y[99:] >= lo) & (y[99:] <= hi)))
    # mean of 400 draws of Beta(90, 10) and 21 rows each
    error = math.sqrt((0.09 / 101 + 0.09 / 21) / 400)
    assert abs(np.mean(inside) - 0.9) < 3.5 * error


def test_too_wide_intervals_are_tightened_without_crossing() -> None:
    """A negative offset narrows; where it would cross the ends, both become the middle."""
    found = calibrate(np.full(99, -10.0), np.full(99, 10.0), np.zeros(99), 0.9)
    assert found.offset == -10.0
    lower, upper = found.apply([-10.0, -1.0, -30.0], [10.0, 3.0, 30.0])
    np.testing.assert_array_equal(lower, [0.0, 1.0, -20.0])
    np.testing.assert_array_equal(upper, [0.0, 1.0, 20.0])


@pytest.mark.parametrize(("rows", "finite"), [(8, False), (9, True), (0, False)])
def test_too_few_rows_give_an_infinite_interval_that_says_so(rows: int, finite: bool) -> None:  # noqa: FBT001
    """At 90 %, nine rows are the fewest that bound the interval."""
    found = calibrate(np.zeros(rows), np.ones(rows), np.full(rows, 0.5), 0.9)
    assert math.isfinite(found.offset) is finite
    assert ("too few rows" in found.label) is not finite
    if not finite:
        assert [float(end[0]) for end in found.apply([0.0], [1.0])] == [-math.inf, math.inf]


def test_rows_without_outcome_or_forecast_do_not_count() -> None:
    """NaN in outcome or ends leaves the row out."""
    lower, upper = np.array([0.0, np.nan, 0.0]), np.ones(3)
    assert calibrate(lower, upper, [2.0, 9.0, np.nan], 0.5).rows == 1


@pytest.mark.parametrize("rows", [5, 200])
def test_json_round_trip_is_exact(rows: int, rng: np.random.Generator) -> None:
    """What is written as strict JSON is read back equal, infinite offsets included."""
    found = calibrate(np.zeros(rows), np.ones(rows), rng.normal(size=rows), 0.9)
    assert from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


@pytest.mark.parametrize(
    ("change", "says"), [({"version": 2}, "version 2"), ({"offset": "wide"}, "damaged")]
)
def test_states_that_cannot_be_read_are_explained(change: dict[str, object], says: str) -> None:
    """Another version and a damaged value are errors that say what to do."""
    state = calibrate(np.zeros(20), np.ones(20), np.zeros(20), 0.9).to_dict() | change
    with pytest.raises(BaselineError, match=f"{says}.*tidegauge fit"):
        from_dict(state)
