"""Lagged values: what a feature of the same key was a given time ago."""

from __future__ import annotations

import itertools
import operator
import pickle
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Batch
from schemas.stream import Stream
from transforms.beam import WithLags, _ToSpans
from transforms.contract import ROW
from transforms.lags import halo, lags_of, lags_of_rows, span_seconds, with_lags

HOUR = 3_600
LAGS = {"1h": HOUR, "5h": 5 * HOUR}
KEYS = ("a", "b")

#: (key, hour, value): small ranges, so that times repeat, and lags of one row are rows of another.
Row = tuple[str, int, float | None]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.integers(-20, 40),
        st.one_of(st.none(), st.integers(-9, 9).map(float)),
    ),
    min_size=1,
    max_size=40,
)


def stream(**changes: Any) -> Stream:
    """Return a stream of one number per key and hour, with windows of some hours."""
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "x",
            "source": {"path": "x"},
            "reference": {"path": "x"},
            "time": {"column": "time"},
            "key": ["key"],
            "columns": {"v": {"type": "number"}, "w": {"type": "category"}},
            "window": {"length": "6h"},
            "lags": list(LAGS),
            **changes,
        }
    )


def table(rows: Sequence[Row]) -> pa.Table:
    """Return rows as they come out of the contract."""
    times = [hour * HOUR * 10**6 for _, hour, _ in rows]
    return pa.table(
        {
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "key": pa.array([key for key, _, _ in rows], pa.string()),
            "v": pa.array([value for _, _, value in rows], pa.float64()),
            "w": pa.array([str(value) for _, _, value in rows], pa.string()),
        }
    )


def naive(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Return the rows with their lags, each looked for among all rows."""

    def value(key: str, hour: int) -> float | None:
        found = [v for k, h, v in rows if (k, h) == (key, hour) and v is not None]
        return statistics.median(found) if found else None

    return [(*row, *(value(row[0], row[1] - lag // HOUR) for lag in LAGS.values())) for row in rows]


def assert_beam_gives(parts: Iterable[Batch], expected: list[tuple[int, tuple[Any, ...]]]) -> None:
    """Compare places and rows that come out of `WithLags`; each batch is in order."""

    def compare(batches: list[Batch]) -> None:
        seen: list[tuple[int, tuple[Any, ...]]] = []
        for batch in batches:
            hours = pl.col("time").dt.epoch("s") // HOUR
            frame = pl.DataFrame(pl.from_arrow(batch.table)).with_columns(hours)
            places = frame[ROW].to_list()
            assert places == sorted(places)
            assert batch.first_row == places[0]
            values = frame.select("key", "time", "v", "v 1h ago", "v 5h ago").rows()
            seen.extend(zip(places, values, strict=True))
        assert sorted(seen, key=operator.itemgetter(0)) == expected

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        found = pipeline | beam.Create(list(parts)) | WithLags(stream())  # type: ignore[no-untyped-call]
        assert_that(found, compare)  # type: ignore[no-untyped-call]


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, shuffled=st.randoms(use_true_random=False))
def test_lags_are_those_of_a_naive_join_in_any_order(rows: list[Row], shuffled: Any) -> None:
    """Each value is the median of those of the same key exactly a lag earlier, or null."""
    own = [row for row in rows if row[0] == KEYS[0]]
    past = list(own)
    shuffled.shuffle(past)
    at, past_at = (
        np.array([hour * HOUR * 10**6 for _, hour, _ in part], dtype=np.int64)
        for part in (own, past)
    )
    lagged = with_lags(table(own), at, table(past).select(["v"]), past_at, lags_of(stream()))
    found = zip(lagged["v 1h ago"].to_pylist(), lagged["v 5h ago"].to_pylist(), strict=True)
    assert list(found) == [row[3:] for row in naive(own)]


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.integers(-50, 50), min_size=1, max_size=20),
    span=st.integers(1, 12),
    lags=st.lists(st.integers(1, 30), min_size=1, max_size=3),
)
def test_halo_is_every_later_span_that_reaches_back_to_a_row_once(
    times: list[int], span: int, lags: list[int]
) -> None:
    """A row's own span needs no copy of it."""
    rows, spans = halo(np.array(times, dtype=np.int64), span, lags)
    pairs = list(zip(rows.tolist(), spans.tolist(), strict=True))
    wanted = {(i, (t + lag) // span) for i, t in enumerate(times) for lag in lags}
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(i, number) for i, number in wanted if number > times[i] // span}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_beam_gives_the_lags_of_a_naive_join_however_rows_are_cut_into_files_and_batches(
    seed: int,
) -> None:
    """Rows of any key and time may be in any file; no row is lost, and none is there twice."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = [
        (KEYS[rng.integers(2)], int(rng.integers(-20, 40)), [None, 1.0, 2.0, 7.0][rng.integers(4)])
        for _ in range(150)
    ]
    ends = [0, *np.sort(rng.choice(149, seed * 4, replace=False) + 1).tolist(), len(rows)]
    parts = []
    for number, (start, stop) in enumerate(itertools.pairwise(ends)):
        places = pa.array(range(start, stop), pa.int64())
        own = table(rows[start:stop]).append_column(ROW, places)
        parts.append(Batch(own, f"file {number % 2}", start))
    assert_beam_gives(parts, list(enumerate(naive(rows))))


def test_a_batch_crosses_the_shuffle_in_pieces_that_carry_no_more_than_themselves() -> None:
    """A slice of an Arrow table is pickled with all that it was cut from."""
    rows: list[Row] = [("a", hour, 1.0) for hour in range(20_000)]
    places = pa.array(range(len(rows)), pa.int64())
    whole = table(rows).append_column(ROW, places)
    pieces = list(_ToSpans(stream()).process(Batch(whole, "p", 0)))
    size = sum(len(pickle.dumps(piece)) for piece in pieces)
    assert len(pieces) > 1_000
    assert size < 10 * whole.nbytes


def test_spans_are_a_window_long_or_four_of_the_longest_lag() -> None:
    """Whichever is longer; a day stands for a window that is counted in rows."""
    counted = {"window": {"rows": 100}, "alarms": {"false": "1 per 100 windows"}}
    assert span_seconds(stream()) == 20 * HOUR
    assert span_seconds(stream(window={"length": "7d"})) == 168 * HOUR
    assert span_seconds(stream(**counted)) == 24 * HOUR


def test_lags_of_rows_are_named_by_their_count() -> None:
    """The same join, with places instead of times."""
    lags = lags_of_rows(["v"], [1, 2])
    assert lags == {"v 1 row ago": ("v", 1), "v 2 rows ago": ("v", 2)}
    values = pa.table({"v": pa.array([1, 2, None, 4], pa.int64())})
    at = np.arange(4)
    lagged = with_lags(values, at, values, at, lags)
    assert lagged["v 1 row ago"].to_pylist() == [None, 1.0, 2.0, None]
    assert lagged["v 2 rows ago"].to_pylist() == [None, None, 1.0, 2.0]
