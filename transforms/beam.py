"""The Beam transforms of this folder: files in, checked Arrow batches out."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, BinaryIO

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import PBegin, PCollection, TaggedOutput
from numpy.typing import NDArray

from schemas.errors import SourceError
from schemas.records import Batch, Tally
from schemas.source import Source
from schemas.stream import Stream
from transforms.contract import ROW, check_rows
from transforms.decode import read_batches
from transforms.lags import halo, lags_of, span_seconds, with_lags
from transforms.sample import RowSample
from transforms.windows import split

REJECTS = "rejects"
TALLIES = "tallies"


def open_file(path: str) -> BinaryIO:
    """Open a file on any file system that Beam reads, decompressed by its suffix.

    Raises
    ------
    SourceError
        When it cannot be opened.
    """
    try:
        return FileSystems.open(path)
    except OSError as error:
        message = (
            f"{path}: cannot be opened: {error.strerror or error}; "
            f"give a file that can be read, or a glob such as data/*.parquet"
        )
        raise SourceError(message) from error


class ReadBatches(beam.PTransform):
    """Read the files of a source into checked batches.

    The result has three outputs: `batches` (`Batch`: typed columns, bad rows removed,
    with the stream's lags), `rejects`
    (Arrow tables of schema REJECT) and `tallies` (one `Tally` per file).
    """

    def __init__(
        self,
        paths: Sequence[str],
        source: Source,
        stream: Stream,
        between: tuple[int, int] | None = None,
    ) -> None:
        """Say what is read.

        Parameters
        ----------
        between : event times in µs since 1970: rows before the first, or not before the second, are
            as if they were not there. None: all rows.
        """
        super().__init__()
        self.paths, self.source, self.stream = list(paths), source, stream
        self.between = between

    def expand(self, begin: PBegin) -> Any:
        """Apply the transform to a pipeline."""
        read = (
            begin
            | "paths" >> beam.Create(self.paths, reshuffle=True)
            | "decode and check"
            >> beam.ParDo(_DecodeAndCheck(self.source, self.stream, self.between)).with_outputs(
                REJECTS, TALLIES, main="batches"
            )
        )
        if not self.stream.lags:
            return read
        lagged = read["batches"] | "lags" >> WithLags(self.stream)
        return {"batches": lagged, REJECTS: read[REJECTS], TALLIES: read[TALLIES]}


class _DecodeAndCheck(beam.DoFn):
    def __init__(self, source: Source, stream: Stream, between: tuple[int, int] | None) -> None:
        super().__init__()
        self.source, self.stream, self.between = source, stream, between

    def process(self, path: str) -> Iterator[Any]:
        stream = self.stream
        wanted = [*stream.key, *stream.columns]
        if stream.time is not None:
            wanted.insert(0, stream.time.column)
        rows = rejected = 0
        latest: int | None = None
        with open_file(path) as file:
            for decoded in read_batches(file, path, self.source, wanted, stream.name):
                checked = check_rows(
                    decoded.batch, stream.columns, stream.time, stream.key, stream.name
                )
                bad = pa.concat_tables([decoded.rejects, checked.rejects])
                batch = self._within(checked.batch)
                rows += batch.table.num_rows + bad.num_rows
                rejected += bad.num_rows
                if bad.num_rows:
                    yield TaggedOutput(REJECTS, bad)
                if batch.table.num_rows:
                    latest = newest_time(batch, stream, latest)
                    yield batch
        yield TaggedOutput(TALLIES, Tally(path, rows, rejected, latest=latest))

    def _within(self, batch: Batch) -> Batch:
        if self.between is None or self.stream.time is None:
            return batch
        times, (first, end) = _micros(batch.table[self.stream.time.column]), self.between
        return replace(batch, table=batch.table.filter(pa.array((times >= first) & (times < end))))


def newest_time(batch: Batch, stream: Stream, before: int | None) -> int | None:
    """Return the newest event time of a batch or of what was before it, in µs since 1970."""
    if stream.time is None:
        return None
    newest = int(_micros(batch.table[stream.time.column]).max())
    return newest if before is None else max(newest, before)


class WithLags(beam.PTransform):
    """Give rows the columns of the stream's lags; see `transforms.lags`.

    The rows of one key and span of time are brought together: they cross a shuffle. Batches come
    out anew: the rows of one file, key and span each, in their order within the file.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream

    def expand(self, batches: PCollection[Batch]) -> PCollection[Batch]:
        """Apply the transform."""
        lagged: PCollection[Batch] = (
            batches
            | "to spans"
            >> beam.ParDo(_ToSpans(self.stream)).with_output_types(tuple[tuple[str, int], Any])
            | "by key and span" >> beam.GroupByKey()
            | "join" >> beam.ParDo(_JoinLags(self.stream))
        )
        return lagged


class _ToSpans(beam.DoFn):
    """Send rows to their span, and their numbers to the later spans that reach back to them."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        assert stream.time is not None  # noqa: S101 (lags need it)
        self.key, self.time = stream.key, stream.time.column
        self.lags = lags_of(stream)
        self.span = round(span_seconds(stream) * 1e6)

    def process(self, batch: Batch) -> Iterator[tuple[tuple[str, int], Batch | pa.Table]]:
        table = batch.table
        times = _micros(table[self.time])
        for key, span, rows in split(table, self.key, times // self.span):
            yield (key, span), Batch(_copied(rows), batch.path, batch.first_row)
        needed, spans = halo(times, self.span, [lag for _, lag in self.lags.values()])
        features = {feature for feature, _ in self.lags.values()}
        past = table.select([self.time, *self.key, *sorted(features)]).take(pa.array(needed))
        for key, span, rows in split(past, self.key, spans):
            yield (key, span), _copied(rows.drop_columns(list(self.key)))


class _JoinLags(beam.DoFn):
    """Join the rows of one key and span with what was before them."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        assert stream.time is not None  # noqa: S101 (lags need it)
        self.time, self.lags = stream.time.column, lags_of(stream)

    def process(self, group: tuple[tuple[str, int], Iterable[Batch | pa.Table]]) -> Iterator[Batch]:
        own: dict[str, list[pa.Table]] = {}
        before: list[pa.Table] = []
        for part in group[1]:
            if isinstance(part, Batch):
                own.setdefault(part.path, []).append(part.table)
            else:
                before.append(part)
        if not own:
            return
        features = sorted({feature for feature, _ in self.lags.values()})
        whole = pa.concat_tables(
            table.select([self.time, *features]) for table in [*before, *chain(*own.values())]
        )
        past, times = whole.drop_columns([self.time]), _micros(whole[self.time])
        for path, tables in sorted(own.items()):
            rows = pa.concat_tables(tables).sort_by(ROW).combine_chunks()
            lagged = with_lags(rows, _micros(rows[self.time]), past, times, self.lags)
            yield Batch(lagged, path, rows[ROW][0].as_py())


def _copied(rows: pa.Table) -> pa.Table:
    """Return a slice as a table of its own: pickled, it would carry all it was cut from."""
    return rows.take(pa.array(np.arange(rows.num_rows)))


def _micros(times: pa.ChunkedArray) -> NDArray[np.int64]:
    micros: NDArray[np.int64] = times.cast(pa.int64()).to_numpy()
    return micros


class WithPositions(beam.DoFn):
    """Give each row its position in the whole source, or none.

    A position within a file says how the rows were cut into files, which no result may depend on.
    """

    def __init__(self, first_rows: Mapping[str, int]) -> None:
        super().__init__()
        self.first_rows = dict(first_rows)

    def process(self, batch: Batch) -> Iterator[Batch]:
        """Yield the batch with positions in the whole source, or without any."""
        table = batch.table
        at = table.schema.get_field_index(ROW)
        if not self.first_rows:
            yield Batch(table.remove_column(at), batch.path, batch.first_row)
            return
        moved = pc.add(table[ROW], self.first_rows[batch.path])
        yield Batch(table.set_column(at, ROW, moved), batch.path, batch.first_row)


class SampleRows(beam.CombineFn):
    """Keep a bounded, order-independent sample of the rows of all batches."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity

    def create_accumulator(self, *_: Any, **__: Any) -> RowSample:
        """Return the empty sample."""
        return RowSample.empty(self.capacity)

    def add_input(
        self, mutable_accumulator: RowSample, element: Batch, *_: Any, **__: Any
    ) -> RowSample:
        """Add the rows of one batch."""
        return mutable_accumulator.add(element.table)

    def merge_accumulators(
        self, accumulators: Iterable[RowSample], *_: Any, **__: Any
    ) -> RowSample:
        """Merge samples."""
        return functools.reduce(RowSample.merge, accumulators)

    def extract_output(self, accumulator: RowSample, *_: Any, **__: Any) -> RowSample:
        """Return the sample."""
        return accumulator
