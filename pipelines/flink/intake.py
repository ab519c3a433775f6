"""Messages of one partition in; window parts, and records for the topics of the sink, out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from monitors.profiling import RowProfiler, SpanKey
from monitors.window_codec import encode_part
from pipelines.kafka.sink import to_messages
from schemas.kafka import Topic
from schemas.stream import Stream
from transforms.beam import newest_time
from transforms.messages import Message, take_in

#: The name of some records, and their messages: key and value of each.
Records = tuple[str, list[tuple[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class Progress:
    """What has been taken in of one partition. Flink's state holds it as JSON."""

    newest: int | None = None  #: event time in µs since 1970
    rows: int = 0  #: read; a message that cannot be used is one
    rejected: int = 0
    late: int = 0

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> Progress:
        """Read what `to_json` wrote; None: nothing has been taken in."""
        return cls() if text is None else cls(**json.loads(text))

    @property
    def used(self) -> int:
        """Rows that are in the windows."""
        return self.rows - self.rejected - self.late


@dataclass(slots=True)
class Taken:
    """What some messages give."""

    progress: Progress
    parts: list[tuple[SpanKey, bytes]] = field(default_factory=list)
    records: list[Records] = field(default_factory=list)


class Intake:
    """Decodes, checks and profiles the messages of a topic.

    Parameters
    ----------
    wanted : names of the records that have a topic: forecasts, rejects.
    """

    def __init__(self, stream: Stream, baselines: Path, wanted: Sequence[str]) -> None:
        assert isinstance(stream.source, Topic)  # noqa: S101 (what the job is for)
        self.stream, self.topic, self.wanted = stream, stream.source, frozenset(wanted)
        self.profiler = RowProfiler(stream, baselines, {})

    def take(self, messages: Sequence[Message], progress: Progress, watermark: int | None) -> Taken:
        """Take in messages of one partition, in its order.

        Parameters
        ----------
        progress : of the partition, before these messages.
        watermark : of all partitions that are not idle, in µs since 1970.
        """
        self.profiler.baselines.refresh()
        self.profiler.watermark = watermark
        found = take_in(messages, self.topic, self.stream)
        taken = Taken(progress)
        rejected = found.rejects.num_rows
        self._keep(taken, "rejects", found.rejects)
        rows, late, newest = rejected, 0, progress.newest
        for batch in found.batches:
            profiled = self.profiler.profile(replace(batch, latest=newest))
            newest = newest_time(batch, self.stream, newest)
            rows += batch.table.num_rows
            taken.parts += [(about, encode_part(part)) for about, (_, part) in profiled.parts]
            for forecasts in profiled.forecasts:
                self._keep(taken, "forecasts", forecasts)
            if profiled.late is not None:
                late += profiled.late.num_rows
                self._keep(taken, "rejects", profiled.late)
        taken.progress = Progress(
            newest, progress.rows + rows, progress.rejected + rejected, progress.late + late
        )
        return taken

    def _keep(self, taken: Taken, name: str, table: pa.Table) -> None:
        if name in self.wanted and table.num_rows:
            taken.records.append((name, to_messages(name, table)))
