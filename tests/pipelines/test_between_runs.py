"""What may happen between two runs, or between two looks of one that follows a stream."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl
import pytest

from pipelines import tick as ticks
from pipelines.progress import Progress, intake
from pipelines.run import follow
from pipelines.run_folder import Run, open_run
from pipelines.tick import Job
from schemas.errors import BaselineError, SourceError, TidegaugeError
from schemas.stream_file import load_stream
from tests.small_streams import (
    HOURS,
    MOVED,
    REFERENCE_WEEKS,
    START,
    Outcome,
    Watched,
    current_rows,
    stream_file,
    tidegauge,
)

FIRST = START + timedelta(weeks=REFERENCE_WEEKS)  # of the current rows


@pytest.fixture
def grows(small: Watched) -> Watched:
    """Return the small stream with an empty folder of rows to watch."""
    (small.folder / "rows").mkdir()
    return grown(small)


def grown(watched: Watched, **changes: Any) -> Watched:
    """Let a stream read a folder, and fit its baseline."""
    source = {"path": str(watched.folder / "rows" / "*.parquet")}
    stream_file(watched.folder, **{"source": source, **changes})
    assert tidegauge("fit", watched.file).code == 0
    return watched


def arrive(watched: Watched, first: int, last: int, name: str = "") -> Path:
    """Let hours of the current rows arrive as a new file."""
    path = watched.folder / "rows" / f"{name or f'{first:05}'}.parquet"
    current_rows().slice(first, last - first).write_parquet(path)
    return path


def ran(watched: Watched, *options: str) -> Run:
    """Run, and return the run."""
    done = tidegauge("run", watched.file, *options)
    assert done.code == 0, done.err
    return open_run(watched.run)


def refused(done: Outcome, *words: str) -> None:
    """Say that a command refused, and with which words."""
    assert done.code == 2
    for word in words:
        assert word in done.err
    assert "Traceback" not in done.err


def followed(watched: Watched, between: Callable[[int], None], looks: int = 3) -> list[Run]:
    """Follow a stream for some looks, with something happening after each."""
    stop, told = Event(), list[Run]()
    job = Job(load_stream(watched.file), watched.baseline, watched.run)
    seen = 0

    def wait(_: float) -> bool:
        nonlocal seen
        seen += 1
        if seen == looks:
            stop.set()
        else:
            between(seen)
        return True

    stop.wait = wait  # type: ignore[method-assign,assignment]
    follow(job, 0.0, stop, told.append)
    return told


def test_a_follower_that_fails_leaves_what_it_committed(grows: Watched) -> None:
    """A file that was read changes: a sentence, and the run of before is there."""
    path = arrive(grows, 0, 3 * HOURS)

    def change(_: int) -> None:
        current_rows().head(10).write_parquet(path)

    with pytest.raises(SourceError, match="has changed since it was read"):
        followed(grows, change)
    assert open_run(grows.run).manifest["windows"] == 2


def test_rows_written_while_a_file_is_read_are_not_lost(
    grows: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file counts as it was before: the next run sees that it has changed."""
    path = arrive(grows, 0, 2 * HOURS)
    take_in = ticks._take_in

    def and_then(*args: Any) -> None:
        take_in(*args)
        current_rows().head(4 * HOURS).write_parquet(path)

    with monkeypatch.context() as patch:
        patch.setattr(ticks, "_take_in", and_then)
        assert ran(grows).manifest["rows"]["in"] == 2 * HOURS
    assert ran(grows).manifest["rows"]["in"] == 4 * HOURS


def test_a_baseline_does_not_overtake_windows_that_hold_rows(grows: Watched) -> None:
    """Rows profiled for the old one stay with it: no window is judged on half of its rows."""
    arrive(grows, 0, 3 * HOURS + 84)
    old = ran(grows).manifest["baseline_id"]
    since = FIRST + timedelta(weeks=2)
    current_rows().write_parquet(grows.folder / "reference.parquet")
    assert tidegauge("fit", grows.file, "--since", since.isoformat()).code == 0
    arrive(grows, 3 * HOURS + 84, 5 * HOURS)
    done = tidegauge("run", grows.file)
    assert done.code == 0
    assert "earlier windows hold rows already" in done.err
    run = open_run(grows.run)
    found = run.table("findings").filter(pl.col("monitor") == "feature_shift")
    by = dict(found.sort("window_start").select("window_start", "baseline_id").unique().iter_rows())
    assert [by[FIRST + timedelta(weeks=week)] == old for week in range(5)] == [True] * 4 + [False]
    assert set(found["rows"]) == {HOURS}
    assert tidegauge("run", grows.file).err == ""


def test_a_baseline_replaced_under_a_follower_stops_it(grows: Watched) -> None:
    """Without `--since` it would judge windows whose rows are profiled for another."""
    arrive(grows, 0, 3 * HOURS + 84)

    def refit(_: int) -> None:
        current_rows().write_parquet(grows.folder / "reference.parquet")
        assert tidegauge("fit", grows.file).code == 0
        arrive(grows, 3 * HOURS + 84, 5 * HOURS)

    with pytest.raises(BaselineError, match="was replaced"):
        followed(grows, refit)
    assert open_run(grows.run).manifest["rows"]["in"] == 3 * HOURS + 84


def test_sliding_windows_have_all_their_rows_whatever_baselines_there_are(grows: Watched) -> None:
    """Three baselines within a week: every window is judged by one of them, and whole."""
    grown(grows, window={"length": "7d", "every": "1d"})
    for day in (8, 10):
        since = FIRST + timedelta(days=day)
        extra = current_rows().head(day)
        pl.concat([pl.read_parquet(grows.folder / "reference.parquet"), extra]).write_parquet(
            grows.folder / "reference.parquet"
        )
        assert tidegauge("fit", grows.file, "--since", since.isoformat()).code == 0
    for at in range(0, 3 * HOURS, 24):  # a batch of one day is of fewer baselines than its windows
        arrive(grows, at, at + 24)
    found = ran(grows).table("findings")
    whole = found.filter(
        pl.col("window_start") >= FIRST,
        pl.col("window_end") <= FIRST + timedelta(weeks=3),
    )
    assert set(whole["rows"]) == {HOURS}
    assert whole["baseline_id"].n_unique() == 3
    assert whole["window_start"].n_unique() == 15


@pytest.mark.parametrize(
    "alarms",
    [
        {"control": "fdr", "false": "5 % of alarms"},
        {"control": "e-detector", "false": "1 per 200 windows"},
    ],
    ids=["fdr", "e-detector"],
)
def test_sequential_controls_count_a_window_that_comes_in_scraps(
    grows: Watched, alarms: dict[str, str]
) -> None:
    """Rows twice a day: too few to test at first, but the windows are tested, and may alarm."""
    grown(grows, alarms=alarms)
    for at in range(4 * HOURS, 6 * HOURS, 12):
        arrive(grows, at, at + 12)
        run = ran(grows)
    control = run.manifest["control"]
    assert control.get("tests") == 2 or control["detectors"]
    tested = run.table("findings").filter(status="tested")
    assert tested["window_start"].n_unique() == 2
    assert run.table("sentinels").height == 2
    assert (run.table("findings")["statistic"].is_not_null()).all()


def test_history_whose_files_are_gone_is_not_forgotten(grows: Watched) -> None:
    """A changed budget begins anew, unless what was found could not be found again."""
    first = arrive(grows, 0, 4 * HOURS)
    ran(grows)
    arrive(grows, 4 * HOURS, 6 * HOURS)
    source = {"path": str(grows.folder / "rows" / "*.parquet")}
    stream_file(grows.folder, source=source, alarms={"false": "1 per 100 windows"})
    done = tidegauge("run", grows.file)
    assert done.code == 0
    assert "the stream file has changed since the last run: all files are read anew" in done.err
    assert open_run(grows.run).manifest["windows"] == 6
    first.unlink()
    stream_file(grows.folder, source=source, alarms={"false": "1 per 300 windows"})
    refused(tidegauge("run", grows.file), "is gone", "--anew")
    assert open_run(grows.run).manifest["windows"] == 6
    assert ran(grows, "--anew").manifest["windows"] == 2


def test_settings_that_decide_nothing_may_change(grows: Watched) -> None:
    """How late rows may be, and where records go: the run goes on."""
    arrive(grows, 0, 2 * HOURS)
    ran(grows)
    source = {"path": str(grows.folder / "rows" / "*.parquet")}
    stream_file(grows.folder, source=source, watermark={"allowed_lateness": "30d"})
    assert ran(grows).manifest["ticks"] == 2


def test_a_row_of_the_future_does_not_make_the_others_late(grows: Watched) -> None:
    """In files, where rows have no order: the watermark is never a day ahead of the clock."""
    table = current_rows()
    wrong = table.head(1).with_columns(time=pl.lit(datetime(2099, 1, 1, tzinfo=UTC)))
    pl.concat([table.head(HOURS), wrong.cast(table.schema)]).write_parquet(
        grows.folder / "rows" / "0.parquet"
    )
    ran(grows)
    recent = datetime.now(tz=UTC) - timedelta(days=1)
    shifted = table.head(5).with_columns(
        time=pl.lit(recent).cast(pl.Datetime("us", "UTC")) + pl.duration(hours=pl.int_range(5))
    )
    shifted.write_parquet(grows.folder / "rows" / "1.parquet")
    assert ran(grows).manifest["rows"]["late"] == 0


def test_a_folder_that_was_emptied_is_no_mistake(grows: Watched) -> None:
    """All files were read and taken away; at the very start, there has to be one."""
    refused(tidegauge("run", grows.file), "there is no such file")
    path = arrive(grows, 0, 3 * HOURS)
    ran(grows)
    path.unlink()
    assert ran(grows).manifest["ticks"] == 2


def test_a_reader_of_the_last_manifest_finds_its_parts(grows: Watched) -> None:
    """A commit that puts parts together leaves the old ones for those who are reading."""
    for at in range(0, 9 * 24, 24):
        arrive(grows, at, at + 24)
        before = ran(grows)
        arrive(grows, at + 1000, at + 1024)
        ran(grows)
        assert before.table("summaries").height > 0
        assert before.table("findings").height > 0


def test_a_full_disk_is_one_sentence(grows: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the run of before is whole."""
    arrive(grows, 0, 3 * HOURS)
    manifest = ran(grows).manifest
    arrive(grows, 3 * HOURS, 5 * HOURS)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ticks, "due_spans", full)
        refused(tidegauge("run", grows.file), "No space left on device", "is whole")
    assert open_run(grows.run).manifest == manifest
    assert ran(grows).manifest["windows"] == 5


def test_follow_may_begin_anew_and_has_no_end_to_fail_on(grows: Watched) -> None:
    """`--anew` forgets what was there; `--fail-on-alarm` needs an end."""
    arrive(grows, 0, 3 * HOURS)
    ran(grows)
    job = Job(load_stream(grows.file), grows.baseline, grows.run)
    stop = Event()
    follow(job, 0.0, stop, lambda _: stop.set(), anew=True)
    assert open_run(grows.run).manifest["ticks"] == 1
    refused(tidegauge("run", grows.file, "--follow", "--fail-on-alarm"), "has no end")


def test_progress_of_a_later_version_is_read() -> None:
    """What is not known is left out."""
    told = Progress(rows=3, watermark=7).to_json() | {"later": 1}
    assert Progress.from_json(json.loads(json.dumps(told))) == Progress(rows=3, watermark=7)


def test_a_source_without_new_files_has_no_intake(grows: Watched) -> None:
    """And one with a file has what it was when it was listed."""
    stream = load_stream(grows.file)
    with pytest.raises(TidegaugeError):
        intake(stream, Progress())
    arrive(grows, 0, HOURS)
    new = intake(stream, Progress())
    assert new is not None
    assert not new.empty
    assert intake(stream, new.after([])) is None


def test_alarms_of_the_moved_sensor_survive_it_all(grows: Watched) -> None:
    """Half a week at a time, followed, then run: the shuffled sensor is named."""
    for at in range(0, 8 * HOURS, 84):
        arrive(grows, at, at + 84)
    followed(grows, lambda _: None, looks=2)
    found = ran(grows).table("findings")
    assert set(found.filter("alarm")["subject"]) == {MOVED}
