"""Files in, checked batches out: the Beam transforms say what plain reading says."""

from __future__ import annotations

import functools
import gzip
import itertools
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from apache_beam.transforms.core import CombineFn

from schemas.errors import SourceError
from schemas.records import REJECT, Batch, Tally
from schemas.source import Source
from schemas.stream import Stream
from transforms.beam import REJECTS, TALLIES, ReadBatches, SampleRows, WithPositions, open_file
from transforms.contract import ROW
from transforms.sample import RowSample

STREAM = Stream.model_validate(
    {
        "tidegauge": 1,
        "name": "x",
        "source": {"path": "x"},
        "reference": {"path": "x"},
        "columns": {"a": {"type": "number", "max": 90}, "b": {"type": "category"}},
        "window": {"rows": 10},
        "alarms": {"false": "1 per 10 windows"},
    }
)


def rows(count: int, first: int = 0) -> pl.DataFrame:
    """Return numbered rows with a text."""
    numbers = np.arange(first, first + count)
    return pl.DataFrame({"a": numbers.astype(float), "b": [f"t{n % 7}" for n in numbers], "c": 1})


def batch(table: pl.DataFrame, first: int, path: str = "p") -> Batch:
    """Return rows as they come out of `ReadBatches`."""
    places = pa.array(range(first, first + table.height), pa.int64())
    return Batch(table.select("a", "b").to_arrow().append_column(ROW, places), path, first)


def test_files_are_read_checked_and_tallied(tmp_path: Path) -> None:
    """Each row is in a batch or the rejects, with its file and place; each file has one tally."""
    rows(60).write_parquet(tmp_path / "1.parquet")
    (tmp_path / "2.csv").write_bytes(rows(40, 60).write_csv().encode() + b"1,x\n")
    paths = [str(tmp_path / name) for name in ("1.parquet", "2.csv")]

    def batches_are_right(found: list[Batch]) -> None:
        seen = [
            (Path(part.path).name, place, value)
            for part in found
            for place, value in pl.DataFrame(pl.from_arrow(part.table)).select(ROW, "a").rows()
        ]
        expected = [("1.parquet", n, float(n)) for n in range(60)]
        expected += [("2.csv", n, float(n + 60)) for n in range(31)]
        assert sorted(seen) == expected
        assert all(part.table.column_names == ["a", "b", ROW] for part in found)

    def rejects_are_right(found: list[pa.Table]) -> None:
        table = pl.DataFrame(pl.from_arrow(pa.concat_tables(found)))
        assert all(part.schema.equals(REJECT) for part in found)
        assert table.group_by("reason", "column").len().sort("reason").rows() == [
            ("ragged", None, 1),
            ("range", "a", 9),
        ]
        assert table["row"].sort().to_list() == list(range(31, 41))

    def tallies_are_right(found: list[Tally]) -> None:
        assert sorted((Path(one.path).name, one.rows, one.rejected) for one in found) == [
            ("1.parquet", 60, 0),
            ("2.csv", 41, 10),
        ]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        read = pipeline | ReadBatches(paths, Source(path="x"), STREAM)
        assert_that(read["batches"], batches_are_right, "batches")
        assert_that(read[REJECTS], rejects_are_right, "rejects")
        assert_that(read[TALLIES], tallies_are_right, "tallies")


@pytest.mark.parametrize("cuts", [[], [1], [30, 31, 99], list(range(1, 100))])
@pytest.mark.parametrize("order", ["forwards", "backwards", "as a tree"])
def test_sample_of_parts_is_the_sample_of_the_whole(cuts: list[int], order: str) -> None:
    """However rows are cut into batches and accumulators merged, the same rows are kept."""
    combine = SampleRows(20)
    places = [0, *cuts, 100]
    parts = [batch(rows(stop - start, start), start) for start, stop in itertools.pairwise(places)]
    bare = WithPositions({})
    parts = [one for part in parts for one in bare.process(part)]
    accumulators = [combine.add_input(combine.create_accumulator(), part) for part in parts]
    merged = merge(combine, accumulators, order)
    naive = RowSample.empty(20).add(rows(100).select("a", "b").to_arrow())
    assert combine.extract_output(merged).table.equals(naive.table)
    assert naive.table.num_rows == 20


def merge(combine: CombineFn, accumulators: list[RowSample], order: str) -> Any:
    """Merge accumulators in one of three groupings; empty ones among them change nothing."""
    if order == "backwards":
        return combine.merge_accumulators([combine.create_accumulator(), *accumulators[::-1]])
    if order == "as a tree":
        while len(accumulators) > 1:
            pairs = [accumulators[i : i + 2] for i in range(0, len(accumulators), 2)]
            accumulators = [combine.merge_accumulators(pair) for pair in pairs]
        return accumulators[0]
    return functools.reduce(lambda a, b: combine.merge_accumulators([a, b]), accumulators)


def test_positions_are_those_in_the_whole_source_or_none() -> None:
    """Where windows are counted in rows a row's place goes on over files; else there is none."""
    own = batch(rows(3), 5, "second")
    counted = next(WithPositions({"first": 0, "second": 100}).process(own))
    assert counted.table[ROW].to_pylist() == [105, 106, 107]
    assert counted.table.column_names == own.table.column_names
    bare = next(WithPositions({}).process(own))
    assert bare.table.column_names == ["a", "b"]


def test_compressed_file_is_opened_decompressed(tmp_path: Path) -> None:
    """The suffix tells the compression."""
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n"))
    with open_file(str(path)) as file:
        assert file.read() == b"a,b\n"


def test_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """Gone between the listing and the reading, or a folder: named, with what is wrong."""
    with pytest.raises(SourceError, match=r"gone\.csv: cannot be opened"):
        open_file(str(tmp_path / "gone.csv"))
    with pytest.raises(SourceError, match="cannot be opened: Is a directory"):
        open_file(str(tmp_path))
