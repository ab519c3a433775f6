"""The windows of one key: their parts, when they are judged, and again, and forgotten.

The parts of a stretch of time that windows share are kept once, and put together when a window is
judged. What is kept are the versioned bytes of `monitors.window_codec`.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from monitors.due import Due
from monitors.judging import Judged, WindowJudge
from monitors.rollup import RollUp
from monitors.window_codec import decode_part, encode_part
from schemas.records import REJECT, WindowKey
from schemas.stream import Stream
from transforms.lateness import Lateness, lateness


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept for one key; mappings, though Flink's have no type."""

    parts: Any  #: number of a span → id of a baseline → part
    revisions: Any  #: start of a window, in µs since 1970 → how often it was judged
    late: Any  #: starts of windows that have rows they were not judged with → True


@dataclass(frozen=True, slots=True)
class Wake:
    """When to look at a key again."""

    at: tuple[int, ...] = ()  #: when the watermark comes there, in µs since 1970
    soon: bool = False  #: windows that were judged have more rows


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one window."""

    start: int  #: of the window, in µs since 1970
    baseline_id: str
    judged: Judged
    rolled: RollUp | None  #: what it adds to all keys; a window that is judged again adds nothing


class Windows:
    """Judges the windows of any key, with what is kept for it."""

    def __init__(self, stream: Stream, baselines: Path) -> None:
        times = lateness(stream)
        assert times is not None  # noqa: S101 (windows of a topic are of event time)
        self.times: Lateness = times
        self.judge = WindowJudge(stream, baselines)

    def add(
        self, kept: Kept, span: int, baseline_id: str, part: bytes, watermark: int
    ) -> Wake | None:
        """Add a part to what is kept; None: all its windows are final, and it is left out."""
        last = span * self.times.every
        if self.times.final(last, watermark):
            return None
        before: dict[str, bytes] = dict(kept.parts.get(span) or {})
        own = before.get(baseline_id)
        before[baseline_id] = (
            part if own is None else encode_part(decode_part(own) + decode_part(part))
        )
        kept.parts[span] = before
        wake, soon = set(), False
        for start in range(last, last - self.times.length, -self.times.every):
            end = start + self.times.length
            if self.times.final(start, watermark):
                continue
            wake.add(end + self.times.allowed)
            if end > watermark:
                wake.add(end)
            else:
                kept.late[start] = True
                soon = True
        return Wake(tuple(wake) if own is None else (), soon)

    def refuse(self, key: str, span: int, part: bytes) -> pa.Table:
        """Return the reject that tells of a part that was left out.

        Its rows were not late in their own partition, which had been idle.
        """
        name = self.judge.stream.name
        time = utc(span * self.times.every).isoformat()
        rows = decode_part(part).profile.rows
        detail = f"{rows:,} rows of a partition that had been idle: their windows were final"
        reject = {"stream": name, "path": f"{key} {time}", "reason": "late", "detail": detail}
        raw = json.dumps({"key": key, "time": time})
        return pa.Table.from_pylist([reject | {"raw": raw}], REJECT)

    def reach(self, key: str, kept: Kept, watermark: int) -> Told | None:
        """Judge the window that ends when the watermark comes here; forget the one that is final.

        None where no window of the key ends.
        """
        told = self._judge(key, kept, watermark - self.times.length)
        final = watermark - self.times.length - self.times.allowed
        if final % self.times.every == 0:
            for state in (kept.revisions, kept.late):
                if final in state:
                    del state[final]
            if final // self.times.every in kept.parts:  # no later window has this span
                del kept.parts[final // self.times.every]
        return told

    def revise(self, key: str, kept: Kept) -> Iterator[Told]:
        """Judge the windows again that have late rows."""
        late = sorted(kept.late)
        for start in late:
            del kept.late[start]
            told = self._judge(key, kept, start)
            if told is not None:
                yield told

    def _judge(self, key: str, kept: Kept, start: int) -> Told | None:
        if start % self.times.every:
            return None
        self.judge.baselines.refresh()
        baseline_id = self.judge.baselines.id_at(start)
        first = start // self.times.every
        spans = range(first, first + self.times.length // self.times.every)
        held = [(kept.parts.get(span) or {}).get(baseline_id) for span in spans]
        parts = [decode_part(part) for part in held if part is not None]
        if not parts:
            return None
        revision = kept.revisions.get(start) or 0
        kept.revisions[start] = revision + 1
        window = WindowKey(key, utc(start), utc(start + self.times.length))
        due = Due(judge=True, revision=revision, named=() if revision else None)
        part = functools.reduce(operator.add, parts)
        judged = self.judge.judge(window, baseline_id, part, due)
        # the other keys of a revised window may be forgotten by now
        return Told(start, baseline_id, judged, None if revision else judged.rolled)


def utc(micros: int) -> datetime:
    """Return a time of µs since 1970."""
    return datetime.fromtimestamp(micros / 1e6, tz=UTC)
