"""The Beam transforms of this folder: batches to window parts, parts to findings."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import (
    FixedWindows,
    IntervalWindow,
    SlidingWindows,
    TimestampedValue,
)
from apache_beam.utils.windowed_value import WindowedValue

from monitors.baseline import Baseline, load_baseline
from monitors.distinct import NO_TIMES, distinct_times
from monitors.encoder import Encoder
from monitors.expectations import Validator, suite
from monitors.forecasting import forecast_rows
from monitors.gram import Profile, profile, profile_blocks
from monitors.judge import judge
from monitors.summary import TableSummary, summarise
from monitors.window import WindowPart
from schemas.records import EXPECTATION, FINDING, SUMMARY, Batch, WindowKey
from schemas.stream import Stream
from transforms.windows import row_spans, split, time_spans

FORECASTS = "forecasts"
SUMMARIES = "summaries"
EXPECTATIONS = "expectations"

#: (key as JSON, ordinal of a window counted in rows or None)
GroupKey: TypeAlias = tuple[str, int | None]


class ProfileBlocks(beam.DoFn):
    """Profile the blocks of the reference: one row (key, number, profile) per block of a batch."""

    def __init__(
        self, encoder: Path, stream: Stream, per_window: int, first_rows: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.file, self.stream = str(encoder), stream
        self.per_window, self.first_rows = per_window, dict(first_rows)

    def setup(self) -> None:
        """Read the encoder: a graph that held it would be pickled and compressed many times."""
        self.encoder = Encoder.from_json(json.loads(Path(self.file).read_text(encoding="utf-8")))

    def process(self, batch: Batch) -> Iterator[tuple[tuple[str, int], Profile]]:
        """Yield ((key, block number), profile)."""
        numbers = block_numbers(self.stream, batch, self.per_window, self.first_rows)
        blocks = batch.table.append_column("__block", pa.array(numbers))
        whole = numbers * 0
        for key, _, rows in split(blocks, self.stream.key, whole):
            own = rows["__block"].to_numpy()
            for number, part in profile_blocks(self.encoder, rows, own).items():
                yield (key, number), part


def block_numbers(
    stream: Stream, batch: Batch, per_window: int, first_rows: Mapping[str, int]
) -> Any:
    """Number the blocks that the rows of a batch fall into; see `feature_shift.reference`."""
    if stream.window.rows is not None:
        rows = max(1, stream.window.rows // per_window)
        return row_spans(batch.table, first_rows[batch.path], rows)
    assert stream.time is not None  # noqa: S101 (windows of a length need it)
    assert stream.window.length_seconds is not None  # noqa: S101
    return time_spans(batch.table[stream.time.column], stream.window.length_seconds / per_window)


class MergeParts(beam.CombineFn):
    """Merge anything mergeable: profiles, window parts, column summaries."""

    def __init__(self, merge: Callable[[Any, Any], Any] = operator.add) -> None:
        super().__init__()
        self.merge = merge

    def create_accumulator(self, *_: Any, **__: Any) -> None:
        """Return the empty sum."""
        return

    def add_input(self, mutable_accumulator: Any, element: Any, *_: Any, **__: Any) -> Any:
        """Add one part."""
        return element if mutable_accumulator is None else self.merge(mutable_accumulator, element)

    def merge_accumulators(self, accumulators: Iterable[Any], *_: Any, **__: Any) -> Any:
        """Merge sums."""
        parts = [part for part in accumulators if part is not None]
        return functools.reduce(self.merge, parts) if parts else None

    def extract_output(self, accumulator: Any, *_: Any, **__: Any) -> Any:
        """Return the sum."""
        return accumulator


class SummariseRows(beam.DoFn):
    """Summarise the columns of a batch."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream

    def process(self, batch: Batch) -> Iterator[TableSummary]:
        """Yield the summary of one batch."""
        yield summarise(batch.table, self.stream.columns)


class ScoreWindows(beam.PTransform):
    """Score a stream: checked batches in; findings and what led to them out.

    The outputs are Arrow tables: `findings`, `forecasts`, `summaries`, `expectations`.
    """

    def __init__(self, stream: Stream, baseline: Path, first_rows: Mapping[str, int]) -> None:
        super().__init__()
        self.stream, self.baseline, self.first_rows = stream, str(baseline), dict(first_rows)

    def expand(self, batches: PCollection[Batch]) -> Mapping[str, PCollection[pa.Table]]:
        """Apply the transform."""
        parts = batches | "profile and forecast" >> beam.ParDo(
            _ProfileRows(self.stream, self.baseline, self.first_rows)
        ).with_outputs(FORECASTS, main="parts")
        windows = parts["parts"]
        length, every = self.stream.window.length_seconds, self.stream.window.every_seconds
        if length is not None and every is not None:
            cut = FixedWindows(length) if every == length else SlidingWindows(length, every)
            windows = windows | "window" >> beam.WindowInto(cut)
        judged = (
            windows
            | "merge" >> beam.CombinePerKey(MergeParts())
            | "judge"
            >> beam.ParDo(_Judge(self.stream, self.baseline)).with_outputs(
                SUMMARIES, EXPECTATIONS, main="findings"
            )
        )
        return {
            "findings": judged["findings"],
            FORECASTS: parts[FORECASTS],
            SUMMARIES: judged[SUMMARIES],
            EXPECTATIONS: judged[EXPECTATIONS],
        }


class _ProfileRows(beam.DoFn):
    def __init__(self, stream: Stream, baseline: str, first_rows: Mapping[str, int]) -> None:
        super().__init__()
        self.stream, self.folder, self.first_rows = stream, baseline, dict(first_rows)

    def setup(self) -> None:
        self.baseline = _baseline(self.folder)

    def process(self, batch: Batch) -> Iterator[Any]:
        stream = self.stream
        every = stream.window.every_seconds
        if every is not None and stream.time is not None:
            spans = time_spans(batch.table[stream.time.column], every)
        else:
            assert stream.window.rows is not None  # noqa: S101 (windows have a length or a count)
            spans = row_spans(batch.table, self.first_rows[batch.path], stream.window.rows)
        known = self.baseline.encoder.known_values
        for key, span, rows in split(batch.table, stream.key, spans):
            scores = {}
            for target in self.baseline.forecasters:
                forecasts, scores[target] = forecast_rows(
                    self.baseline, stream, target, rows, key, batch.path
                )
                yield TaggedOutput(FORECASTS, forecasts)
            part = WindowPart(
                profile(self.baseline.encoder, rows),
                summarise(rows, stream.columns, known),
                scores,
                NO_TIMES if stream.time is None else distinct_times(rows[stream.time.column]),
            )
            if every is None:
                yield (key, span), part
            else:
                yield TimestampedValue(((key, None), part), span * every)


class _Judge(beam.DoFn):
    def __init__(self, stream: Stream, baseline: str) -> None:
        super().__init__()
        self.stream, self.folder = stream, baseline

    def setup(self) -> None:
        self.baseline = _baseline(self.folder)
        self.validator = (
            Validator(suite(self.stream, self.baseline.summary))
            if self.stream.monitors.expectations
            else None
        )

    def start_bundle(self) -> None:
        self.summaries: list[dict[str, object]] = []

    def process(
        self,
        element: tuple[GroupKey, WindowPart],
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[Any]:
        (key, index), part = element
        start = end = None
        if isinstance(window, IntervalWindow):
            start, end = _utc(window.start), _utc(window.end)
        about = WindowKey(key, start, end, index)
        findings = [found.as_row() for found in judge(self.baseline, self.stream, about, part)]
        yield pa.Table.from_pylist(findings, FINDING)
        summary = part.summary.rows(self.stream.name, about)
        yield TaggedOutput(SUMMARIES, pa.Table.from_pylist(summary, SUMMARY))
        self.summaries += summary
        self.window = window

    def finish_bundle(self) -> Iterator[Any]:
        """Validate the windows of a bundle together: fifty cost little more than one."""
        if self.validator is None or not self.summaries:
            return
        results = pa.Table.from_pylist(self.validator.validate(self.summaries), EXPECTATION)
        stamped = WindowedValue(results, self.window.max_timestamp(), (self.window,))
        yield TaggedOutput(EXPECTATIONS, stamped)


def _utc(stamp: Any) -> datetime:
    return datetime.fromtimestamp(stamp.micros / 1e6, tz=UTC)


@functools.lru_cache(maxsize=4)
def _baseline(folder: str) -> Baseline:
    """Load a baseline once per worker process."""
    return load_baseline(Path(folder))
