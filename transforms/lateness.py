"""Which rows come too late for any window to take them in, or claim to come from the future."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.duration import parse_duration
from schemas.records import Batch
from schemas.stream import Stream
from transforms.rejects import ROW, Reject, reject_table

Micros = NDArray[np.int64]

MOST_AHEAD = 86_400.0  # seconds by which a row may be ahead of the clock: zones, clocks that drift


@dataclass(frozen=True, slots=True)
class Lateness:
    """The lateness of a stream, in microseconds of event time."""

    length: int  #: of a window
    every: int  #: step of the windows; also the length of the spans that are profiled
    behind: int  #: of the watermark, behind the newest event time
    allowed: int  #: after the end of a window

    def final(self, start: int, watermark: int) -> bool:
        """Say whether the window that starts then takes in no more rows."""
        return start + self.length + self.allowed <= watermark

    def late(
        self, times: Micros, watermark: int | None, before: int | None, *, ordered: bool
    ) -> NDArray[np.bool_]:
        """Mark the rows all of whose windows are final.

        Parameters
        ----------
        times : shape (n,)
            Event times in µs since 1970.
        watermark : of the whole stream before these rows; None before any row.
        before : newest event time of their partition before these rows; None before any row.
        ordered : the rows are in the order of their partition, in which the watermark goes on from
            row to row; those of files are not, which are read side by side.
        """
        last_end = times // self.every * self.every + self.length
        mark = np.full(len(times), _NEVER if watermark is None else watermark)
        if ordered:
            first = _NEVER + self.behind if before is None else before
            newest = np.maximum.accumulate(np.concatenate([[first], times]))[:-1]
            mark = np.maximum(mark, newest - self.behind)
        marked: NDArray[np.bool_] = last_end + self.allowed <= mark
        return marked


_NEVER = np.iinfo(np.int64).min


def lateness(stream: Stream) -> Lateness | None:
    """Return the lateness of a stream; None where windows are counted in rows."""
    length, every = stream.window.length_seconds, stream.window.every_seconds
    if length is None or every is None:
        return None
    behind, allowed = stream.watermark.out_of_orderness, stream.watermark.allowed_lateness
    return Lateness(
        _micros(length),
        _micros(every),
        0 if behind is None else _micros(parse_duration(behind)),
        _micros(length if allowed is None else parse_duration(allowed)),
    )


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)


def late_rows(batch: Batch, late: NDArray[np.bool_], stream_name: str) -> pa.Table:
    """Return the rows of a batch that came too late, as a table of schema `REJECT`."""
    detail = "came after the windows of its event time were final"
    return rejects_of(batch, late, stream_name, "late", detail)


def without_future(batch: Batch, time: str, stream_name: str, now: float) -> tuple[Batch, pa.Table]:
    """Return the rows of a batch of messages but for those of the future, and these as rejects.

    One such row would move the watermark ahead of all others, and make them late.

    Parameters
    ----------
    time : the column of event times.
    now : in seconds since 1970.
    """
    future = batch.table[time].cast(pa.int64()).to_numpy() > (now + MOST_AHEAD) * 1e6
    if not future.any():
        return batch, reject_table([], "", "")
    detail = "its event time is more than a day ahead of this machine's clock"
    kept = replace(batch, table=batch.table.filter(pa.array(~future)))
    return kept, rejects_of(batch, future, stream_name, "future", detail)


def rejects_of(
    batch: Batch, which: NDArray[np.bool_], stream_name: str, reason: str, detail: str
) -> pa.Table:
    """Return some rows of a batch as a table of schema `REJECT`."""
    rows = batch.table.filter(pa.array(which)).to_pylist()
    rejects = [
        Reject(row.pop(ROW), reason, None, detail, json.dumps(row, default=str)) for row in rows
    ]
    return reject_table(rejects, stream_name, batch.path)
