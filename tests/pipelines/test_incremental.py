"""Run after run over a stream that grows: only what is new is read, and nothing is told twice."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.run_folder import Run, open_run
from tests.small_streams import (
    CURRENT_WEEKS,
    HOURS,
    MOVED,
    REFERENCE_WEEKS,
    SENSORS,
    START,
    Watched,
    current_rows,
    reference_rows,
    sensor_rows,
    stream_file,
    tidegauge,
)
from tests.watching import findings, following, wait_for, windows_are

FIRST = START + timedelta(weeks=REFERENCE_WEEKS)  # of the current rows


@pytest.fixture
def grows(small: Watched) -> Watched:
    """Return the small stream with an empty folder of rows to watch."""
    (small.folder / "rows").mkdir()
    stream_file(small.folder, source={"path": str(small.folder / "rows" / "*.parquet")})
    assert tidegauge("fit", small.file).code == 0
    return small


def arrive(watched: Watched, table: pl.DataFrame, name: str) -> None:
    """Let rows arrive as a new file."""
    table.write_parquet(watched.folder / "rows" / f"{name}.parquet")


def ran(watched: Watched, *options: str | Path) -> Run:
    """Run, and return the run."""
    done = tidegauge("run", watched.file, *options)
    assert done.code == 0, done.err
    return open_run(watched.run)


def weeks(table: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    """Return the rows of some weeks of the current rows."""
    return table.slice(first * HOURS, (last - first) * HOURS)


def same(some: pl.DataFrame, others: pl.DataFrame) -> None:
    """Hold two tables equal, but for rounding."""
    assert_frame_equal(some, others, rel_tol=1e-9, abs_tol=1e-9)


def at_once(watched: Watched, table: pl.DataFrame, folder: Path) -> Run:
    """Return the run over all rows in one file, in a folder of its own."""
    file = folder / "stream.yaml"
    stream = json.loads(watched.file.read_text())
    table.write_parquet(folder / "all.parquet")
    file.write_text(json.dumps(stream | {"source": {"path": str(folder / "all.parquet")}}))
    done = tidegauge("run", file, "--baseline", watched.baseline)
    assert done.code == 0, done.err
    return open_run(folder / "stream.run")


def test_a_stream_in_pieces_is_the_stream_at_once(grows: Watched, tmp_path: Path) -> None:
    """A run a day, of four days at a time: the same findings in the end, and every row once."""
    table = current_rows()
    pieces = [table.slice(at, 96) for at in range(0, table.height, 96)]
    for number, piece in enumerate(pieces):
        arrive(grows, piece, f"{number:03}")
        run = ran(grows)
        assert run.manifest["rows"]["in"] == sum(p.height for p in pieces[: number + 1])
    assert run.manifest["ticks"] == len(pieces)
    assert run.manifest["windows"] == CURRENT_WEEKS
    whole = at_once(grows, table, tmp_path)
    same(findings(run), findings(whole))
    same(run.table("episodes"), whole.table("episodes"))
    assert run.table("summaries")["rows"].to_list() == [HOURS] * CURRENT_WEEKS * len(SENSORS)


def test_nothing_new_changes_nothing(grows: Watched) -> None:
    """A second run over the same files reads none of them."""
    arrive(grows, current_rows(), "all")
    first = ran(grows)
    second = ran(grows)
    assert second.manifest["ticks"] == 2
    for name in ("rows", "windows", "files", "state", "watermark"):
        assert second.manifest[name] == first.manifest[name]


def test_late_rows_revise_a_finding(grows: Watched, tmp_path: Path) -> None:
    """Rows that come a week after their window was judged: the same ids, told anew."""
    table = current_rows()
    late = pl.int_range(pl.len()).is_between(10, 40)
    arrive(grows, weeks(table, 0, 1).filter(~late), "0")
    arrive(grows, weeks(table, 1, 2), "1")
    early = ran(grows)
    arrive(grows, weeks(table, 0, 1).filter(late), "2")
    run = ran(grows)
    same(findings(run), findings(at_once(grows, weeks(table, 0, 2), tmp_path)))
    revised = run.table("findings").filter(pl.col("window_start") == FIRST)
    assert set(revised["revision"]) == {1}
    assert set(revised["id"]) <= set(early.table("findings")["id"])
    assert set(run.table("findings").filter(pl.col("window_start") > FIRST)["revision"]) == {0}
    assert run.manifest["windows"] == 2
    assert set(run.table("summaries")["rows"]) == {HOURS}


def test_rows_that_come_too_late_are_rejected(grows: Watched) -> None:
    """A window is final one length after its end: its rows are then counted as late, not used."""
    table = current_rows()
    arrive(grows, weeks(table, 0, 1).head(100), "0")
    arrive(grows, weeks(table, 1, 4), "1")
    first = ran(grows)
    arrive(grows, weeks(table, 0, 1).tail(68), "2")
    arrive(grows, weeks(table, 3, 4).tail(5).with_columns(s1=pl.lit(None, pl.Float64)), "3")
    run = ran(grows)
    assert run.manifest["rows"] == {"in": 677, "used": 609, "rejected": 0, "late": 68}
    rejects = run.table("rejects")
    assert set(rejects["reason"]) == {"late"}
    assert rejects.height == 68
    assert json.loads(rejects["raw"][0])["time"].startswith("2024-08-05")
    old = findings(first).filter(pl.col("window_start") == FIRST)
    same(findings(run).filter(pl.col("window_start") == FIRST), old)


def test_a_changed_file_begins_the_run_anew(grows: Watched, tmp_path: Path) -> None:
    """What was read of it is no more: everything is read again, and counted once."""
    table = current_rows()
    arrive(grows, weeks(table, 0, 2), "0")
    ran(grows)
    arrive(grows, weeks(table, 2, 4), "0")
    run = ran(grows)
    assert run.manifest["ticks"] == 1
    assert run.manifest["rows"]["in"] == 2 * HOURS
    assert_frame_equal(findings(run), findings(at_once(grows, weeks(table, 2, 4), tmp_path)))


def test_files_that_are_gone_do_not_matter(grows: Watched, tmp_path: Path) -> None:
    """Old files may be removed once they were read."""
    table = current_rows()
    arrive(grows, weeks(table, 0, 2), "0")
    ran(grows)
    (grows.folder / "rows" / "0.parquet").unlink()
    arrive(grows, weeks(table, 2, 4), "1")
    run = ran(grows)
    assert_frame_equal(findings(run), findings(at_once(grows, weeks(table, 0, 4), tmp_path)))


@pytest.mark.parametrize(
    "changes",
    [
        {"window": {"length": "7d", "every": "1d"}},
        {"window": {"rows": 150}, "time": None, "alarms": {"false": "1 per 200 windows"}},
        {"alarms": {"control": "fdr", "false": "5 % of alarms"}},
        {"alarms": {"control": "e-detector", "false": "1 per 200 windows"}},
        {"key": ["site"]},
    ],
    ids=["sliding", "rows", "fdr", "e-detector", "keys"],
)
def test_every_kind_of_stream_may_come_in_pieces(
    grows: Watched, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Whole weeks at a time: sliding windows, windows of rows, sequential controls, keys."""
    table = current_rows()
    if "key" in changes:
        table = both_sites(table, CURRENT_WEEKS, REFERENCE_WEEKS)
        both_sites(reference_rows(), REFERENCE_WEEKS, 0).write_parquet(
            grows.folder / "reference.parquet"
        )
    source = {"path": str(grows.folder / "rows" / "*.parquet")}
    stream_file(grows.folder, **{"source": source, **changes})
    assert tidegauge("fit", grows.file).code == 0
    per_week = table.height // CURRENT_WEEKS
    for number, at in enumerate(range(0, table.height, 2 * per_week)):
        arrive(grows, table.slice(at, 2 * per_week), str(number))
        run = ran(grows)
    whole = at_once(grows, table, tmp_path)
    assert run.manifest["windows"] == whole.manifest["windows"]
    assert run.manifest["rows"] == whole.manifest["rows"]
    same(findings(run), findings(whole))
    assert MOVED in set(run.table("findings").filter("alarm")["subject"])


def both_sites(table: pl.DataFrame, weeks: int, first_week: int) -> pl.DataFrame:
    """Return the rows of two sites, hour by hour; the second has a series of its own."""
    other = sensor_rows(weeks, first_week=first_week, seed=2)
    both = [table.with_columns(site=pl.lit("north")), other.with_columns(site=pl.lit("south"))]
    return pl.concat(both).sort("time", "site")


def test_late_rows_of_one_key_revise_the_test_of_all_keys(grows: Watched, tmp_path: Path) -> None:
    """The other keys' rows are there again, so that `*` is what it would be at once."""
    table = both_sites(current_rows(), CURRENT_WEEKS, REFERENCE_WEEKS).head(4 * HOURS)
    both_sites(reference_rows(), REFERENCE_WEEKS, 0).write_parquet(
        grows.folder / "reference.parquet"
    )
    source = {"path": str(grows.folder / "rows" / "*.parquet")}
    stream_file(grows.folder, source=source, key=["site"])
    assert tidegauge("fit", grows.file).code == 0
    late = (pl.col("site") == "north") & pl.int_range(pl.len()).is_between(20, 60)
    arrive(grows, table.filter(~late), "0")
    ran(grows)
    arrive(grows, table.filter(late), "1")
    run = ran(grows)
    same(findings(run), findings(at_once(grows, table, tmp_path)))
    again = run.table("findings").filter(revision=1, window_start=FIRST)
    assert set(again["key"]) == {'{"site": "north"}', "*"}


def test_small_parts_are_put_together(grows: Watched) -> None:
    """However many runs there were, a table has few parts, and its rows are as they were."""
    table = current_rows()
    before, listed = set[str](), set[str]()
    for at in range(0, table.height, 48):
        arrive(grows, table.slice(at, 48), f"{at:05}")
        run = ran(grows)
        before, listed = listed, run.listed
    assert run.manifest["ticks"] == 28
    assert max(len(files) for files in run.manifest["files"].values()) < 16
    assert len(run.manifest["state"]["spans"]) <= 16
    assert run.table("findings").height == CURRENT_WEEKS * len(SENSORS)
    there = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*.parquet")}
    assert there - listed == before - listed  # those are there for who reads the last one


class DiesError(BaseException):
    """Stands for the end of the process."""


def dying(real: Callable[..., Any], after: int) -> Callable[..., Any]:
    """Return a function that ends the process at its n-th call."""
    left = after

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        if not left:
            raise DiesError
        left -= 1
        return real(*args, **kwargs)

    return call


def test_a_run_that_dies_anywhere_leaves_the_old_one(grows: Watched, tmp_path: Path) -> None:
    """Whichever file it was about to put in its place: the old run stays, the next is whole."""
    table = current_rows()
    arrive(grows, weeks(table, 0, 4), "0")
    old = ran(grows)
    arrive(grows, weeks(table, 4, 8), "1")
    whole = at_once(grows, table, tmp_path)
    manifest = (grows.run / "run.json").read_bytes()
    deaths = 0
    for after in range(40):
        with patch.object(Path, "replace", dying(Path.replace, after)):
            try:
                tidegauge("run", grows.file)
            except (DiesError, RuntimeError):  # a runner hides what a step died of
                deaths += 1
            else:
                break
        assert (grows.run / "run.json").read_bytes() == manifest
        same(findings(open_run(grows.run)), findings(old))
    assert deaths > 8
    assert_frame_equal(findings(open_run(grows.run)), findings(whole))
    same(findings(ran(grows)), findings(whole))


def test_a_new_baseline_takes_over_at_its_time(grows: Watched) -> None:
    """`fit --since` while the stream runs: windows before are judged by the old one."""
    table = current_rows()
    arrive(grows, weeks(table, 0, 3), "0")
    old = ran(grows).manifest["baseline_id"]
    since = FIRST + timedelta(weeks=4)
    source = sensor_rows(REFERENCE_WEEKS + 4)
    source.write_parquet(grows.folder / "reference.parquet")
    said = tidegauge("fit", grows.file, "--since", since.isoformat())
    assert said.code == 0, said.err
    arrive(grows, weeks(table, 3, 8), "1")
    run = ran(grows)
    assert run.manifest["ticks"] == 2
    by = run.table("findings").group_by("window_start").agg(pl.col("baseline_id").unique())
    found = dict(by.sort("window_start").iter_rows())
    new = run.manifest["baseline_id"]
    assert new != old
    assert [found[FIRST + timedelta(weeks=k)] for k in range(8)] == [[old]] * 4 + [[new]] * 4


def test_follow_judges_windows_when_the_watermark_has_passed_them(
    grows: Watched, tmp_path: Path
) -> None:
    """Rows come while it runs; the last window waits for its end; SIGTERM ends it cleanly."""
    table = current_rows()
    arrive(grows, weeks(table, 0, 3), "0")
    process = following(grows)
    try:
        wait_for(grows, windows_are(2), process)
        arrive(grows, weeks(table, 3, 8), "1")
        run = wait_for(grows, windows_are(7), process)
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "rows: 1,344 in = 1,344 used + 0 rejected + 0 late" in out
    assert MOVED in out
    complete = findings(at_once(grows, table, tmp_path)).filter(
        pl.col("window_end") <= FIRST + timedelta(weeks=7)
    )
    same(findings(run), complete)


def test_killed_again_and_again_it_loses_nothing(grows: Watched, tmp_path: Path) -> None:
    """SIGKILL at any moment, while rows come: in the end all is as if nothing had happened."""
    table, rng = current_rows(), np.random.default_rng(5)
    arrived = 0
    for number in range(5):
        process = following(grows)
        for _ in range(3):
            arrive(grows, table.slice(arrived, 80), f"{arrived:05}")
            arrived += 80
            time.sleep(float(rng.uniform(0.3, 1.2)))
        if number:  # the first goes before it has begun, others in the middle of what they do
            time.sleep(float(rng.uniform(1.0, 3.0)))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    arrive(grows, table.slice(arrived), "rest")
    run = ran(grows)
    assert run.manifest["rows"] == {"in": 1344, "used": 1344, "rejected": 0, "late": 0}
    same(findings(run), findings(at_once(grows, table, tmp_path)))


def test_two_runs_at_once_are_refused(grows: Watched) -> None:
    """A run beside one that follows is told so, and changes nothing."""
    arrive(grows, weeks(current_rows(), 0, 3), "0")
    process = following(grows)
    try:
        wait_for(grows, windows_are(2), process)
        before = (grows.run / "run.json").read_bytes()
        second = tidegauge("run", grows.file)
    finally:
        process.kill()
        process.communicate()
    assert second.code == 2
    assert "another run is writing this folder" in second.err
    assert (grows.run / "run.json").read_bytes() == before
