"""How far event time has come in the partitions of a topic that one worker takes in."""

from __future__ import annotations

from collections.abc import Iterable


class PartitionClock:
    """The least of the partitions' watermarks; partitions that are idle do not count.

    A worker that starts waits for each of its partitions, until that is idle: the others may be
    far ahead of it.

    Parameters
    ----------
    partitions : that the worker takes in.
    behind : of a partition's watermark, behind its newest event time, in µs.
    idle_after : seconds without a row after which a partition is idle.
    now : time in seconds, of a clock that never goes back; so with the other methods.
    """

    def __init__(
        self, partitions: Iterable[int], behind: int, idle_after: float, now: float
    ) -> None:
        self.watermark: int | None = None  #: µs since 1970; never goes back
        self._behind, self._idle_after = behind, idle_after
        self._heard = dict.fromkeys(partitions, now)
        self._newest: dict[int, int] = {}

    def owns(self, partition: int) -> bool:
        """Say whether the partition is one of the worker's."""
        return partition in self._heard

    def hear(self, partition: int, newest: int, now: float) -> None:
        """Note that a partition had rows, and its newest event time in µs since 1970."""
        self._heard[partition] = now
        self._newest[partition] = newest

    def advance(self, now: float) -> int | None:
        """Return the watermark as it is now."""
        counts = [p for p, heard in self._heard.items() if now - heard <= self._idle_after]
        if counts and all(partition in self._newest for partition in counts):
            mark = min(self._newest[partition] for partition in counts) - self._behind
            self.watermark = mark if self.watermark is None else max(self.watermark, mark)
        return self.watermark
