"""Batches in, findings out: the Beam transforms add up what the plain functions say."""

from __future__ import annotations

import itertools
import json
import operator
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing import test_stream
from apache_beam.transforms.window import TimestampedValue
from polars.testing import assert_frame_equal

from monitors.baseline_folder import load_baseline
from monitors.beam.merge import MergeParts, SummariseRows
from monitors.beam.reference import ProfileBlocks
from monitors.beam.score import ScoreWindows
from monitors.blocks import Blocks
from monitors.gram import profile, profile_blocks
from monitors.summary import merge, summarise
from pipelines.run_folder import open_run
from pipelines.sinks import WriteParts
from schemas.records import Batch
from schemas.stream import Stream
from schemas.stream_file import load_stream
from tests.small_streams import CURRENT_WEEKS, HOURS, Outcome, Watched, current_rows
from transforms.contract import ROW, check_rows
from transforms.windows import time_spans


@pytest.fixture(scope="module")
def stream(fitted: tuple[Watched, Outcome]) -> Stream:
    """Return the small stream."""
    return load_stream(fitted[0].file)


def batches(stream: Stream, cuts: Sequence[int]) -> list[Batch]:
    """Return the current rows as checked batches, cut at these rows."""
    table = current_rows().to_arrow()
    places = [0, *cuts, table.num_rows]
    raw = [
        Batch(
            table.slice(start, stop - start).append_column(ROW, pa.array(range(start, stop))),
            "current.parquet",
            start,
        )
        for start, stop in itertools.pairwise(places)
    ]
    return [
        check_rows(one, stream.columns, stream.time, stream.key, stream.name).batch for one in raw
    ]


def naive_merge(combine: MergeParts, parts: Sequence[Any]) -> Any:
    """Combine parts one by one in one accumulator."""
    accumulator: Any = None
    for part in parts:
        accumulator = combine.add_input(accumulator, part)
    return combine.extract_output(accumulator)


def tree_merge(combine: MergeParts, parts: Sequence[Any]) -> Any:
    """Combine parts in accumulators of their own, with empty ones among them, merged as a tree."""
    groups = [combine.add_input(None, part) for part in parts]
    while len(groups) > 1:
        pairs = [groups[i : i + 2] for i in range(0, len(groups), 2)]
        groups = [combine.merge_accumulators([None, *p]) for p in pairs]
    return combine.extract_output(groups[0])


@pytest.mark.parametrize("grouping", [naive_merge, tree_merge])
@pytest.mark.parametrize("cuts", [[], [1], [100, 101, 900], [*range(50, 1300, 50)]])
def test_parts_merge_to_the_whole(
    grouping: Any, cuts: list[int], stream: Stream, fitted: tuple[Watched, Outcome]
) -> None:
    """Profiles and summaries of any cut, merged in any grouping, are those of all rows."""
    encoder = load_baseline(fitted[0].baseline).encoder
    whole, parts = batches(stream, [])[0].table, [one.table for one in batches(stream, cuts)]
    merged = grouping(MergeParts(), [profile(encoder, part) for part in parts])
    expected = profile(encoder, whole)
    np.testing.assert_allclose(merged.gram, expected.gram, rtol=1e-9, atol=1e-7)
    np.testing.assert_array_equal(merged.counts, expected.counts)
    summary = grouping(MergeParts(merge), [summarise(part, stream.columns) for part in parts])
    for name, column in summarise(whole, stream.columns).columns.items():
        assert summary.columns[name].rows == column.rows
        assert summary.columns[name].mean == pytest.approx(column.mean, abs=1e-9)
        assert summary.columns[name].std == pytest.approx(column.std, rel=1e-9)
    assert tree_merge(MergeParts(operator.add), [2, 3, 4]) == 9


def test_nothing_merged_is_nothing() -> None:
    """The empty accumulator is no part; empty ones merge to an empty one."""
    combine: Any = MergeParts()
    assert combine.create_accumulator() is None
    assert combine.merge_accumulators([None, None]) is None


def test_blocks_of_batches_are_the_blocks_of_the_whole(
    stream: Stream, fitted: tuple[Watched, Outcome], tmp_path: Path
) -> None:
    """Blocks go by event time, whatever the batches; each row is in one."""
    encoder = load_baseline(fitted[0].baseline).encoder
    merged: dict[str, Blocks] = {}
    file = tmp_path / "encoder.json"
    file.write_text(json.dumps(encoder.to_json()), encoding="utf-8")
    step = ProfileBlocks(file, stream, 7, 1.0, {})
    step.setup()
    for one in batches(stream, [99, 100, 1000]):
        for key, part in step.process(one):
            merged[key] = merged[key] + part if key in merged else part
    table = batches(stream, [])[0].table
    days = time_spans(table["time"], 86_400.0)
    expected = profile_blocks(encoder, table, days)
    assert list(merged) == ["{}"]
    assert merged["{}"].numbers.tolist() == sorted(expected)
    assert len(expected) == 7 * CURRENT_WEEKS
    for day, gram in zip(merged["{}"].numbers, merged["{}"].grams, strict=True):
        np.testing.assert_allclose(gram, expected[day].gram, rtol=1e-9, atol=1e-7)
    summaries = [
        part for one in batches(stream, [99]) for part in SummariseRows(stream).process(one)
    ]
    assert [part.columns["s1"].rows for part in summaries] == [99, CURRENT_WEEKS * HOURS - 99]


def scored(
    stream: Stream, watched: Watched, given: beam.PTransform, out: Path, runner: Any, *options: str
) -> pl.DataFrame:
    """Score what a source gives on a runner, and return the findings."""
    pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(list(options)))
    with pipeline:
        tables = pipeline | given | ScoreWindows(stream, watched.baseline, {})
        _ = tables["findings"] | WriteParts(out)
    return pl.read_parquet(out / "*.parquet").sort("id")


def assert_same(given: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Require the same findings, with statistics equal but for the order of additions."""
    assert expected["alarm"].any()
    assert_frame_equal(given, expected, rel_tol=1e-6, abs_tol=1e-9)


def test_repeated_bundles_repeat_no_finding(
    stream: Stream, finished: tuple[Watched, Outcome], tmp_path: Path
) -> None:
    """A runner that runs every bundle again leaves each finding once, under the same id."""
    expected = open_run(finished[0].run).table("findings").sort("id")
    given = beam.Create(batches(stream, [300, 301, 1000]))
    found = scored(stream, finished[0], given, tmp_path / "f", FnApiRunner(bundle_repeat=2))
    assert_same(found, expected)


#  A week is a window; a batch lies within one, in two pieces each, and the odd week's later piece
#  comes first. The watermark passes a week's end when all of its rows are in.
#
#  event time   |--- week 0 ---|--- week 1 ---|--- week 2 ---| …
#  elements        1      2       2      1       1      2
#  watermark                   ^              ^              ^  : findings of the week that ends
def test_windows_of_a_stream_close_as_the_watermark_passes(
    stream: Stream, finished: tuple[Watched, Outcome], tmp_path: Path
) -> None:
    """Rows that arrive week by week give, on a streaming runner, the findings of the batch run."""
    expected = open_run(finished[0].run).table("findings").sort("id")
    cuts = [week * HOURS + extra for week in range(CURRENT_WEEKS) for extra in (0, 50)][1:]
    pieces = batches(stream, cuts)
    source = test_stream.TestStream()
    for week in range(CURRENT_WEEKS):
        own = pieces[2 * week : 2 * week + 2]
        for one in own if week % 2 == 0 else own[::-1]:
            source.add_elements([TimestampedValue(one, seconds(one.table["time"][0]))])
        source.advance_watermark_to(seconds(own[-1].table["time"][-1]) + 3600)
    source.advance_watermark_to_infinity()
    found = scored(
        stream, finished[0], source, tmp_path / "f", BundleBasedDirectRunner(), "--streaming"
    )
    assert_same(found, expected)


def seconds(stamp: pa.Scalar) -> int:
    """Return a timestamp as seconds since 1970."""
    moment = stamp.as_py()
    assert isinstance(moment, datetime)
    return round(moment.astimezone(UTC).timestamp())
