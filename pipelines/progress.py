"""What a run folder has taken in, and what there is to take in now."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from pipelines.sources import check_files, first_rows, list_files
from schemas.duration import parse_duration
from schemas.kafka import Topic
from schemas.records import Tally
from schemas.source import Source
from schemas.stream import Stream
from transforms.beam import ReadBatches
from transforms.lateness import MOST_AHEAD, lateness

if TYPE_CHECKING:
    from pipelines.kafka.ranges import Plan

MOST_MESSAGES = 50_000  # of a partition at a time: a tick that ends in seconds
FILES = ""  # the partition of all files: they are read side by side, in no order


@dataclass(frozen=True, slots=True)
class Progress:
    """What has been taken in so far; JSON values, but for their types."""

    files: Mapping[str, list[float]] = field(default_factory=dict)  #: size and time of change
    offsets: Mapping[str, int] = field(default_factory=dict)  #: the next one, by partition
    newest: Mapping[str, int] = field(default_factory=dict)  #: event time by partition, in µs
    heard: Mapping[str, float] = field(default_factory=dict)  #: when a partition last had rows
    watermark: int | None = None  #: µs since 1970
    rows: int = 0  #: read, those that could not be used included
    outcomes: Mapping[str, list[float]] = field(default_factory=dict)  #: files, as `files`
    #: by target that is forecast `ahead`: up to when, in µs since 1970
    ahead: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Progress:
        """Return what `to_json` gave; what a later version added is left out."""
        return cls(**{item.name: data[item.name] for item in fields(cls) if item.name in data})

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


class Intake(Protocol):
    """Rows that have not been taken in yet, and an end of them."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to read: only the clock has gone on."""

    @property
    def first_rows(self) -> Mapping[str, int]:
        """Position in the whole source of each file's first row; windows of rows need it."""

    def read(self) -> beam.PTransform:
        """Return the transform that reads them: see `transforms.beam.ReadBatches`."""

    def after(self, tallies: Iterable[Tally]) -> Progress:
        """Return the progress when they have been taken in."""


@dataclass(frozen=True, slots=True)
class NewFiles:
    """Files that have not been read yet."""

    files: Mapping[str, list[float]]  #: size and time of change as they were before reading
    source: Source
    stream: Stream
    progress: Progress
    first_rows: Mapping[str, int]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to read."""
        return not self.files

    def read(self) -> beam.PTransform:
        """Return the transform that reads them."""
        return ReadBatches(list(self.files), self.source, self.stream)

    def after(self, tallies: Iterable[Tally]) -> Progress:
        """Return the progress when they have been read."""
        tallies = list(tallies)
        files = {**self.progress.files, **self.files}
        newest = _newest([replace(tally, path=FILES) for tally in tallies], self.progress)
        rows = self.progress.rows + sum(tally.rows for tally in tallies)
        watermark = _watermark(self.stream, newest, self.progress)
        return replace(self.progress, files=files, newest=newest, watermark=watermark, rows=rows)


@dataclass(frozen=True, slots=True)
class NewMessages:
    """Messages of a topic that have not been read yet."""

    plan: Plan
    topic: Topic
    stream: Stream
    progress: Progress

    @property
    def empty(self) -> bool:
        """Whether there is nothing to read."""
        return not self.plan.ranges

    @property
    def first_rows(self) -> Mapping[str, int]:
        """Nothing: windows of rows need files."""
        return {}

    def read(self) -> beam.PTransform:
        """Return the transform that reads them."""
        from pipelines.kafka.ranges import ReadRanges

        return ReadRanges(self.plan.ranges, self.topic, self.stream, self.progress.newest)

    def after(self, tallies: Iterable[Tally]) -> Progress:
        """Return the progress when they have been read."""
        tallies = list(tallies)
        newest, now = _newest(tallies, self.progress), time.time()
        offsets = {str(partition): at for partition, at in self.plan.positions.items()}
        moved = replace(
            self.progress,
            offsets={**self.progress.offsets, **offsets},
            newest=newest,
            heard={**self.progress.heard, **{tally.path: now for tally in tallies if tally.rows}},
            rows=self.progress.rows + sum(tally.rows for tally in tallies),
        )
        return replace(moved, watermark=_watermark(self.stream, newest, moved, now))


def new_files(stream: Stream, progress: Progress) -> NewFiles:
    """Return the files of a stream's source that have not been read.

    Raises
    ------
    SourceError
        When there is no file at all, or a new one lacks a column.
    """
    assert isinstance(stream.source, Source)  # noqa: S101 (the caller looked)
    there = list_files(stream.source, none_yet=bool(progress.files))
    new = {path: about for path, about in there.items() if path not in progress.files}
    check_files(list(new), stream.source, stream)
    first: dict[str, int] = {}
    if stream.window.rows is not None:
        own = first_rows(list(new), stream.source)
        first = {path: progress.rows + row for path, row in own.items()}
    return NewFiles(new, stream.source, stream, progress, first)


def intake(
    stream: Stream, progress: Progress, until: Mapping[int, int] | None = None
) -> Intake | None:
    """Return what is new of a stream's source; None where nothing is.

    Parameters
    ----------
    until : of a topic, the offsets behind which nothing is read; None: whatever there is.

    Raises
    ------
    SourceError
        When the source cannot be read.
    """
    if isinstance(stream.source, Topic):
        from pipelines.kafka.ranges import next_ranges

        offsets = {int(partition): offset for partition, offset in progress.offsets.items()}
        plan = next_ranges(stream.source, offsets, MOST_MESSAGES, until)
        messages = NewMessages(plan, stream.source, stream, progress)
        # a partition that has become idle lets the watermark go on
        moved = messages.after([]).watermark != progress.watermark
        return messages if plan.ranges or plan.positions != offsets or moved else None
    files = new_files(stream, progress)
    return None if files.empty else files


def files_gone(stream: Stream, progress: Progress) -> list[str]:
    """Return the files that were read and are no longer there, whatever the source is by now."""
    assert isinstance(stream.source, Source)  # noqa: S101 (the caller looked)
    elsewhere = progress.files.keys() - list_files(stream.source, none_yet=True).keys()
    elsewhere |= progress.outcomes.keys()
    return sorted(path for path in elsewhere if not FileSystems.exists(path))


def changed_files(stream: Stream, progress: Progress) -> list[str]:
    """Return the files that were read and have changed since; those that are gone do not count."""
    assert isinstance(stream.source, Source)  # noqa: S101 (the caller looked)
    seen, read = list_files(stream.source, none_yet=True), {**progress.files}
    if stream.outcomes is not None:
        seen |= list_files(stream.outcomes, none_yet=True)
        read |= progress.outcomes
    return [path for path, about in read.items() if path in seen and list(about) != seen[path]]


def _newest(tallies: Iterable[Tally], progress: Progress) -> dict[str, int]:
    newest = dict(progress.newest)
    for tally in tallies:
        if tally.latest is not None:
            newest[tally.path] = max(newest.get(tally.path, tally.latest), tally.latest)
    return newest


def _watermark(
    stream: Stream, newest: Mapping[str, int], progress: Progress, now: float | None = None
) -> int | None:
    """Return the least event time that partitions which are not idle may still send on time."""
    times = lateness(stream)
    if times is None or not newest:
        return progress.watermark
    idle_after = parse_duration(stream.watermark.idle_after)
    awake = [
        at
        for partition, at in newest.items()
        if now is None or abs(now - progress.heard.get(partition, now)) < idle_after
    ]
    mark = (min(awake) if awake else max(newest.values())) - times.behind
    # a file with a row of the future must not make all others late
    mark = min(mark, round((time.time() + MOST_AHEAD) * 1e6))
    return mark if progress.watermark is None else max(mark, progress.watermark)
