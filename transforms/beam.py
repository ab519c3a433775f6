"""The Beam transforms of this folder: files in, checked Arrow batches out."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import PBegin, TaggedOutput

from schemas.errors import SourceError
from schemas.records import Batch, Tally
from schemas.stream import Source, Stream
from transforms.contract import ROW, check_rows
from transforms.decode import read_batches
from transforms.sample import RowSample

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

    The result has three outputs: `batches` (`Batch`: typed columns, bad rows removed), `rejects`
    (Arrow tables of schema REJECT) and `tallies` (one `Tally` per file).
    """

    def __init__(self, paths: Sequence[str], source: Source, stream: Stream) -> None:
        super().__init__()
        self.paths, self.source, self.stream = list(paths), source, stream

    def expand(self, begin: PBegin) -> Any:
        """Apply the transform to a pipeline."""
        return (
            begin
            | "paths" >> beam.Create(self.paths, reshuffle=True)
            | "decode and check"
            >> beam.ParDo(_DecodeAndCheck(self.source, self.stream)).with_outputs(
                REJECTS, TALLIES, main="batches"
            )
        )


class _DecodeAndCheck(beam.DoFn):
    def __init__(self, source: Source, stream: Stream) -> None:
        super().__init__()
        self.source, self.stream = source, stream

    def process(self, path: str) -> Iterator[Any]:
        stream = self.stream
        wanted = [*stream.key, *stream.columns]
        if stream.time is not None:
            wanted.insert(0, stream.time.column)
        rows = rejected = 0
        with open_file(path) as file:
            for decoded in read_batches(file, path, self.source, wanted, stream.name):
                checked = check_rows(
                    decoded.batch, stream.columns, stream.time, stream.key, stream.name
                )
                bad = pa.concat_tables([decoded.rejects, checked.rejects])
                rows += decoded.batch.table.num_rows + decoded.rejects.num_rows
                rejected += bad.num_rows
                if bad.num_rows:
                    yield TaggedOutput(REJECTS, bad)
                if checked.batch.table.num_rows:
                    yield checked.batch
        yield TaggedOutput(TALLIES, Tally(path, rows, rejected))


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
