"""The same rows give the same findings, however they are cut, ordered, written or repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.run_folder import open_run
from tests.small_streams import (
    CURRENT_WEEKS,
    HOURS,
    MOVED,
    REFERENCE_WEEKS,
    Watched,
    current_rows,
    reference_rows,
    sensor_rows,
    stream_file,
    tidegauge,
)

EXACT = ["id", "stream", "key", "window_start", "window_end", "window_index", "monitor", "method"]
EXACT += ["subject", "status", "alarm", "rank", "rows", "baseline_id", "revision"]
CLOSE = ["statistic", "threshold", "p_value", "effect"]


def assert_same_findings(given: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Require equal ids and alarms, and statistics equal but for the order of additions."""
    assert expected["alarm"].any()
    given, expected = given.sort("id"), expected.sort("id")
    assert_frame_equal(given.select(EXACT), expected.select(EXACT))
    assert_frame_equal(given.select(CLOSE), expected.select(CLOSE), rel_tol=1e-6, abs_tol=1e-9)


def in_files(table: pl.DataFrame, folder: Path, count: int) -> str:
    """Write consecutive rows into so many files, and return their glob."""
    folder.mkdir()
    size = -(-table.height // count)
    for number in range(count):
        table[number * size : (number + 1) * size].write_parquet(folder / f"{number:02}.parquet")
    return str(folder / "*.parquet")


def shuffled_in_files(table: pl.DataFrame, folder: Path) -> str:
    """Write rows in no order into seven files, and return their glob."""
    return in_files(table.sample(fraction=1.0, shuffle=True, seed=5), folder, 7)


def csv(table: pl.DataFrame, folder: Path) -> str:
    """Write a CSV file."""
    folder.mkdir()
    table.write_csv(folder / "rows.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    return str(folder / "rows.csv")


def jsonl(table: pl.DataFrame, folder: Path) -> str:
    """Write JSON Lines."""
    folder.mkdir()
    times = pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    table.with_columns(times).write_ndjson(folder / "rows.jsonl")
    return str(folder / "rows.jsonl")


def arrow(table: pl.DataFrame, folder: Path) -> str:
    """Write an Arrow file."""
    folder.mkdir()
    table.write_ipc(folder / "rows.arrow")
    return str(folder / "rows.arrow")


def change(file: Path, **changes: Any) -> None:
    """Change keys of a stream file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def findings_of(watched: Watched) -> pl.DataFrame:
    """Run the stream and return its findings."""
    done = tidegauge("run", watched.file)
    assert done.code == 0, done.err
    return open_run(watched.run).table("findings")


def fitted_stream(folder: Path, **changes: Any) -> Watched:
    """Fit a stream on the files in a folder."""
    done = tidegauge("fit", stream_file(folder, **changes))
    assert done.code == 0, done.err
    return Watched(folder)


WRITERS: dict[str, Callable[[pl.DataFrame, Path], str]] = {
    "twenty files": lambda table, folder: in_files(table, folder, 20),
    "shuffled over files": shuffled_in_files,
    "CSV": csv,
    "JSON Lines": jsonl,
    "Arrow": arrow,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_findings_do_not_depend_on_how_rows_are_written(
    write: Callable[[pl.DataFrame, Path], str], small: Watched, finished: tuple[Watched, Any]
) -> None:
    """The ids of all findings are those of one Parquet file; so are statistics, alarms, windows."""
    expected = open_run(finished[0].run)
    change(small.file, source={"path": write(current_rows(), small.folder / "rows")})
    assert_same_findings(findings_of(small), expected.table("findings"))
    run = open_run(small.run)
    assert run.manifest["rows"] == expected.manifest["rows"]
    assert run.manifest["windows"] == expected.manifest["windows"]
    by_time = [
        table.sort("valid_time") for table in (run.table("forecasts"), expected.table("forecasts"))
    ]
    assert_frame_equal(
        *(table.select("quantiles", "lower", "upper", "outcome") for table in by_time)
    )
    of = ["window_start", "column"]
    assert_frame_equal(
        run.table("summaries").sort(of), expected.table("summaries").sort(of), rel_tol=1e-9
    )


def test_baseline_does_not_depend_on_the_cut_and_order_of_the_reference(
    tmp_path: Path, finished: tuple[Watched, Any]
) -> None:
    """A reference in shuffled files gives a baseline that finds the same, whatever its id."""
    current_rows().write_parquet(tmp_path / "current.parquet")
    path = shuffled_in_files(reference_rows(), tmp_path / "rows")
    stream = json.loads(finished[0].file.read_text())
    watched = fitted_stream(tmp_path, reference={"path": path}, forecasts=stream["forecasts"])
    given = findings_of(watched)
    expected = open_run(finished[0].run).table("findings")
    same = [name for name in EXACT if name != "baseline_id"]
    given, expected = given.sort("id"), expected.sort("id")
    assert_frame_equal(given.select(same), expected.select(same))
    assert_frame_equal(given.select(CLOSE), expected.select(CLOSE), rel_tol=1e-6, abs_tol=1e-9)


def test_windows_of_rows_go_on_over_the_borders_of_files(tmp_path: Path) -> None:
    """Windows counted in rows are the same in one file and in files cut anywhere, in order."""
    reference_rows().write_parquet(tmp_path / "reference.parquet")
    current_rows().write_parquet(tmp_path / "current.parquet")
    rows = {"window": {"rows": 150}, "time": None}
    watched = fitted_stream(tmp_path, **rows)
    one = findings_of(watched)
    assert one["window_index"].unique().sort().to_list() == list(range(9))
    assert one["window_start"].null_count() == one.height
    assert set(one.filter(pl.col("alarm"))["subject"]) == {MOVED}
    change(watched.file, source={"path": in_files(current_rows(), tmp_path / "rows", 11)})
    assert_same_findings(findings_of(watched), one)


def test_windows_of_rows_count_rejected_rows_in_their_place(tmp_path: Path) -> None:
    """A rejected row keeps its place, so that the windows behind it do not shift."""
    reference_rows().write_parquet(tmp_path / "reference.parquet")
    bad = pl.int_range(pl.len()).is_in([3, 151, 152])
    table = current_rows().with_columns(s1=pl.when(bad).then(float("inf")).otherwise("s1"))
    table.write_parquet(tmp_path / "current.parquet")
    watched = fitted_stream(tmp_path, window={"rows": 150}, time=None)
    findings_of(watched)
    run = open_run(watched.run)
    rows = run.table("summaries").filter(column="s2").sort("window_index")["rows"]
    assert rows.to_list() == [149, 148, *[150] * 6, CURRENT_WEEKS * HOURS - 8 * 150]
    assert run.manifest["rows"]["rejected"] == 3


def keyed(table: pl.DataFrame, weeks: int, first_week: int) -> pl.DataFrame:
    """Return the rows of two sites, hour by hour; the second has a series of its own."""
    other = sensor_rows(weeks, first_week=first_week, seed=2)
    both = [table.with_columns(site=pl.lit("north")), other.with_columns(site=pl.lit('sø"uth'))]
    return pl.concat(both).sort("time", "site")


def test_keys_have_windows_and_references_of_their_own(tmp_path: Path) -> None:
    """Two keys: only that with the shuffled sensor alarms; the cut into files changes nothing."""
    keyed(reference_rows(), REFERENCE_WEEKS, 0).write_parquet(tmp_path / "reference.parquet")
    current = keyed(current_rows(), CURRENT_WEEKS, REFERENCE_WEEKS)
    current.write_parquet(tmp_path / "current.parquet")
    watched = fitted_stream(tmp_path, key=["site"])
    one = findings_of(watched)
    keys = {'{"site": "north"}', '{"site": "sø\\"uth"}'}
    assert set(one["key"]) == keys | {"*"}
    assert one["id"].n_unique() == one.height
    assert one.filter(pl.col("alarm")).select("key", "subject").rows() == [
        ('{"site": "north"}', MOVED),
        ("*", MOVED),
    ]
    assert set(one.filter(pl.col("key") != "*")["rows"]) == {HOURS}
    change(watched.file, source={"path": shuffled_in_files(current, tmp_path / "rows")})
    assert_same_findings(findings_of(watched), one)


def test_key_without_a_reference_is_not_tested(tmp_path: Path) -> None:
    """A key that the reference never had is not tested, and says so; the others are."""
    reference_rows().with_columns(site=pl.lit("north")).write_parquet(
        tmp_path / "reference.parquet"
    )
    current = keyed(current_rows(), CURRENT_WEEKS, REFERENCE_WEEKS)
    current.write_parquet(tmp_path / "current.parquet")
    watched = fitted_stream(tmp_path, key=["site"])
    done = tidegauge("run", watched.file)
    assert done.code == 0
    findings = open_run(watched.run).table("findings")
    unknown = findings.filter(pl.col("key") != '{"site": "north"}')
    assert set(unknown["status"]) == {"not_tested"}
    (why,) = set(unknown["explanation"])
    assert why.startswith("not tested: the reference has no rows of this key, or too few")
    assert set(findings.filter(key='{"site": "north"}')["status"]) == {"tested"}
    assert f"{CURRENT_WEEKS} windows were not tested: the reference has no rows" in done.err


def test_sliding_windows_overlap(tmp_path: Path) -> None:
    """Windows of a week every day: each row is in seven, in any cut into files."""
    reference_rows().write_parquet(tmp_path / "reference.parquet")
    current_rows().write_parquet(tmp_path / "current.parquet")
    watched = fitted_stream(tmp_path, window={"length": "7d", "every": "1d"})
    one = findings_of(watched)
    spans = one.select("window_start", "window_end").unique().sort("window_start")
    assert spans.height == (CURRENT_WEEKS + 1) * 7 - 1
    assert (spans["window_end"] - spans["window_start"]).unique().dt.total_days().to_list() == [7]
    full = one.filter(subject=MOVED)["rows"].value_counts().rows()
    assert dict(full)[HOURS] == (CURRENT_WEEKS - 1) * 7 + 1
    alarmed = one.filter(pl.col("alarm"))["subject"]
    assert set(alarmed) == {MOVED}
    change(watched.file, source={"path": shuffled_in_files(current_rows(), tmp_path / "rows")})
    assert_same_findings(findings_of(watched), one)


def test_windows_before_1970_are_aligned_to_the_epoch_too(small: Watched) -> None:
    """Rows of 1960 fall into whole weeks that begin on a Thursday, as all others."""
    shift = pl.duration(weeks=64 * 365 // 7)
    current_rows().with_columns(pl.col("time") - shift).write_parquet(small.current)
    findings = findings_of(small)
    starts = findings["window_start"].unique().sort()
    assert len(starts) == CURRENT_WEEKS
    assert set(starts.dt.weekday()) == {4}
    assert np.all(np.diff(starts.dt.epoch("s").to_numpy()) == 7 * 86_400)
    assert set(findings.filter(pl.col("alarm"))["subject"]) == {MOVED}
