"""All keys of one window together: kept while their windows are judged, then judged themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monitors.judging import WindowJudge
from monitors.rollup import ALL_KEYS, RollUp
from monitors.summary import TableSummary
from monitors.window import WindowPart
from monitors.window_codec import decode_part, encode_part
from pipelines.flink.windows import utc
from schemas.records import Finding, WindowKey
from schemas.stream import Stream
from transforms.lateness import Lateness, lateness


def encode_roll_up(rolled: RollUp) -> bytes:
    """Return a roll-up as bytes: a line of JSON, and the profile in the form of a window part."""
    head = {"keys": rolled.keys, "alarms": rolled.alarms.tolist()}
    return json.dumps(head).encode() + b"\n" + encode_part(_part(rolled))


def decode_roll_up(data: bytes) -> RollUp:
    """Read what `encode_roll_up` wrote."""
    line, _, part = data.partition(b"\n")
    head = json.loads(line)
    alarms = np.array(head["alarms"], dtype=np.int64)
    return RollUp(decode_part(part).profile, head["keys"], alarms, fresh=True)


def _part(rolled: RollUp) -> WindowPart:
    return WindowPart(rolled.profile, TableSummary(), {})


@dataclass(frozen=True, slots=True)
class Together:
    """The windows of all keys at one time, and how often they were judged together."""

    rolled: bytes
    revision: int = 0


class AllKeys:
    """Judges the windows of all keys together."""

    def __init__(self, stream: Stream, baselines: Path) -> None:
        times = lateness(stream)
        assert times is not None  # noqa: S101 (windows of a topic are of event time)
        self.times: Lateness = times
        self.judge = WindowJudge(stream, baselines)

    def add(self, before: Together | None, rolled: bytes) -> Together:
        """Add the window of one more key."""
        if before is None:
            return Together(rolled)
        both = decode_roll_up(before.rolled) + decode_roll_up(rolled)
        return Together(encode_roll_up(both), before.revision)

    def tell(self, start: int, baseline_id: str, now: Together) -> tuple[Together, list[Finding]]:
        """Judge the window that starts then, in µs since 1970."""
        self.judge.baselines.refresh()
        window = WindowKey(ALL_KEYS, utc(start), utc(start + self.times.length))
        rolled = decode_roll_up(now.rolled)
        found = self.judge.judge_all_keys(window, baseline_id, rolled, now.revision)
        return Together(now.rolled, now.revision + 1), found
