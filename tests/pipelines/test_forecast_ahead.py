"""Forecasts of series' own future in a run: issued as rows come, and scored when theirs do."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from monitors.baseline_folder import load_baseline
from monitors.beam.score import ScoreWindows
from monitors.forecast_scores import FEWEST_ROWS
from pipelines.run_folder import Run, open_run
from pipelines.tick import progress_of
from schemas.errors import StreamFileError
from schemas.stream_file import load_stream
from tests.pipelines.test_incremental import DiesError, dying
from tests.small_streams import Watched, tidegauge
from tests.watching import findings

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY, STEP = timedelta(days=1), timedelta(hours=3)
A_DAY = 8  # steps, and the horizon
REFERENCE_DAYS, DAYS = 60, 20
SITES = {"north": 10.0, "south": 1000.0}
FIRST = START + DAY * REFERENCE_DAYS
AHEAD = {"horizon": "1d", "step": "3h", "season": "1d"}
FORECASTS: list[dict[str, Any]] = [
    {"target": "y", "features": ["x"], "models": ["seasonal_naive"], "ahead": AHEAD},
    {"target": "z", "features": ["x"], "models": ["location_scale"]},
]


def rows_of(first: int, days: int) -> pl.DataFrame:
    """Return three-hourly rows of two sites: y has a day's rhythm, z follows x."""
    n = days * A_DAY
    step = first * A_DAY + np.arange(n)
    tables = []
    for number, (site, level) in enumerate(SITES.items()):
        rng = np.random.default_rng([3, first, number])
        x, noise, other = rng.normal(size=(3, n))
        tables.append(
            pl.DataFrame(
                {
                    "time": [START + STEP * int(at) for at in step],
                    "site": site,
                    "x": x,
                    "y": level * (1 + 0.2 * np.sin(step * 2 * np.pi / A_DAY) + 0.05 * noise),
                    "z": 2 * x + 0.5 * other,
                }
            )
        )
    time = pl.col("time").cast(pl.Datetime("us", "UTC"))
    return pl.concat(tables).with_columns(time).sort("time", "site")


CURRENT = rows_of(REFERENCE_DAYS, DAYS)


def written(folder: Path, **changes: Any) -> Watched:
    """Write the stream file."""
    stream: dict[str, Any] = {
        "tidegauge": 1,
        "name": "ahead",
        "source": {"path": str(folder / "rows" / "*.parquet")},
        "reference": {"path": str(folder / "reference.parquet")},
        "time": {"column": "time"},
        "key": ["site"],
        "columns": {
            "x": {"type": "number"},
            "y": {"type": "number", "role": "target", "nullable": True},
            "z": {"type": "number", "role": "target"},
        },
        "window": {"length": "5d"},
        "forecasts": FORECASTS,
        "monitors": {"expectations": False},
        "alarms": {"false": "1 per 50 windows"},
        **changes,
    }
    (folder / "stream.yaml").write_text(json.dumps(stream))
    return Watched(folder)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Return the stream with its baseline; nobody writes there."""
    folder = tmp_path_factory.mktemp("ahead")
    rows_of(0, REFERENCE_DAYS).write_parquet(folder / "reference.parquet")
    (folder / "rows").mkdir()
    watched = written(folder)
    said = tidegauge("fit", watched.file)
    assert said.code == 0, said.err
    return watched


def copied(fitted: Watched, folder: Path, **changes: Any) -> Watched:
    """Return a copy of the stream, with or without changes to its file."""
    shutil.copytree(fitted.folder, folder)
    return written(folder, **changes)


def ran(watched: Watched, rows: pl.DataFrame | None = None, name: str = "all") -> Run:
    """Let rows come, run, and return the run."""
    if rows is not None:
        rows.write_parquet(watched.folder / "rows" / f"{name}.parquet")
    done = tidegauge("run", watched.file)
    assert done.code == 0, done.err
    return open_run(watched.run)


def told(run: Run, name: str) -> pl.DataFrame:
    """Return a table; of the forecasts of rows, without where these were read."""
    ahead = pl.col("target") == "y"
    return (
        run.table(name)
        .with_columns(row=pl.when(ahead).then("row"), path=pl.when(ahead).then("path"))
        .sort("target", "key", "valid_time")
    )


def same_runs(some: Run, other: Run) -> None:
    """Hold two runs equal in all that they say."""
    for name in ("forecasts", "outcomes"):
        assert_frame_equal(told(some, name), told(other, name), check_exact=True)
    assert_frame_equal(findings(some), findings(other), rel_tol=1e-9, abs_tol=1e-9)
    assert progress_of(some).ahead == progress_of(other).ahead
    states = [pl.read_parquet(run.state("series")).sort("time", "site") for run in (some, other)]
    assert_frame_equal(*states, check_exact=True)
    waits = [pl.read_parquet(run.state("awaiting")).drop("path") for run in (some, other)]
    assert_frame_equal(*waits)


@pytest.fixture(scope="module")
def at_once(fitted: Watched, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Return the stream after one run over all rows; nobody writes there."""
    watched = copied(fitted, tmp_path_factory.mktemp("at-once") / "stream")
    ran(watched, CURRENT)
    return watched


def test_each_step_is_forecast_once_from_what_was_known(at_once: Watched) -> None:
    """At every whole multiple of the horizon, for the steps up to the next, without outcomes."""
    forecasts = open_run(at_once.run).table("forecasts").filter(target="y")
    assert forecasts["outcome"].null_count() == forecasts.height == DAYS * A_DAY * len(SITES)
    issues = forecasts["issue_time"].unique().sort().to_list()
    assert issues == [FIRST + DAY * day for day in range(DAYS)]
    after = forecasts["valid_time"] - forecasts["issue_time"]
    assert (after == pl.Series([STEP]) * forecasts["row"]).all()
    assert not forecasts.select("key", "valid_time").is_duplicated().any()


def test_runs_in_pieces_are_one_run(at_once: Watched, fitted: Watched, tmp_path: Path) -> None:
    """Cut between the rows of an issue, and within a horizon: the same bits and findings."""
    pieces = copied(fitted, tmp_path / "pieces")
    for at in range(0, CURRENT.height, 113):
        run = ran(pieces, CURRENT.slice(at, 113), f"{at:03}")
    assert run.manifest["ticks"] == 3
    same_runs(run, open_run(at_once.run))


def test_no_forecast_reads_what_comes_after_it(
    at_once: Watched, fitted: Watched, tmp_path: Path
) -> None:
    """With all later rows changed, forecasts issued before them are the same bits."""
    issue = FIRST + 7 * DAY
    other = CURRENT.with_columns(
        pl.col("x", "y") * pl.when(pl.col("time") > issue).then(9).otherwise(1)
    )
    watched = copied(fitted, tmp_path / "other")
    made = [told(open_run(at_once.run), "forecasts"), told(ran(watched, other), "forecasts")]
    until = [table.filter(pl.col("issue_time") <= issue, target="y") for table in made]
    assert_frame_equal(*until, check_exact=True)
    after = [table.filter(pl.col("issue_time") > issue, target="y") for table in made]
    assert not after[0]["quantiles"].equals(after[1]["quantiles"])


def test_intervals_cover_what_comes_and_windows_are_scored(at_once: Watched) -> None:
    """Each value meets its forecast; 90 % of them, within four errors; every window is tested."""
    run = open_run(at_once.run)
    outcomes = run.table("outcomes").sort("valid_time", "key")
    rows = CURRENT.filter(pl.col("time") > FIRST).sort("time", "site")
    assert outcomes["outcome"].equals(rows["y"].rename("outcome"))
    inside = outcomes["outcome"].is_between(outcomes["lower"], outcomes["upper"])
    assert abs(inside.mean() - 0.9) < 4 * np.sqrt(0.09 / outcomes.height)  # type: ignore[operator]
    judged = findings(run).filter(subject="y", monitor="coverage")
    assert set(judged.filter(pl.col("rows") >= FEWEST_ROWS)["status"]) == {"tested"}
    assert judged["rows"].sum() == outcomes.height
    own = findings(run).filter(subject="y", monitor="pinball")
    assert not own["alarm"].any()  # series of two sizes, each against itself


def test_a_drift_is_seen_told_and_explained(fitted: Watched, tmp_path: Path) -> None:
    """A louder series alarms; the report, the metrics and the explanation do not mind."""
    watched = copied(fitted, tmp_path / "drift")
    loud = (pl.col("time") >= FIRST + 10 * DAY) & (pl.col("site") == "north")
    noise = np.random.default_rng(5).normal(size=CURRENT.height) * 5
    run = ran(watched, CURRENT.with_columns(y=pl.col("y") + pl.when(loud).then(noise).otherwise(0)))
    alarms = findings(run).filter("alarm", subject="y")
    assert set(alarms["key"]) == {'{"site": "north"}'}
    assert alarms.filter(pl.col("window_end") <= FIRST + 10 * DAY).is_empty()
    said = tidegauge("explain", alarms["id"][0], "--run", watched.run)
    assert said.code == 0, said.err
    assert tidegauge("report", watched.run).code == 0
    assert {"y", "z"} == set(run.snapshot().forecasts["target"])


@pytest.mark.slow
def test_a_run_that_dies_forecasts_the_same_again(
    at_once: Watched, fitted: Watched, tmp_path: Path
) -> None:
    """Whichever file it was about to put in its place: the old run stays, the next is whole."""
    watched = copied(fitted, tmp_path / "dies")
    ran(watched, CURRENT.head(81), "0")
    CURRENT.slice(81).write_parquet(watched.folder / "rows" / "1.parquet")
    manifest = (watched.run / "run.json").read_bytes()
    for after in (4, 14):
        with (
            patch.object(Path, "replace", dying(Path.replace, after)),
            pytest.raises((DiesError, RuntimeError)),
        ):
            tidegauge("run", watched.file)
        assert (watched.run / "run.json").read_bytes() == manifest
    same_runs(ran(watched), open_run(at_once.run))


def test_values_may_come_as_outcomes(fitted: Watched, tmp_path: Path) -> None:
    """Values that the rows lack come in files: joined by key and time, and counted there alone."""
    watched = copied(
        fitted, tmp_path / "late", outcomes={"path": str(tmp_path / "late" / "landed-*.parquet")}
    )
    missing = (pl.col("time") > FIRST + 5 * DAY) & (pl.col("time") <= FIRST + 6 * DAY)
    y = pl.when(~missing).then("y")
    ran(watched, CURRENT.with_columns(y=y))
    late = CURRENT.filter(missing).select("time", "site", "y", z=pl.lit(None, pl.Float64))
    late.write_parquet(watched.folder / "landed-1.parquet")
    run = ran(watched)
    outcomes = run.table("outcomes").filter(target="y").sort("valid_time", "key")
    assert outcomes["outcome"].equals(CURRENT.filter(pl.col("time") > FIRST)["y"].rename("outcome"))
    counts = run.manifest["outcomes"]
    assert (counts["rows"], counts["used"], counts["waiting"]) == (late.height, late.height, 0)


@pytest.mark.slow
def test_a_new_baseline_forecasts_from_its_time_on(
    fitted: Watched, at_once: Watched, tmp_path: Path
) -> None:
    """Issues before it are the old one's, later ones its own; no step is forecast twice."""
    watched, since = copied(fitted, tmp_path / "new"), FIRST + 12 * DAY  # begins a window
    ran(watched, CURRENT.filter(pl.col("time") < since), "0")
    whole = pl.concat([rows_of(0, REFERENCE_DAYS), CURRENT.filter(pl.col("time") < since)])
    whole.write_parquet(watched.folder / "reference.parquet")
    said = tidegauge("fit", watched.file, "--since", since.isoformat())
    assert said.code == 0, said.err
    run = ran(watched, CURRENT.filter(pl.col("time") >= since), "1")
    forecasts = told(run, "forecasts").filter(target="y")
    assert not forecasts.select("key", "valid_time").is_duplicated().any()
    new = pl.col("issue_time") >= since
    old = told(open_run(at_once.run), "forecasts").filter(~new, target="y")
    assert_frame_equal(forecasts.filter(~new), old, check_exact=True)
    model = load_baseline(watched.baseline).ahead["y"].model.model_id
    assert set(forecasts.filter(new)["model_id"]) == {model}


@pytest.mark.parametrize(
    ("ahead", "changes", "says"),
    [
        ({"known": ["x"]}, {}, "no rows of the future"),
        ({}, {"window": {"rows": 100}}, "windows of event time"),
        ({}, {"calibration": "online"}, "use `calibration: fixed`"),
    ],
)
def test_what_a_run_cannot_do_is_refused_by_fit(
    fitted: Watched, tmp_path: Path, ahead: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    """One sentence that names the target."""
    calibration = changes.pop("calibration", "fixed")
    spec = {**FORECASTS[0], "ahead": {**AHEAD, **ahead}, "calibration": calibration}
    watched = copied(fitted, tmp_path / "wrong", forecasts=[spec], **changes)
    done = tidegauge("fit", watched.file)
    assert done.code == 2
    assert "'y' is forecast `ahead`" in done.err
    assert says in " ".join(done.err.split())


def test_graphs_without_end_refuse_it(fitted: Watched) -> None:
    """They keep no rows of series."""
    with pytest.raises(StreamFileError, match="`ahead` needs the state of a run folder"):
        ScoreWindows(load_stream(fitted.file), fitted.baseline)
