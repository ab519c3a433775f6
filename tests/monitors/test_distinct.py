"""How many different times: exact while they are few, close when they are many, mergeable."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.distinct import KEPT, NO_TIMES, DistinctTimes, distinct_times


def estimate(micros: np.ndarray) -> DistinctTimes:
    """Return the estimate of some times."""
    kind = pa.timestamp("us", tz="UTC")
    return distinct_times(pa.chunked_array([pa.array(micros.astype(np.int64)).cast(kind)]))


@given(st.lists(st.integers(-(2**60), 2**60), max_size=200))
def test_few_times_are_counted_exactly(micros: list[int]) -> None:
    """Up to the capacity the count is the number of different times."""
    assert estimate(np.array(micros, dtype=np.int64)).count == len(set(micros))


@pytest.mark.parametrize("step", [1, 1_000_000, 3_600_000_000])
def test_many_times_are_counted_closely(step: int) -> None:
    """A hundred thousand times, evenly spaced, are counted to five standard errors."""
    times = np.arange(100_000) * step + 1_700_000_000_000_000
    assert estimate(times).count == pytest.approx(100_000, rel=5 / np.sqrt(KEPT))


def test_repeated_times_count_once(rng: np.random.Generator) -> None:
    """Twice the same rows have as many times as once."""
    times = rng.integers(0, 2**50, 30_000)
    once = estimate(times)
    assert estimate(np.r_[times, rng.permutation(times)]).hashes.tolist() == once.hashes.tolist()
    assert (once + once).count == once.count


def test_parts_merge_to_the_whole_in_any_grouping(rng: np.random.Generator) -> None:
    """However the times are cut and in whatever order the parts are added."""
    times = rng.integers(0, 2**50, 20_000)
    whole = estimate(times)
    parts = [estimate(part) for part in np.split(times, [10, 5_000, 5_001, 17_000])]
    rng.shuffle(parts)
    left = functools.reduce(operator.add, parts, NO_TIMES)
    right = parts[0] + (parts[1] + (parts[2] + (parts[3] + parts[4])))
    assert left.hashes.tolist() == whole.hashes.tolist() == right.hashes.tolist()
    assert len(whole.hashes) == KEPT
    assert NO_TIMES.count == 0
