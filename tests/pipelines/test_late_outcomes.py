"""Outcomes in files of their own, intervals that follow them, and new baselines on alarms."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from monitors.baseline_folder import Version, read_versions
from monitors.beam.score import ScoreWindows
from monitors.beam.verify import AWAIT, STATES
from monitors.verification import AWAITING, CALIBRATORS
from pipelines.late_outcomes import NO_COUNTS, SETTLED, baselines_over, settle
from pipelines.run import follow
from pipelines.run_folder import Run, open_run
from pipelines.sinks import write_part
from pipelines.tick import Job
from pipelines.window_state import Clock
from schemas.errors import StreamFileError
from schemas.stream_file import load_stream
from tests.pipelines.test_incremental import DiesError, dying
from tests.small_streams import Outcome, Watched, tidegauge
from tests.watching import findings

START = datetime(2024, 5, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
REFERENCE_DAYS, DAYS = 40, 16
DELAY = timedelta(hours=30)
SITES = ("north", "south")
MODELS = ["location_scale"]


def rows_of(first_day: int, days: int, seed: int) -> pl.DataFrame:
    """Return hourly rows of two sites: y is twice x, with noise that is larger in the south."""
    rng = np.random.default_rng([seed, first_day])
    n = 24 * days
    times = [START + DAY * first_day + HOUR * hour for hour in range(n)]
    tables = []
    for site, noise in zip(SITES, (0.5, 1.5), strict=True):
        x = rng.normal(size=n)
        y = 2 * x + noise * rng.normal(size=n)
        tables.append(pl.DataFrame({"time": times, "site": site, "x": x, "y": y}))
    return (
        pl.concat(tables)
        .with_columns(pl.col("time").cast(pl.Datetime("us", "UTC")))
        .sort("time", "site")
    )


REFERENCE, CURRENT = rows_of(0, REFERENCE_DAYS, 1), rows_of(REFERENCE_DAYS, DAYS, 1)
FIRST = START + DAY * REFERENCE_DAYS  # of the current rows
ALL = FIRST + DAY * (DAYS + 30)


def outcomes_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return when each outcome became known: the same day, some never, some twice or revised."""
    number = pl.int_range(pl.len())
    known = rows.select("time", "site", "y", known=pl.col("time") + DELAY)
    again = known.gather_every(11).with_columns(known=pl.col("known") + 3 * HOUR)
    revised = known.gather_every(7, 3).with_columns(
        y=pl.col("y") + 4, known=pl.col("known") + 5 * HOUR
    )
    strange = known.gather_every(60).with_columns(site=pl.lit("west"))
    too_late = known.gather_every(90).with_columns(known=pl.col("time") + 9 * DAY)
    never = known.with_columns(y=pl.when(number % 13 > 0).then("y"))
    return pl.concat([never, again, revised, strange, too_late])


def written(folder: Path, **changes: Any) -> Watched:
    """Write the stream file."""
    stream: dict[str, Any] = {
        "tidegauge": 1,
        "name": "late",
        "source": {"path": str(folder / "rows" / "*.parquet")},
        "reference": {"path": str(folder / "reference.parquet")},
        "time": {"column": "time"},
        "key": ["site"],
        "columns": {"x": {"type": "number"}, "y": {"type": "number", "role": "target"}},
        "window": {"length": "1d"},
        "watermark": {"allowed_lateness": "4d"},
        "forecasts": [{"target": "y", "calibration": "online", "models": MODELS}],
        "outcomes": {
            "path": str(folder / "outcomes" / "*.parquet"),
            "known_at": "known",
            "within": "7d",
        },
        "monitors": {"expectations": False, "feature_shift": False},
        "alarms": {"false": "1 per 50 windows"},
        **changes,
    }
    kept = {name: value for name, value in stream.items() if value is not None}
    (folder / "stream.yaml").write_text(json.dumps(kept))
    return Watched(folder)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Return the stream with its baseline; nobody writes there."""
    folder = tmp_path_factory.mktemp("late")
    REFERENCE.write_parquet(folder / "reference.parquet")
    watched = written(folder)
    for name in ("rows", "outcomes"):
        (folder / name).mkdir()
    said = tidegauge("fit", watched.file)
    assert said.code == 0, said.err
    return watched


@pytest.fixture
def late(fitted: Watched, tmp_path: Path) -> Watched:
    """Return a copy of the stream."""
    folder = tmp_path / "stream"
    shutil.copytree(fitted.folder, folder)
    return written(folder)


def arrive(watched: Watched, first: datetime, last: datetime, rows: pl.DataFrame = CURRENT) -> None:
    """Let the rows and the outcomes of some time arrive, in files of their own."""
    name = f"{first:%m%dT%H%M}.parquet"
    came = {
        "rows": rows.filter(pl.col("time") >= first, pl.col("time") < last).with_columns(
            y=pl.lit(None, pl.Float64)
        ),
        "outcomes": outcomes_of(rows).filter(pl.col("known") >= first, pl.col("known") < last),
    }
    for folder, table in came.items():
        if table.height:
            table.write_parquet(watched.folder / folder / name)


def ran(watched: Watched, *options: str) -> Run:
    """Run, and return the run."""
    done = tidegauge("run", watched.file, *options)
    assert done.code == 0, done.err
    return open_run(watched.run)


def in_pieces(watched: Watched, step: timedelta) -> Run:
    """Run whenever some hours of rows and outcomes have come."""
    at = FIRST
    while at < FIRST + DAY * (DAYS + 10):
        arrive(watched, at, at + step)
        run = ran(watched)
        at += step
    return run


def told(run: Run, name: str) -> pl.DataFrame:
    """Return a table, without where its rows were read."""
    order = ["key", "valid_time", *(["known_at"] if name == "outcomes" else [])]
    return run.table(name).drop("path", "row").sort(order)


def same_runs(some: Run, other: Run) -> None:
    """Hold two runs equal in all that they say of forecasts."""
    for name in ("forecasts", "outcomes"):
        assert_frame_equal(told(some, name), told(other, name), check_exact=True)
    assert_frame_equal(findings(some), findings(other), rel_tol=1e-9, abs_tol=1e-9)
    rejects = [run.table("rejects").select("reason", "raw").sort("raw") for run in (some, other)]
    assert_frame_equal(*rejects)
    assert some.manifest["outcomes"] == other.manifest["outcomes"]
    states = [pl.read_parquet(run.state("calibrators")) for run in (some, other)]
    assert_frame_equal(*states)


@pytest.fixture(scope="module")
def at_once(fitted: Watched, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the run over all rows and outcomes at once; nobody writes there."""
    folder = tmp_path_factory.mktemp("at-once") / "stream"
    shutil.copytree(fitted.folder, folder)
    watched = written(folder)
    arrive(watched, FIRST, ALL)
    return ran(watched)


@pytest.mark.slow
def test_outcomes_in_pieces_are_outcomes_at_once(late: Watched, at_once: Run) -> None:
    """Every few days, or at once: bit-equal intervals and states, the same findings and counts."""
    run = in_pieces(late, 131 * HOUR)
    assert run.manifest["ticks"] > 3
    same_runs(run, at_once)


def test_every_outcome_is_accounted_for(at_once: Run) -> None:
    """Used, repeated, revised, null, without forecast, too late: each is counted, none is lost."""
    counts = at_once.manifest["outcomes"]
    values = ("used", "repeated", "unmatched", "waiting", "null")
    assert counts["rows"] == outcomes_of(CURRENT).height
    assert counts["rows"] == counts["rejected"] + sum(counts[name] for name in values)  # type: ignore[literal-required]
    outcomes = at_once.table("outcomes")
    assert counts["used"] == outcomes.height
    assert counts["rejected"] == len(range(0, CURRENT.height, 90))
    assert counts["repeated"] > 0
    assert counts["null"] == len(range(0, CURRENT.height, 13))
    reasons = at_once.table("rejects").group_by("reason").len().rows()
    assert dict(reasons) == {"late_outcome": counts["rejected"], "no_forecast": counts["unmatched"]}
    assert counts["waiting"] == 13 - counts["unmatched"]
    assert outcomes["revision"].max() == 1
    assert at_once.table("forecasts")["outcome"].null_count() == CURRENT.height


def test_late_outcomes_are_judged_as_if_they_were_in_time(late: Watched) -> None:
    """A window is judged without outcomes first, and again with them."""
    arrive(late, FIRST, FIRST + DAY)
    early = ran(late).table("findings").filter(monitor="coverage")
    assert set(early["status"]) == {"not_tested"}
    assert "(24 have none yet)" in early["explanation"][0]
    arrive(late, FIRST + DAY, FIRST + 3 * DAY)
    run = ran(late)
    found = run.table("findings").filter(monitor="coverage", window_start=FIRST)
    assert found.select("status", "revision").unique().rows() == [("tested", 1)]
    assert set(found["id"]) == set(early["id"])
    known = run.table("outcomes").filter(pl.col("valid_time") < FIRST + DAY)
    last = known.sort("revision").unique(["key", "valid_time"], keep="last")
    inside = (last["outcome"] >= last["lower"]) & (last["outcome"] <= last["upper"])
    assert found["rows"].sum() == last.height
    for key, rows in last.with_columns(inside=inside).group_by("key"):
        said = found.filter(key=key[0])["explanation"].item()
        assert f"({rows['inside'].sum()} of {rows.height};" in said


def test_outcomes_of_final_windows_are_told_not_judged(late: Watched) -> None:
    """They feed the calibrators and the table of outcomes; a note says what no monitor sees."""
    written(late.folder, watermark={"allowed_lateness": "1h"})
    arrive(late, FIRST, FIRST + 4 * DAY)
    for file in (late.folder / "outcomes").iterdir():
        file.rename(late.folder / file.name)
    first = ran(late)
    for file in late.folder.glob("0*.parquet"):
        file.rename(late.folder / "outcomes" / file.name)
    done = tidegauge("run", late.file)
    run = open_run(late.run)
    assert run.manifest["outcomes"]["after_final"] > 0
    assert "no monitor sees them" in done.err
    final = pl.col("window_end") < FIRST + 3 * DAY
    assert_frame_equal(findings(run).filter(final), findings(first).filter(final))


def test_online_intervals_need_no_outcome_files(
    fitted: Watched, late: Watched, at_once: Run
) -> None:
    """Outcomes in the rows: cut anywhere, the intervals are bit-equal, and nothing awaits."""
    written(late.folder, outcomes=None)
    whole = late.folder.parent / "whole"
    shutil.copytree(fitted.folder, whole)
    written(whole, outcomes=None)
    CURRENT.write_parquet(whole / "rows" / "all.parquet")
    for at in range(0, CURRENT.height, 311):  # between the rows of one time, too
        CURRENT.slice(at, 311).write_parquet(late.folder / "rows" / f"{at:05}.parquet")
        run = ran(late)
    other = ran(Watched(whole))
    assert_frame_equal(told(run, "forecasts"), told(other, "forecasts"), check_exact=True)
    assert_frame_equal(findings(run), findings(other), rel_tol=1e-9, abs_tol=1e-9)
    assert pl.read_parquet(run.state("awaiting")).height == len(SITES)  # of the last hour
    assert run.table("forecasts")["calibration"].unique().to_list() == ["online 0.9"]
    assert not told(run, "forecasts")["lower"].equals(told(at_once, "forecasts")["lower"])


@pytest.mark.slow
def test_a_run_that_dies_anywhere_loses_no_outcome(late: Watched, at_once: Run) -> None:
    """Whichever file it was about to put in its place: the old run stays, the next is whole."""
    arrive(late, FIRST, FIRST + 5 * DAY)
    ran(late)
    arrive(late, FIRST + 5 * DAY, ALL)
    manifest = (late.run / "run.json").read_bytes()
    deaths = 0
    for after in (2, 9, 16, 60):
        with patch.object(Path, "replace", dying(Path.replace, after)):
            try:
                tidegauge("run", late.file)
            except (DiesError, RuntimeError):  # a runner hides what a step died of
                deaths += 1
                assert (late.run / "run.json").read_bytes() == manifest
            else:
                break
    assert deaths > 1
    same_runs(open_run(late.run), at_once)


def moved(day: int) -> pl.DataFrame:
    """Return the current rows, with a y that is higher from a day on."""
    lift = pl.when(pl.col("time") >= FIRST + DAY * day).then(5.0).otherwise(0.0)
    return CURRENT.with_columns(y=pl.col("y") + lift)


REFIT = {"when": ["coverage"], "windows": 2, "on": "10d"}


IN_ROWS: dict[str, Any] = {"outcomes": None, "forecasts": [{"target": "y", "models": MODELS}]}


@pytest.fixture(scope="module")
def fixed(fitted: Watched, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Return a stream whose outcomes come with their rows, with its baseline."""
    folder = tmp_path_factory.mktemp("fixed") / "stream"
    shutil.copytree(fitted.folder, folder)
    watched = written(folder, **IN_ROWS)
    assert tidegauge("fit", watched.file).code == 0
    return watched


def refitting(fixed: Watched, folder: Path, rule: dict[str, Any]) -> Watched:
    """Return a copy of it that fits new baselines."""
    shutil.copytree(fixed.folder, folder / "stream")
    return written(folder / "stream", **IN_ROWS, refit=rule)


def come(watched: Watched, first: int, last: int) -> Outcome:
    """Let some days of the rows that move come, and run."""
    new = moved(8).filter(
        pl.col("time") >= FIRST + DAY * first, pl.col("time") < FIRST + DAY * last
    )
    new.write_parquet(watched.folder / "rows" / f"{first:03}.parquet")
    return tidegauge("run", watched.file)


def test_alarms_in_a_row_call_for_a_new_baseline(fixed: Watched, tmp_path: Path) -> None:
    """While the stream is followed: two windows alarm, and a baseline of ten days takes over."""
    watched, stop, notes = refitting(fixed, tmp_path, REFIT), Event(), list[str]()
    rows, seen = watched.folder / "rows", list[Run]()

    def come(first: int, last: int) -> None:
        hour = (pl.col("time") - FIRST).dt.total_hours()
        new = moved(8).filter(hour.is_between(24 * first + 1, 24 * last))
        new.write_parquet(rows / f"{first:03}.parquet")

    def tell(run: Run) -> None:
        seen.append(run)
        if len(seen) < 3:
            come(*((9, 10), (10, 16))[len(seen) - 1])
        else:
            stop.set()

    come(0, 9)
    job = Job(load_stream(watched.file), watched.baseline, watched.run, note=notes.append)
    follow(job, 0.01, stop, tell)
    assert "refit" not in seen[0].manifest  # one window alarmed
    tried = seen[1].manifest["refit"]
    assert tried["baseline_id"] is not None, tried
    assert notes == [tried["note"]]
    run = seen[2]
    judged = run.table("findings").filter(monitor="coverage", status="tested")
    new = judged.filter(baseline_id=tried["baseline_id"])
    assert new["window_start"].min() == FIRST + 11 * DAY  # an hour of day 10 had come
    assert run.manifest["baseline_id"] == tried["baseline_id"]
    assert run.baseline(tried["baseline_id"]).span["rows"] == (10 * 24 - 1) * len(SITES)


def test_a_refit_that_fails_is_told_and_tried_again_later(fixed: Watched, tmp_path: Path) -> None:
    """Too few windows to test by: a note; the next attempt needs as many new ones with alarms."""
    watched = refitting(fixed, tmp_path, {**REFIT, "on": "5d"})
    said = come(watched, 0, 10)
    assert said.code == 0
    assert "could not be fitted: what `refit: on` spans holds 5 windows" in said.err
    first = open_run(watched.run).manifest["refit"]
    assert first["baseline_id"] is None
    come(watched, 10, 11)
    assert open_run(watched.run).manifest["refit"] == first
    come(watched, 11, 12)
    assert open_run(watched.run).manifest["refit"]["window_end"] > first["window_end"]


def test_a_refit_whose_outcomes_have_not_come_leaves_the_old_baseline(
    fitted: Watched, tmp_path: Path
) -> None:
    """The monitors that called for it could test no window by the new one."""
    shutil.copytree(fitted.folder, tmp_path / "stream")
    watched = written(tmp_path / "stream", refit={**REFIT, "when": ["pinball"], "on": "9d"})
    drifted = CURRENT.with_columns(y=pl.col("y") + 60).filter(pl.col("time") < FIRST + DAY * 10)
    drifted.with_columns(y=pl.lit(None, pl.Float64)).write_parquet(
        watched.folder / "rows/1.parquet"
    )
    come = drifted.filter(pl.col("time") >= FIRST + DAY * 8).with_columns(known="time")
    come.write_parquet(watched.folder / "outcomes" / "1.parquet")
    run = ran(watched)
    assert "has outcomes of 'y' in 2 windows" in run.manifest["refit"]["note"]
    assert len(read_versions(watched.baseline)) == 1


def test_calibrators_that_issue_no_more_are_let_go(late: Watched, tmp_path: Path) -> None:
    """When all windows of their baseline are final, with the outcomes that they never learnt."""
    stream = load_stream(late.file)
    versions = [Version("old", None), Version("new", FIRST)]
    past = int((FIRST + DAY * 9).timestamp() * 1e6)  # of `within`, and of allowed lateness
    assert baselines_over(stream, versions, past) == ["old"]
    first_day = int((FIRST + DAY).timestamp() * 1e6)
    assert not baselines_over(stream, versions, first_day)
    about: dict[str, object] = dict.fromkeys(
        ("stream", "key", "target", "model_id", "calibration", "path"), ""
    )
    about |= dict.fromkeys(("lower", "upper", "outcome", "row"), 1)
    about |= {"valid_time": FIRST, "levels": [], "quantiles": [], "learnt": False}
    for name, schema in ((AWAIT, AWAITING), (STATES, CALIBRATORS)):
        rows = [{**about, "baseline_id": version.id} for version in versions]
        write_part(pa.Table.from_pylist(rows, schema), tmp_path / name)
    settle(stream, tmp_path, NO_COUNTS, Clock(stream, past, 0), past, {}, versions)
    for name in (AWAIT, STATES):
        left = pl.read_parquet(tmp_path / SETTLED / name)
        assert left["baseline_id"].to_list() == ["new"]


def test_what_is_wrong_with_outcomes_is_one_sentence(late: Watched) -> None:
    """A file without the target, and one that changed while the stream is followed."""
    pl.DataFrame({"time": [FIRST], "site": ["north"], "z": [1.0]}).write_parquet(
        late.folder / "outcomes" / "bad.parquet"
    )
    arrive(late, FIRST, FIRST + DAY)
    for command in ("run", "validate"):
        said = tidegauge(command, late.file)
        assert said.code == 2
        assert "bad.parquet: has no column 'y'" in said.err


def test_an_outcome_file_that_changed_begins_the_run_anew(late: Watched) -> None:
    """As a file of rows does."""
    arrive(late, FIRST, FIRST + 2 * DAY)
    ran(late)
    (file,) = (late.folder / "outcomes").iterdir()
    pl.read_parquet(file).head(3).write_parquet(file)
    run = ran(late)
    assert run.manifest["ticks"] == 1
    assert run.manifest["outcomes"]["rows"] == 3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "outcomes"),
        ({"outcomes": None}, "calibration: online"),
        ({"outcomes": None, "forecasts": [], "refit": REFIT}, "refit"),
    ],
)
def test_a_graph_without_an_end_refuses_what_needs_a_run_folder(
    fitted: Watched, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    """It would forecast without ever learning: one sentence says so."""
    stream = load_stream(written(tmp_path, **changes).file)
    with pytest.raises(StreamFileError, match=f"`{named}` needs the state of a run folder"):
        ScoreWindows(stream, fitted.baseline)
