"""The windows that more rows may come for: what is kept of them from one run to the next.

The state is a set of Parquet parts of span profiles, which add, so that a run only ever appends to
it, and one small table of windows. Both are listed in the run's manifest, and so change with it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from monitors.due import PLAN
from monitors.profiling import SpanKey, SpanPart
from monitors.rollup import ALL_KEYS
from monitors.window_codec import decode_part, encode_part
from pipelines.sinks import write_part
from schemas.stream import Stream
from transforms.lateness import lateness

SPANS, WINDOWS = "spans", "windows"
MOST_PARTS = 16  # of span profiles, before they are put together
_PARTS_AT_A_TIME = 512  # decoded, of some 10 kB

#: Profiles of the rows of one span of time (or of rows) and key.
SPAN = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("span", pa.int64(), nullable=False),
        pa.field("baseline_id", pa.string(), nullable=False),
        pa.field("first", pa.int64(), nullable=False),  # least event time, µs since 1970
        pa.field("part", pa.large_binary(), nullable=False),
    ]
)
#: Windows that are not final. `revision` counts how often one was judged; a `dirty` one has rows
#: that it was not judged with.
_WINDOW = pl.Schema(
    {
        "key": pl.String(),
        "window": pl.Int64(),
        "revision": pl.Int64(),
        "dirty": pl.Boolean(),
        "named": PLAN["named"],
    }
)


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a run has come in event time, or in rows."""

    stream: Stream
    watermark: int | None  #: µs since 1970; None before any row, or where windows are of rows
    rows: int  #: taken in so far, where windows are counted in rows
    everything: bool = False  #: the source has an end: every window is complete

    def last_window(self, span: pl.Expr) -> pl.Expr:
        """Return the last window (its start, or its ordinal) that a span is in."""
        times = lateness(self.stream)
        return span if times is None else span * times.every

    def windows_of(self, spans: pl.LazyFrame) -> pl.LazyFrame:
        """Return the spans with each window that they are in."""
        times = lateness(self.stream)
        steps = (
            [0] if times is None else [-k * times.every for k in range(times.length // times.every)]
        )
        last = self.last_window(pl.col("span"))
        return spans.with_columns(window=pl.concat_list([last + step for step in steps])).explode(
            "window"
        )

    def complete(self) -> pl.Expr:
        """Say whether a `window` has all its rows, but for late ones."""
        times = lateness(self.stream)
        if self.everything:
            return pl.lit(value=True)
        if times is None:
            return (pl.col("window") + 1) * (self.stream.window.rows or 1) <= self.rows
        return pl.lit(self.watermark).is_not_null() & (
            pl.col("window") + times.length <= (self.watermark or 0)
        )

    def final(self, window: pl.Expr) -> pl.Expr:
        """Say whether a window takes in no more rows."""
        times = lateness(self.stream)
        if times is None:
            return (window + 1) * (self.stream.window.rows or 1) <= self.rows
        if self.watermark is None:
            return pl.lit(value=False)
        return window + times.length + times.allowed <= self.watermark


def span_table(element: tuple[SpanKey, SpanPart]) -> pa.Table:
    """Return one span's profile as a row."""
    (key, span, baseline_id), (first, part) = element
    row = {"key": key, "span": span, "baseline_id": baseline_id, "first": first}
    return pa.Table.from_pylist([row | {"part": encode_part(part)}], SPAN)


class MergeSpans(beam.CombineFn):
    """Merge `SpanPart`s."""

    def create_accumulator(self) -> SpanPart | None:
        """Return the empty sum."""
        return None

    def add_input(
        self,
        mutable_accumulator: SpanPart | None,
        element: SpanPart,
    ) -> SpanPart:
        """Add one part."""
        return _both(mutable_accumulator, element) if mutable_accumulator else element

    def merge_accumulators(self, accumulators: Sequence[SpanPart | None]) -> SpanPart | None:
        """Merge sums."""
        parts = [part for part in accumulators if part is not None]
        return functools.reduce(_both, parts) if parts else None

    def extract_output(self, accumulator: SpanPart) -> SpanPart:
        """Return the sum."""
        return accumulator


def _both(a: SpanPart, b: SpanPart) -> SpanPart:
    return min(a[0], b[0]), a[1] + b[1]


def read_spans(path: str) -> Iterator[tuple[SpanKey, SpanPart]]:
    """Yield the elements of a file of span profiles."""
    for batch in pq.ParquetFile(path).iter_batches(_PARTS_AT_A_TIME):
        for row in batch.to_pylist():
            about = (row["key"], row["span"], row["baseline_id"])
            yield about, (row["first"], decode_part(row["part"]))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run judges."""

    windows: pl.DataFrame  #: every window that is not final, as it is before this run judges
    due: pl.DataFrame  #: columns of `PLAN`
    spans: Sequence[Path]  #: files with the profiles of the due windows


def make_plan(
    clock: Clock,
    before: Clock,
    fresh: Sequence[Path],
    kept: Sequence[Path],
    windows: pl.DataFrame,
    *,
    rolled_up: bool,
) -> Plan:
    """Say which windows a run judges: those that are complete and have rows not yet judged.

    Parameters
    ----------
    clock, before : after this run's rows, and before them.
    fresh, kept : files with the profiles of this run's rows, and of earlier ones.
    windows : that earlier runs left.
    rolled_up : all keys are tested together: then, with a window of one key, the others' are due.
    """
    touched = (
        clock.windows_of(_scan(fresh).select("key", "span").unique())
        .select("key", "window")
        .unique()
        .filter(~before.final(pl.col("window")))
        .with_columns(fresh=True)
        .collect()
    )
    known = touched.join(windows, on=["key", "window"], how="full", coalesce=True).select(
        "key",
        "window",
        revision=pl.col("revision").fill_null(0),
        dirty=pl.col("fresh").fill_null(value=False) | pl.col("dirty").fill_null(value=False),
        named="named",
    )
    judged = pl.col("dirty") & clock.complete() & (pl.col("key") != ALL_KEYS)
    due = known.with_columns(judge=judged)
    if rolled_up:
        again = due.filter("judge").select("window").unique()
        together = again.join(
            known.filter(pl.col("key") == ALL_KEYS).select("window", "revision"),
            on="window",
            how="left",
        ).select(
            key=pl.lit(ALL_KEYS),
            window="window",
            revision=pl.col("revision").fill_null(0),
            judge=pl.lit(value=True),
            named=pl.lit(None, PLAN["named"]),
        )
        others = due.join(again, on="window", how="semi").filter(pl.col("key") != ALL_KEYS)
        due = pl.concat([others.select(PLAN.names()), together.select(PLAN.names())])
    else:
        due = due.filter("judge").select(PLAN.names())
    return Plan(known, due, [*fresh, *kept] if due.height else [])


def due_spans(clock: Clock, plan: Plan, out: Path) -> list[Path]:
    """Return files with the profiles that a plan needs, and no more than those."""
    wanted = plan.due.select("key", "window").unique()
    spans = clock.windows_of(_scan(plan.spans).select("key", "span").unique()).collect()
    needed = spans.join(wanted, on=["key", "window"], how="semi").select("key", "span").unique()
    if needed.height == spans.select("key", "span").unique().height:
        return list(plan.spans)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "due.parquet"
    _scan(plan.spans).join(needed.lazy(), on=["key", "span"], how="semi").sink_parquet(path)
    return [path]


def judged_windows(plan: Plan, named: pl.DataFrame, clock: Clock) -> pl.DataFrame:
    """Return the windows that a later run has to know of, after the plan was carried out.

    Parameters
    ----------
    named : columns key, window, named: the windows whose feature shift was tested.
    """
    done = plan.due.filter("judge").select("key", "window", judged=True)
    new = done.join(plan.windows, on=["key", "window"], how="anti").select("key", "window")
    return (
        pl.concat([plan.windows, new], how="diagonal")
        .join(done, on=["key", "window"], how="left")
        .join(named, on=["key", "window"], how="left", suffix="_now")
        .select(
            "key",
            "window",
            revision=pl.col("revision").fill_null(0) + pl.col("judged").fill_null(value=False),
            dirty=pl.col("dirty").fill_null(value=False) & pl.col("judged").is_null(),
            named=pl.coalesce("named_now", "named"),
        )
        .filter(~clock.final(pl.col("window")))
    )


def no_windows() -> pl.DataFrame:
    """Return the table of windows before any run."""
    return pl.DataFrame(schema=_WINDOW)


def keep_spans(fresh: Sequence[Path], kept: Sequence[Path], clock: Clock, out: Path) -> list[Path]:
    """Write the spans that are not final into a folder, and return which kept files stay as well.

    Many small files are put together, and final spans left behind then.
    """
    alive = ~clock.final(clock.last_window(pl.col("span")))
    if len(kept) + 1 <= MOST_PARTS:
        left = _scan(fresh).filter(alive).collect()
        if left.height:
            write_part(left.to_arrow().cast(SPAN), out)
        return list(kept)
    merged: dict[SpanKey, SpanPart] = {}
    living = _scan([*kept, *fresh]).filter(alive).collect()
    for row in living.iter_rows(named=True):
        about = (row["key"], row["span"], row["baseline_id"])
        own = row["first"], decode_part(row["part"])
        merged[about] = _both(merged[about], own) if about in merged else own
    if merged:
        write_part(pa.concat_tables(map(span_table, merged.items())), out)
    return []


def _scan(paths: Sequence[Path]) -> pl.LazyFrame:
    if not paths:
        return pl.DataFrame(SPAN.empty_table()).lazy()
    return pl.scan_parquet(list(paths), hive_partitioning=False, glob=False)
