"""A bounded sample of the rows of a window, in runs of rows that follow each other.

A window's profile says that a feature moved; what kind of change it was, since when, and which map
explains it, needs some of its rows. The sample is a bottom-k sketch (Cohen and Kaplan, PODC 2007)
whose ranks are hashes of stretches of time, not of rows: a stretch is kept whole or not at all, but
for the last one, so that a row's neighbours are kept with it and lags can be measured. Where most
rows of a key share their time with others there are no neighbours, and each row has its own rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.explain import FEWEST
from schemas.stream import Stream
from transforms.contract import ROW
from transforms.sample import Words, mixed, row_words

STEPS_PER_RUN = 16
HELD = 10_000_000  # values in all windows that are open at a time: 80 MB of numbers
_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's step: its finaliser maps 0 to 0

Places = NDArray[np.int64]


class KeptRows:
    """The rows kept of some rows: which ones depends on the rows alone, not on order or batches.

    Every row has its place: the event time in µs since 1970, or its position in the source where
    there is none. Stretches of `run` places are ranked by a hash of their number; kept are the
    `capacity` rows of lowest rank, within a stretch the first ones, at one place those with the
    lowest hashes of their content. Where `run` is 0, rows are ranked by these. Up to `capacity`
    rows are all kept.

    Sums are put together once they are looked at, or when they are long: a window that slides is
    the sum of hundreds of short parts.
    """

    __slots__ = ("_held", "_pieces", "capacity", "run")

    def __init__(
        self, capacity: int, table: pa.Table, places: Places | None = None, run: int = 1
    ) -> None:
        """Hold rows that are kept.

        Parameters
        ----------
        capacity : rows kept at most.
        table : in order of their places.
        places : shape (rows,)
        run : length of a stretch, in units of places; 0: no stretches.
        """
        self.capacity, self.run = capacity, run
        self._pieces = [(table, np.empty(0, dtype=np.int64) if places is None else places)]
        self._held = table.num_rows

    @property
    def table(self) -> pa.Table:
        """The rows, in order of their places."""
        return self._together()[0]

    @property
    def places(self) -> Places:
        """The places of the rows: int64, shape (rows,)."""
        return self._together()[1]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the rows alone: a slice of a table would take along all it was cut from."""
        return _unpickled, (self.capacity, to_ipc(self.table), self.places, self.run)

    def __add__(self, other: KeptRows) -> KeptRows:
        """Merge the rows kept of two sets of rows.

        The lesser capacity counts: of more rows than that, one of the two has not kept all.
        """
        capacity = min(self.capacity, other.capacity)
        if not capacity:
            return NO_ROWS
        if _ANY in (self.capacity, other.capacity):
            return self if other.capacity == _ANY else other
        if self.run != other.run:
            message = f"rows kept by stretches of {self.run} and of {other.run} do not merge"
            raise ValueError(message)
        both = KeptRows.__new__(KeptRows)
        both.capacity, both.run = capacity, self.run
        both._pieces, both._held = [*self._pieces, *other._pieces], self._held + other._held
        if both._held > 2 * capacity:
            both._together()
        return both

    def _together(self) -> tuple[pa.Table, Places]:
        if len(self._pieces) > 1:
            table = pa.concat_tables([table for table, _ in self._pieces])
            places = np.concatenate([places for _, places in self._pieces])
            chosen = _lowest(
                places, self.run, self.capacity, lambda rows: row_words(table.take(pa.array(rows)))
            )
            rows = table.take(pa.array(chosen)).combine_chunks()
            self._pieces, self._held = [(rows, places[chosen])], len(chosen)
        return self._pieces[0]


_ANY = 2**62  # more rows than there are
NO_ROWS = KeptRows(0, pa.table({}))  # of rows that are there
NOTHING = KeptRows(_ANY, pa.table({}))  # of no rows: it changes no sum


def to_ipc(table: pa.Table) -> bytes:
    """Return a table as an Arrow IPC stream, of no more than its own rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _unpickled(capacity: int, stream: bytes, places: Places, run: int) -> KeptRows:
    with pa.ipc.open_stream(stream) as reader:
        return KeptRows(capacity, reader.read_all(), places, run)


def keep_rows(
    table: pa.Table, places: Places, sizes: Sequence[int], capacity: int, run: int
) -> list[KeptRows]:
    """Keep rows of every group of a table.

    Parameters
    ----------
    table : the rows, those of a group together; only columns that are kept.
    places : int64, shape (rows,)
    sizes : rows of each group.
    capacity : rows kept of each group at most; 0: none.
    run : length of a stretch of places that is kept together; 0: rows are kept one by one.
    """
    if not capacity:
        return [NO_ROWS] * len(sizes)
    stops = np.cumsum(sizes)
    chosen = []
    for stop, size in zip(stops.tolist(), sizes, strict=True):
        start = stop - size

        def content(rows: Places, start: int = start) -> Words:
            return row_words(table.take(pa.array(start + rows)))

        chosen.append(start + _lowest(places[start:stop], run, capacity, content))
    rows = np.concatenate(chosen)
    # one copy: slices of the whole table would hold on to all of it
    kept = table.take(pa.array(rows)).combine_chunks()
    ends = np.cumsum([len(own) for own in chosen]).tolist()
    return [
        KeptRows(capacity, kept.slice(end - len(own), len(own)), places[own], run)
        for end, own in zip(ends, chosen, strict=True)
    ]


def kept_columns(stream: Stream) -> list[str]:
    """Return the columns that are kept: the event time, all but those ignored, and their lags."""
    time = [] if stream.time is None else [stream.time.column]
    return [*time, *stream.with_role("feature", "condition", "target"), *stream.lagged]


def rows_of_a_window(stream: Stream, keys: int) -> int:
    """Return how many rows are kept of each window: what is asked for, or what there is room for.

    Parameters
    ----------
    keys : whose windows are open side by side.
    """
    steps = 1  # the rows of each are kept by themselves
    if stream.window.length_seconds is not None and stream.window.every_seconds is not None:
        steps = round(stream.window.length_seconds / stream.window.every_seconds)
    values = max(1, keys) * steps * max(1, len(kept_columns(stream)))
    rows = min(stream.explain.rows, HELD // values)
    return rows if rows >= FEWEST else 0


def places_of(stream: Stream, table: pa.Table, first_row: int = 0) -> Places:
    """Return the places of rows; `first_row` is the source's position of the file's first."""
    if stream.time is None:
        positions: Places = table[ROW].to_numpy() + first_row
        return positions
    times: Places = table[stream.time.column].cast(pa.int64()).to_numpy()
    return times


def typical_step(places: Places, keys: Places, share: float) -> int:
    """Return how far apart the places of neighbouring rows of a key typically are.

    0: most rows share their place with others.

    Parameters
    ----------
    places, keys : int64, shape (rows,)
        Of a uniform sample of rows: their places, and the numbers of their keys.
    share : of all rows, in (0, 1]

    Notes
    -----
    Of the gaps in a sample of a share s, about s are gaps between neighbours, and these are the
    small ones: their median is the s/2-quantile of all gaps.
    """
    order = np.lexsort((places, keys))
    gaps = np.diff(places[order])[np.diff(keys[order]) == 0]
    return int(np.quantile(gaps, share / 2, method="inverted_cdf")) if len(gaps) else 0


def _lowest(places: Places, run: int, capacity: int, content: Callable[[Places], Words]) -> Places:
    """Return which rows are kept, in order of their places; ties in that of their content's hashes.

    Parameters
    ----------
    content : hashes the content of the rows asked for; with stretches, only those that share a
        place are.
    """
    rows = np.arange(len(places))
    if len(places) <= capacity and np.all(places[1:] > places[:-1]):
        return rows
    ranks = mixed((places // run).view(np.uint64) + _GAMMA) if run else content(rows)
    if len(places) > capacity:
        rows = np.flatnonzero(ranks <= np.partition(ranks, capacity - 1)[capacity - 1])
        places, ranks = places[rows], ranks[rows]
    ties = np.zeros(len(rows), dtype=np.uint64) if run else ranks
    order = np.lexsort((places, ranks))
    # rows that share a place share a stretch, and so stand side by side
    same = places[order[1:]] == places[order[:-1]]
    if run and same.any():
        shared = order[np.append(same, False) | np.append(False, same)]
        ties[shared] = content(rows[shared])
        order = np.lexsort((ties, places, ranks))
    kept = order[:capacity]
    return rows[kept[np.lexsort((ties[kept], places[kept]))]]
