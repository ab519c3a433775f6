"""Merged windows in; findings, and what led to them, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import (
    FixedWindows,
    IntervalWindow,
    SlidingWindows,
    TimestampedValue,
)
from apache_beam.utils.timestamp import Duration, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from monitors.baseline_folder import Version
from monitors.beam.merge import MergeParts, MergeWindows
from monitors.due import Due, Window, read_plan
from monitors.judging import WindowJudge, finding_table, micros
from monitors.profiling import SpanKey, SpanPart
from monitors.rollup import ALL_KEYS, RollUp
from monitors.window import WindowPart
from schemas.records import WindowKey
from schemas.stream import Stream
from transforms.lateness import lateness

FINDINGS = "findings"
SUMMARIES = "summaries"
EXPECTATIONS = "expectations"
SENTINELS = "sentinels"
EVIDENCE = "evidence"
ROLLED = "rolled"

#: key as JSON, ordinal of a window counted in rows or None, id of the baseline
GroupKey: TypeAlias = tuple[str, int | None, str]


class JudgeParts(beam.PTransform):
    """Put parts (`SpanKey`, `SpanPart`) into windows, and judge each of these.

    The outputs are Arrow tables: `findings`, `summaries`, `expectations`, `sentinels`, `evidence`.

    Parameters
    ----------
    plan : file that says which windows are due, in a bounded run. Without one, each is judged when
        the watermark has passed its end, and again whenever late rows come.
    versions : of the baselines; None: those that there are when it runs.
    """

    def __init__(
        self,
        stream: Stream,
        baselines: str,
        plan: Path | None = None,
        versions: Sequence[Version] | None = None,
    ) -> None:
        super().__init__()
        self.stream, self.folder, self.plan, self.versions = stream, baselines, plan, versions

    def expand(
        self, parts: PCollection[tuple[SpanKey, SpanPart]]
    ) -> Mapping[str, PCollection[pa.Table]]:
        """Apply the transform."""
        plan = None if self.plan is None else str(self.plan)
        in_time = self.stream.window.length is not None
        windows = parts | "stamp" >> beam.Map(_stamped, in_time).with_output_types(
            tuple[GroupKey, WindowPart]
        )
        if in_time:
            windows = windows | "window" >> _windows(self.stream)
        judged = (
            windows
            | "merge" >> beam.CombinePerKey(MergeWindows())
            | "judge"
            >> beam.ParDo(_Judge(self.stream, self.folder, plan, self.versions)).with_outputs(
                SUMMARIES, EXPECTATIONS, SENTINELS, EVIDENCE, ROLLED, main=FINDINGS
            )
        )
        all_keys = (
            judged[ROLLED]
            | "merge keys" >> beam.CombinePerKey(MergeParts())
            | "judge all keys"
            >> beam.ParDo(_JudgeAllKeys(self.stream, self.folder, plan, self.versions))
        )
        return {
            FINDINGS: (judged[FINDINGS], all_keys) | "all findings" >> beam.Flatten(),
            SUMMARIES: judged[SUMMARIES],
            EXPECTATIONS: judged[EXPECTATIONS],
            SENTINELS: judged[SENTINELS],
            EVIDENCE: judged[EVIDENCE],
        }


def _stamped(part: tuple[SpanKey, SpanPart], in_time: bool) -> Any:  # noqa: FBT001 (Map's)
    (key, span, baseline_id), (first, own) = part
    if not in_time:
        return (key, span, baseline_id), own
    return TimestampedValue(((key, None, baseline_id), own), Timestamp(micros=first))


def _windows(stream: Stream) -> beam.WindowInto:
    times = lateness(stream)
    assert times is not None  # noqa: S101 (windows of event time)
    length, every = Duration(micros=times.length), Duration(micros=times.every)
    cut = FixedWindows(length) if every == length else SlidingWindows(length, every)
    return beam.WindowInto(
        cut,
        trigger=AfterWatermark(late=AfterCount(1)),
        accumulation_mode=AccumulationMode.ACCUMULATING,
        allowed_lateness=Duration(micros=times.allowed),
    )


class _WithJudge(beam.DoFn):
    def __init__(
        self,
        stream: Stream,
        baselines: str,
        plan: str | None,
        versions: Sequence[Version] | None,
    ) -> None:
        super().__init__()
        self.stream, self.folder = stream, baselines
        self.plan_file, self.versions = plan, versions

    def setup(self) -> None:
        self.judge = WindowJudge(self.stream, Path(self.folder), self.versions)
        self.plan = _plan(self.plan_file)

    def start_bundle(self) -> None:
        self.judge.baselines.refresh()


class _Judge(_WithJudge):
    def start_bundle(self) -> None:
        super().start_bundle()
        self.summaries: dict[str, list[dict[str, object]]] = {}

    def process(
        self,
        element: tuple[GroupKey, WindowPart],
        window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> Iterator[Any]:
        (key, index, baseline_id), part = element
        about = _window_key(key, index, window)
        due = _due(self.plan, about, pane)
        if due is None or not self.judge.is_of(about, baseline_id):
            return
        if not part.profile.rows:  # scores alone, of outcomes that came without rows of the key
            return
        told = self.judge.judge(about, baseline_id, part, due)
        for name, table in told.tables().items():
            if table.num_rows:
                yield table if name == FINDINGS else TaggedOutput(name, table)
        # without a plan, the other keys of a revised window are gone by now
        if told.rolled is not None and (self.plan is not None or due.revision == 0):
            yield TaggedOutput(ROLLED, ((ALL_KEYS, about.index, baseline_id), told.rolled))
        if told.summaries:
            self.summaries.setdefault(baseline_id, []).extend(told.summaries)
            self.window = window

    def finish_bundle(self) -> Iterator[Any]:
        if not self.stream.monitors.expectations:
            return
        for baseline_id, summaries in self.summaries.items():
            results = self.judge.expectations(baseline_id, summaries)
            stamped = WindowedValue(results, self.window.max_timestamp(), (self.window,))
            yield TaggedOutput(EXPECTATIONS, stamped)


class _JudgeAllKeys(_WithJudge):
    def process(
        self,
        element: tuple[GroupKey, RollUp],
        window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> Iterator[pa.Table]:
        (key, index, baseline_id), rolled = element
        about = _window_key(key, index, window)
        due = _due(self.plan, about, pane)
        if due is not None and rolled.fresh:
            found = self.judge.judge_all_keys(about, baseline_id, rolled, due.revision)
            yield finding_table(found)


def _plan(file: str | None) -> Mapping[Window, Due] | None:
    return None if file is None else read_plan(Path(file))


def _due(plan: Mapping[Window, Due] | None, about: WindowKey, pane: Any) -> Due | None:
    if plan is None:
        revision = max(0, pane.index)
        return Due(judge=True, revision=revision, named=() if revision else None)
    start = micros(about)
    return plan.get((about.key, about.index if start is None else start))  # type: ignore[arg-type]


def _window_key(key: str, index: int | None, window: Any) -> WindowKey:
    if isinstance(window, IntervalWindow):
        return WindowKey(key, _utc(window.start), _utc(window.end), index)
    return WindowKey(key, None, None, index)


def _utc(stamp: Any) -> datetime:
    return datetime.fromtimestamp(stamp.micros / 1e6, tz=UTC)
