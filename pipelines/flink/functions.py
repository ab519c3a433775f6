"""Our functions in Flink's: they bring along state, timers and outputs, and no logic."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyflink.common import Row
from pyflink.common.typeinfo import Types
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import OutputTag
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.time_domain import TimeDomain

from monitors.judging import finding_table
from pipelines.flink.all_keys import AllKeys, Together, encode_roll_up
from pipelines.flink.clock import PartitionClock
from pipelines.flink.intake import Intake, Progress
from pipelines.flink.lanes import partitions_of
from pipelines.flink.tables import array_columns, header_names
from pipelines.flink.windows import Kept, Told, Wake, Windows
from pipelines.kafka.sink import to_messages
from schemas.duration import parse_duration
from schemas.kafka import Topic
from schemas.records import Finding
from schemas.stream import Stream
from transforms.lateness import lateness
from transforms.messages import Message

_BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
_NO_TIME = -(1 << 62)  # before any watermark
_REVISE_AFTER = 1000  # ms: late rows that come together revise a finding once

#: Name of the records; key and value of each.
TOLD = Types.ROW([Types.STRING(), Types.OBJECT_ARRAY(Types.ROW([_BYTES, _BYTES]))])
#: Key, span, id of the baseline, part; the watermark after it, in ms.
PART = Types.ROW([Types.STRING(), Types.LONG(), Types.STRING(), _BYTES, Types.LONG()])
#: Start of a window in µs and id of its baseline, as JSON; what it adds to all keys.
ROLLED = Types.ROW([Types.STRING(), _BYTES])

TOLD_TAG = OutputTag("told", TOLD)
ROLLED_TAG = OutputTag("rolled", ROLLED)


def batch_type(topic: Topic) -> Any:
    """Return the type of the rows that `tables.batches` gives."""
    kinds = [_BYTES] * len(array_columns(topic))
    kinds[0] = Types.LONG()
    if topic.envelope.timestamp is not None:
        kinds[2 if topic.envelope.key is None else 3] = Types.LONG()
    arrays = [Types.OBJECT_ARRAY(kind) for kind in kinds]
    return Types.ROW([Types.INT(), Types.ROW([Types.INT(), *arrays])])


@dataclass(frozen=True, slots=True)
class Job:
    """What the workers need to know."""

    stream: Stream
    baselines: str  #: folder, which all of them can read
    partitions: tuple[int, ...]  #: of the topic
    wanted: tuple[str, ...]  #: records that have a topic


class TakeIn(KeyedProcessFunction):  # type: ignore[misc]
    """Batches of messages of a lane to parts; the records told of them are a side output."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the baselines, and learn which partitions are this worker's."""
        stream, context = self.job.stream, runtime_context
        times = lateness(stream)
        assert times is not None  # noqa: S101 (windows of a topic are of event time)
        assert isinstance(stream.source, Topic)  # noqa: S101 (what the job is for)
        self.intake = Intake(stream, Path(self.job.baselines), self.job.wanted)
        self.envelope = (stream.source.envelope.key, stream.source.envelope.timestamp)
        self.headers = header_names(stream.source)
        own = partitions_of(
            context.get_index_of_this_subtask(),
            context.get_number_of_parallel_subtasks(),
            self.job.partitions,
        )
        idle = parse_duration(stream.watermark.idle_after)
        self.clock = PartitionClock(own, times.behind, idle, time.monotonic())
        self.state = context.get_state(ValueStateDescriptor("progress", Types.STRING()))
        self.totals: dict[int, Progress] = {}
        self.metrics = context.get_metrics_group()

    def process_element(self, value: Row, _: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Take in a batch."""
        partition, arrays = value[0], value[1:]
        if not self.clock.owns(partition):
            message = f"partition {partition} came to a worker that is not its own"
            raise RuntimeError(message)
        messages = self._messages(partition, arrays)
        before = self.clock.watermark
        taken = self.intake.take(messages, Progress.from_json(self.state.value()), before)
        progress = taken.progress
        self.state.update(progress.to_json())
        self._count(partition, progress)
        for name, own in taken.records:
            yield TOLD_TAG, Row(name, [Row(*record) for record in own])
        now = time.monotonic()
        if taken.parts and progress.newest is not None:
            self.clock.hear(partition, progress.newest, now)
        after = self.clock.advance(now)
        # parts must not come behind the watermark that they move: only the last one moves it
        marks = [before] * (len(taken.parts) - 1) + [after]
        for ((key, span, baseline_id), part), mark in zip(taken.parts, marks, strict=False):
            yield Row(key, span, baseline_id, part, _NO_TIME if mark is None else mark // 1000)

    def _messages(self, partition: int, arrays: Sequence[Sequence[Any]]) -> list[Message]:
        offsets, values, *more = arrays
        nothing = [None] * len(offsets)
        keys = more.pop(0) if self.envelope[0] is not None else nothing
        times = more.pop(0) if self.envelope[1] is not None else nothing
        headers = [
            tuple(zip(self.headers, own, strict=True)) for own in zip(*more, strict=True)
        ] or [()] * len(offsets)
        messages = [
            Message(partition, *own)
            for own in zip(offsets, times, keys, values, headers, strict=True)
        ]
        return sorted(messages, key=lambda message: message.offset)

    def _count(self, partition: int, progress: Progress) -> None:
        if partition not in self.totals:
            group = self.metrics.add_group("partition", str(partition))
            for name in ("rows", "used", "rejected", "late"):
                group.gauge(f"rows_{name}", lambda name=name: getattr(self.totals[partition], name))
        self.totals[partition] = progress


class WatermarkOfPart(TimestampAssigner):  # type: ignore[misc]
    """The time that Flink makes its watermark of is the watermark that came with the part."""

    def extract_timestamp(self, value: Row, _: int) -> int:
        """Return it."""
        return int(value[4])


class JudgeWindows(KeyedProcessFunction):  # type: ignore[misc]
    """Parts of a key to findings; what they add to all keys is a side output."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the baselines."""
        self.windows = Windows(self.job.stream, Path(self.job.baselines))
        parts = MapStateDescriptor("parts", Types.LONG(), Types.MAP(Types.STRING(), _BYTES))
        revisions = MapStateDescriptor("revisions", Types.LONG(), Types.LONG())
        late = MapStateDescriptor("late", Types.LONG(), Types.BOOLEAN())
        self.kept = Kept(*(runtime_context.get_map_state(s) for s in (parts, revisions, late)))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Keep a part."""
        timers = ctx.timer_service()
        mark = _micros(timers.current_watermark())
        wake = self.windows.add(self.kept, value[1], value[2], value[3], mark)
        if wake is not None:
            _set(timers, wake)
        elif "rejects" in self.job.wanted:
            refused = self.windows.refuse(value[0], value[1], value[3])
            yield _told("rejects", refused)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        """Judge the window that ends now, or those that have late rows."""
        key = ctx.get_current_key()
        if ctx.time_domain() == TimeDomain.PROCESSING_TIME:
            for told in self.windows.revise(key, self.kept):
                yield from self._tell(told)
            return
        due = self.windows.reach(key, self.kept, _micros(timestamp))
        if due is not None:
            yield from self._tell(due)

    def _tell(self, told: Told) -> Iterator[Any]:
        yield from _findings(told.judged.findings)
        if told.rolled is not None:
            about = json.dumps([told.start, told.baseline_id])
            yield ROLLED_TAG, Row(about, encode_roll_up(told.rolled))


class JudgeAllKeys(KeyedProcessFunction):  # type: ignore[misc]
    """The windows of all keys at one time to findings."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the baselines."""
        self.all_keys = AllKeys(self.job.stream, Path(self.job.baselines))
        self.rolled = runtime_context.get_state(ValueStateDescriptor("rolled", _BYTES))
        self.revision = runtime_context.get_state(ValueStateDescriptor("revision", Types.LONG()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Keep what one key adds."""
        timers, times = ctx.timer_service(), self.all_keys.times
        end = json.loads(ctx.get_current_key())[0] + times.length
        mark = _micros(timers.current_watermark())
        rolled = self.rolled.value()
        now = self.all_keys.add(None if rolled is None else Together(rolled), value[1])
        self.rolled.update(now.rolled)
        _set(timers, Wake((end + times.allowed, *([end] if end > mark else ())), end <= mark))
        yield from ()

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        """Judge all keys; forget them when the window is final."""
        start, baseline_id = json.loads(ctx.get_current_key())
        end, at = start + self.all_keys.times.length, _micros(timestamp)
        rolled = self.rolled.value()
        if rolled is not None and (ctx.time_domain() == TimeDomain.PROCESSING_TIME or at == end):
            before = Together(rolled, self.revision.value() or 0)
            now, found = self.all_keys.tell(start, baseline_id, before)
            self.revision.update(now.revision)
            yield from _findings(found)
        if ctx.time_domain() == TimeDomain.EVENT_TIME and at == end + self.all_keys.times.allowed:
            self.rolled.clear()
            self.revision.clear()


def _findings(findings: Sequence[Finding]) -> Iterator[Row]:
    if findings:
        yield _told("findings", finding_table(findings))


def _told(name: str, table: pa.Table) -> Row:
    return Row(name, [Row(*record) for record in to_messages(name, table)])


def _micros(timestamp: int) -> int:
    """Return the watermark, in µs, that a time of Flink's stands for: all before it has come."""
    return (timestamp + 1) * 1000


def _set(timers: Any, wake: Wake) -> None:
    for at in wake.at:
        timers.register_event_time_timer(at // 1000 - 1)
    if wake.soon:
        now = timers.current_processing_time()
        # the same for all that come within it
        timers.register_processing_time_timer(now // _REVISE_AFTER * _REVISE_AFTER + _REVISE_AFTER)
