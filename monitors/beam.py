"""The Beam transforms of this folder: batches to window parts, parts to findings."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
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

from monitors.alarms import sentinel
from monitors.baseline import Baseline, load_baseline
from monitors.blocks import Blocks, pack
from monitors.budget import is_rolled_up
from monitors.distinct import NO_TIMES, distinct_times
from monitors.encoder import Encoder
from monitors.expectations import Validator, suite
from monitors.feature_shift.reference import Reference
from monitors.forecasting import forecast_rows
from monitors.gram import Profile, profile_blocks
from monitors.judge import SEED, judge, judge_all_keys
from monitors.marginals.histograms import watched_bins
from monitors.marginals.reference import fit_marginals
from monitors.pooling import POOL, is_drawn, is_pooled, pool
from monitors.reference_store import reference_table
from monitors.rollup import ALL_KEYS, RollUp, centred, mean_of, roll_up
from monitors.summary import TableSummary, summarise, summarise_groups
from monitors.window import WindowPart
from schemas.errors import ReferenceDataError
from schemas.records import EXPECTATION, FINDING, SENTINEL, SUMMARY, Batch, Finding, WindowKey
from schemas.stream import Stream
from transforms.windows import gather, places, row_spans, time_spans

FORECASTS = "forecasts"
SUMMARIES = "summaries"
EXPECTATIONS = "expectations"
SENTINELS = "sentinels"
ROLLED = "rolled"
ALL = "all"
TOO_SHORT = "too_short"

#: (key as JSON, ordinal of a window counted in rows or None)
GroupKey: TypeAlias = tuple[str, int | None]


class ProfileBlocks(beam.DoFn):
    """Profile the blocks of the reference: (key, its blocks) for every key of a batch.

    Where keys share a reference, only the windows drawn for it, and a second output `ALL` with the
    blocks of all rows.
    """

    def __init__(
        self,
        encoder: Path,
        stream: Stream,
        per_window: int,
        drawn: float,
        first_rows: Mapping[str, int],
    ) -> None:
        super().__init__()
        self.file, self.stream = str(encoder), stream
        self.per_window, self.drawn, self.first_rows = per_window, drawn, dict(first_rows)

    def setup(self) -> None:
        """Read the encoder: a graph that held it would be pickled and compressed many times."""
        self.encoder = Encoder.from_json(json.loads(Path(self.file).read_text(encoding="utf-8")))

        self.bins = watched_bins(self.encoder, self.stream)

    def process(self, batch: Batch) -> Iterator[Any]:
        """Yield (key, blocks)."""
        numbers = block_numbers(self.stream, batch, self.per_window, self.first_rows)
        rows, groups = gather(batch.table, self.stream.key, numbers)
        parts = profile_blocks(self.encoder, rows, places(groups), self.bins)
        pair = 2 * self.per_window
        blocks: dict[str, dict[int, Profile]] = {}
        whole: dict[int, Profile] = {}
        for place, part in parts.items():
            key, number = groups[place].key, groups[place].span
            if is_pooled(self.stream):
                whole[number] = whole[number] + part if number in whole else part
                if not is_drawn(key, number // pair, self.drawn):
                    continue
            blocks.setdefault(key, {})[number] = part
        for key, own in blocks.items():
            yield key, pack(own)
        if whole:
            yield TaggedOutput(ALL, pack(whole))


class FitReferences(beam.DoFn):
    """Fit one reference, by its name, on the blocks of one key or of the keys that share it.

    The main output is a table for `reference_store`; `ALL` has the blocks of a key, centred, and
    `TOO_SHORT` (key, why) where there is no reference.
    """

    def __init__(
        self, encoder: Path, method: str, per_window: int, marginals: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.file, self.method, self.per_window = str(encoder), method, per_window
        self.marginals = tuple(marginals)

    def setup(self) -> None:
        """Read the encoder."""
        self.encoder = Encoder.from_json(json.loads(Path(self.file).read_text(encoding="utf-8")))

    def process(self, element: tuple[str, Iterable[tuple[str, Blocks]]]) -> Iterator[Any]:
        """Yield the table of one reference."""
        name, parts = element
        own = dict(parts)
        blocks = pool(own, self.per_window) if name == POOL else own[name]
        reference = Reference(
            self.encoder, self.method, blocks.numbers, blocks.grams, blocks.counts, self.per_window
        )
        try:
            fitted = reference.fit_nulls(SEED)
        except ReferenceDataError as error:
            yield TaggedOutput(TOO_SHORT, (name, str(error)))
            return
        if blocks.histograms.size and name != ALL_KEYS:
            laws = fit_marginals(self.marginals, fitted, blocks.histograms, SEED)
            fitted = replace(fitted, marginals=laws)
        yield reference_table(name, fitted)
        if name not in (POOL, ALL_KEYS):
            yield TaggedOutput(ALL, centred(blocks))


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

    The outputs are Arrow tables: `findings`, `forecasts`, `summaries`, `expectations`, `sentinels`.
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
                SUMMARIES, EXPECTATIONS, SENTINELS, ROLLED, main="findings"
            )
        )
        all_keys = (
            judged[ROLLED]
            | "merge keys" >> beam.CombinePerKey(MergeParts())
            | "judge all keys" >> beam.ParDo(_JudgeAllKeys(self.stream, self.baseline))
        )
        return {
            "findings": (judged["findings"], all_keys) | "all findings" >> beam.Flatten(),
            FORECASTS: parts[FORECASTS],
            SUMMARIES: judged[SUMMARIES],
            EXPECTATIONS: judged[EXPECTATIONS],
            SENTINELS: judged[SENTINELS],
        }


class _ProfileRows(beam.DoFn):
    def __init__(self, stream: Stream, baseline: str, first_rows: Mapping[str, int]) -> None:
        super().__init__()
        self.stream, self.folder, self.first_rows = stream, baseline, dict(first_rows)

    def setup(self) -> None:
        self.baseline = _baseline(self.folder)
        self.bins = watched_bins(self.baseline.encoder, self.stream)

    def process(self, batch: Batch) -> Iterator[Any]:
        stream = self.stream
        every = stream.window.every_seconds
        if every is not None and stream.time is not None:
            spans = time_spans(batch.table[stream.time.column], every)
        else:
            assert stream.window.rows is not None  # noqa: S101 (windows have a length or a count)
            spans = row_spans(batch.table, self.first_rows[batch.path], stream.window.rows)
        known = self.baseline.encoder.known_values
        table, groups = gather(batch.table, stream.key, spans)
        sizes = [group.stop - group.start for group in groups]
        profiles = profile_blocks(self.baseline.encoder, table, places(groups), self.bins)
        summaries = summarise_groups(table, stream.columns, sizes, known)
        for group, own, summary in zip(groups, profiles.values(), summaries, strict=True):
            rows = table.slice(group.start, group.stop - group.start)
            scores = {}
            for target in self.baseline.forecasters:
                forecasts, scores[target] = forecast_rows(
                    self.baseline, stream, target, rows, group.key, batch.path
                )
                yield TaggedOutput(FORECASTS, forecasts)
            times = NO_TIMES if stream.time is None else distinct_times(rows[stream.time.column])
            part = WindowPart(own, summary, scores, times)
            if every is None:
                yield (group.key, group.span), part
            else:
                yield TimestampedValue(((group.key, None), part), group.span * every)


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
        about = _window_key(key, index, window)
        findings = list(judge(self.baseline, self.stream, about, part))
        yield pa.Table.from_pylist([found.as_row() for found in findings], FINDING)
        if any(f.status == "tested" and f.monitor == sentinel.MONITOR for f in findings):
            row = sentinel.stand_in(self.baseline, self.stream, about, part.profile.rows, seed=SEED)
            yield TaggedOutput(SENTINELS, pa.Table.from_pylist([row] if row else [], SENTINEL))
        rolled = self._roll_up(key, part, findings)
        if rolled is not None:
            yield TaggedOutput(ROLLED, ((ALL_KEYS, index), rolled))
        summary = part.summary.rows(self.stream.name, about)
        yield TaggedOutput(SUMMARIES, pa.Table.from_pylist(summary, SUMMARY))
        self.summaries += summary
        self.window = window

    def _roll_up(self, key: str, part: WindowPart, findings: Sequence[Finding]) -> RollUp | None:
        """Return what a window adds to all keys together."""
        reference = self.baseline.reference_of(key)
        if reference is None or not is_rolled_up(self.stream, self.baseline.keys):
            return None
        mean = None if is_pooled(self.stream) else mean_of(reference.total.gram)
        return roll_up(part.profile, mean, findings, self.baseline.encoder.names)

    def finish_bundle(self) -> Iterator[Any]:
        """Validate the windows of a bundle together: fifty cost little more than one."""
        if self.validator is None or not self.summaries:
            return
        results = pa.Table.from_pylist(self.validator.validate(self.summaries), EXPECTATION)
        stamped = WindowedValue(results, self.window.max_timestamp(), (self.window,))
        yield TaggedOutput(EXPECTATIONS, stamped)


class _JudgeAllKeys(beam.DoFn):
    def __init__(self, stream: Stream, baseline: str) -> None:
        super().__init__()
        self.stream, self.folder = stream, baseline

    def setup(self) -> None:
        self.baseline = _baseline(self.folder)

    def process(
        self, element: tuple[GroupKey, RollUp], window: Any = beam.DoFn.WindowParam
    ) -> Iterator[pa.Table]:
        (key, index), rolled = element
        about = _window_key(key, index, window)
        findings = judge_all_keys(self.baseline, self.stream, about, rolled)
        yield pa.Table.from_pylist([found.as_row() for found in findings], FINDING)


def _window_key(key: str, index: int | None, window: Any) -> WindowKey:
    if isinstance(window, IntervalWindow):
        return WindowKey(key, _utc(window.start), _utc(window.end), index)
    return WindowKey(key, None, None, index)


def _utc(stamp: Any) -> datetime:
    return datetime.fromtimestamp(stamp.micros / 1e6, tz=UTC)


@functools.lru_cache(maxsize=4)
def _baseline(folder: str) -> Baseline:
    """Load a baseline once per worker process."""
    return load_baseline(Path(folder))
