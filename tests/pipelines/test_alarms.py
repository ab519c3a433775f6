"""Alarm control, episodes and the sentinel in whole runs."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from pipelines.explain import explain_finding
from pipelines.report import render
from pipelines.run_folder import open_run
from tests.small_streams import CURRENT_WEEKS, MOVED, Outcome, Watched, tidegauge


def with_alarms(watched: Watched, **alarms: str) -> None:
    """Change the alarms of the stream file."""
    stream: dict[str, Any] = json.loads(watched.file.read_text())
    watched.file.write_text(json.dumps({**stream, "alarms": alarms}))


def test_one_broken_week_is_one_episode(finished: tuple[Watched, Outcome]) -> None:
    """It is stored, printed on one line, in the report, and named by `explain`."""
    run = open_run(finished[0].run)
    (episode,) = run.table("episodes").filter(monitor="feature_shift").to_dicts()
    (alarm,) = run.table("findings").filter(pl.col("alarm"), monitor="feature_shift").to_dicts()
    assert (episode["subject"], episode["finding_id"]) == (MOVED, alarm["id"])
    assert (episode["start"], episode["peak"]) == (alarm["window_start"], alarm["statistic"])
    printed = [line for line in finished[1].out.splitlines() if MOVED in line]
    assert len(printed) == 1
    assert f"  1 window  feature_shift  {MOVED}: " in printed[0]
    assert (episode["windows"], episode["open"]) == (1, False)
    assert episode["since"] == alarm["since"]
    assert "  Since   " in explain_finding(run, alarm["id"])
    assert "One row per shift" in render(run)


def test_every_tested_window_has_a_sentinel(finished: tuple[Watched, Outcome]) -> None:
    """At the level of the window's own test; it is no finding, and no alarm of the run."""
    run = open_run(finished[0].run)
    sentinels = run.table("sentinels")
    assert sentinels.height == CURRENT_WEEKS
    assert sentinels["level"].unique().to_list() == [pytest.approx(1 / 200 / 4)]
    assert "sentinel" not in run.table("findings")["monitor"]


@pytest.mark.parametrize(
    ("alarms", "says"),
    [
        ({"false": "1 per 200 windows", "control": "e-detector"}, "log10 of the e-detector"),
        ({"false": "5 % of alarms", "control": "fdr"}, "−log10 of the adjusted p"),
    ],
    ids=["e-detector", "fdr"],
)
def test_sequential_controls_find_the_broken_week(
    small: Watched, alarms: dict[str, str], says: str
) -> None:
    """With a threshold of their own, no new baseline, and the same ids."""
    with_alarms(small, **alarms)
    done = tidegauge("run", small.file, "--fail-on-alarm")
    assert done.code == 3, done.err
    run = open_run(small.run)
    found = run.table("findings").filter(pl.col("alarm"), monitor="feature_shift")
    assert found["subject"].to_list() == [MOVED]
    assert (found["statistic"] > found["threshold"]).all()
    assert says in explain_finding(run, found["id"][0])
    assert run.table("episodes").filter(monitor="feature_shift").height == 1
    assert "false-alarm" in render(run).lower()
    assert tidegauge("run", small.file).code == 0
    assert len(run.parts("findings")) == 1


@pytest.mark.parametrize(
    ("alarms", "says"),
    [
        ({"false": "5 % of alarms"}, "needs `control: fdr`"),
        ({"control": "fdr"}, "write '5 % of alarms', not '1 per 30d'"),
        ({"false": "0 % of alarms", "control": "fdr"}, "write '5 % of alarms'"),
        ({"false": "5 % of alarms", "control": "e-detector"}, "needs `control: fdr`"),
        ({"control": "windows"}, "control"),
    ],
)
def test_budget_that_does_not_fit_its_control_is_refused(
    small: Watched, alarms: dict[str, str], says: str
) -> None:
    """With what to write instead, before anything is read."""
    with_alarms(small, **alarms)
    done = tidegauge("validate", small.file)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert "alarms" in done.err
