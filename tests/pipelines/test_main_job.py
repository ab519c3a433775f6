"""The main job from end to end: fit, run, findings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from pipelines.run_folder import open_run
from schemas.records import FINDING, RECORDS
from tests.small_streams import (
    CURRENT_WEEKS,
    HOURS,
    MOVED,
    MOVED_WEEK,
    REFERENCE_WEEKS,
    SENSORS,
    Outcome,
    Watched,
    tidegauge,
)


def listing(folder: Path) -> dict[str, int]:
    """Return every file of a folder with the time of its last change."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_shuffled_sensor_is_named_and_nothing_else(finished: tuple[Watched, Outcome]) -> None:
    """The sensor whose week was shuffled alarms in that week; no other feature, no other week."""
    findings = open_run(finished[0].run).table("findings")
    alarms = findings.filter(pl.col("alarm"), monitor="feature_shift")
    assert alarms["subject"].to_list() == [MOVED]
    weeks = findings["window_start"].unique().sort()
    assert alarms["window_start"].to_list() == [weeks[MOVED_WEEK]]
    assert alarms["rank"].to_list() == [1]


def test_every_window_is_tested_for_every_feature(finished: tuple[Watched, Outcome]) -> None:
    """One finding per week and feature, and one per week and monitor of the forecast."""
    findings = open_run(finished[0].run).table("findings")
    shift = findings.filter(monitor="feature_shift")
    assert shift.height == CURRENT_WEEKS * len(SENSORS)
    assert shift["status"].unique().to_list() == ["tested"]
    of_forecast = findings.filter(pl.col("monitor") != "feature_shift")
    assert of_forecast.group_by("monitor").len().sort("monitor").rows() == [
        ("coverage", CURRENT_WEEKS),
        ("pinball", CURRENT_WEEKS),
        ("pit", CURRENT_WEEKS),
    ]


def test_rows_are_accounted_for_on_the_screen_and_in_the_manifest(
    fitted: tuple[Watched, Outcome], finished: tuple[Watched, Outcome]
) -> None:
    """Rows in = used + rejected + late, printed by fit and run, and kept in run.json."""
    rows = CURRENT_WEEKS * HOURS
    manifest = json.loads((finished[0].run / "run.json").read_text())
    assert manifest["rows"] == {"in": rows, "used": rows, "rejected": 0, "late": 0}
    said = "rows: {0:,} in = {0:,} used + 0 rejected + 0 late"
    assert said.format(rows) in finished[1].out
    assert said.format(REFERENCE_WEEKS * HOURS) in fitted[1].out


def test_run_folder_holds_what_its_manifest_lists(finished: tuple[Watched, Outcome]) -> None:
    """Every part has its schema, is listed, and nothing else lies in the folder."""
    run = finished[0].run
    manifest = json.loads((run / "run.json").read_text())
    files = manifest["files"]
    for name, parts in files.items():
        for part in parts:
            schema = pq.read_schema(run / part)
            assert schema.equals(RECORDS[name])
            assert schema.metadata == RECORDS[name].metadata
    assert set(listing(run)) == open_run(run).listed | {"run.json", ".lock"}
    assert files["findings"]
    assert files["forecasts"]
    assert files["summaries"]


def test_finding_ids_are_unique_and_hexadecimal(finished: tuple[Watched, Outcome]) -> None:
    """Each finding has an id of its own: twenty hexadecimal digits."""
    findings = open_run(finished[0].run).table("findings")
    assert findings["id"].n_unique() == findings.height
    assert all(re.fullmatch("[0-9a-f]{20}", identity) for identity in findings["id"])
    assert findings.columns == FINDING.names


def test_every_row_with_a_target_has_a_forecast(finished: tuple[Watched, Outcome]) -> None:
    """Each row has one forecast; its quantiles do not cross; its path and row are the row's."""
    forecasts = open_run(finished[0].run).table("forecasts")
    assert forecasts.height == CURRENT_WEEKS * HOURS
    assert forecasts["row"].n_unique() == forecasts.height
    assert forecasts["path"].unique().to_list() == [str(finished[0].current)]
    quantiles = np.array(forecasts["quantiles"].to_list())
    assert (np.diff(quantiles, axis=1) >= 0).all()


def test_alarm_is_printed_with_its_reason(finished: tuple[Watched, Outcome]) -> None:
    """The screen names the sensor, the week and why; a file gets no progress."""
    assert f"windows: {CURRENT_WEEKS}; alarms: 1; in {finished[0].run}" in finished[1].out
    assert f"feature_shift  {MOVED}: no longer follows the other features" in finished[1].out
    assert finished[1].err == ""


def test_fail_on_alarm_exits_with_three(small: Watched) -> None:
    """`--fail-on-alarm` leaves the same whole run, and exits with 3."""
    done = tidegauge("run", small.file, "--fail-on-alarm")
    assert done.code == 3
    assert f"feature_shift  {MOVED}" in done.out
    assert open_run(small.run).manifest["windows"] == CURRENT_WEEKS


def test_second_run_says_the_same_and_leaves_no_stale_part(
    small: Watched, finished: tuple[Watched, Outcome]
) -> None:
    """Run twice: the same findings under the same ids, and no part that the manifest lacks."""
    first = open_run(finished[0].run).table("findings").sort("id")
    for _ in range(2):
        assert tidegauge("run", small.file).code == 0
    again = open_run(small.run)
    assert again.table("findings").sort("id").equals(first)
    assert set(listing(small.run)) == again.listed | {"run.json", ".lock"}


def test_parts_of_other_rows_take_the_place_of_the_old(small: Watched) -> None:
    """A run of other rows leaves their parts alone in the folder."""
    assert tidegauge("run", small.file).code == 0
    before = set(listing(small.run))
    pl.read_parquet(small.current).head(4 * HOURS).write_parquet(small.current)
    assert tidegauge("run", small.file).code == 0
    after = open_run(small.run)
    assert set(listing(small.run)) == after.listed | {"run.json", ".lock"}
    assert not after.listed & before
    assert after.manifest["windows"] == 4


def test_failed_run_leaves_the_old_one_as_it_was(small: Watched) -> None:
    """A run that fails in the middle touches nothing of the run before it."""
    assert tidegauge("run", small.file).code == 0
    before = listing(small.run)
    small.current.write_bytes(small.current.read_bytes()[:-100])
    assert tidegauge("run", small.file).code == 2
    pl.DataFrame(schema=pl.read_parquet_schema(small.folder / "reference.parquet")).write_parquet(
        small.current
    )
    failed = tidegauge("run", small.file)  # passes the look at the columns; fails in the graph
    assert failed.code == 2
    assert "holds no rows" in failed.err
    assert {**before, ".lock": 0} == {**listing(small.run), ".lock": 0}
    assert open_run(small.run).table("findings").height > 0


def test_expectations_are_checked_when_asked_for(small: Watched) -> None:
    """With `expectations: true` the run holds their verdicts, one set per window."""
    stream = json.loads(small.file.read_text())
    stream["monitors"]["expectations"] = True
    small.file.write_text(json.dumps(stream))
    done = tidegauge("run", small.file)
    assert done.code == 0, done.err
    verdicts = open_run(small.run).table("expectations")
    assert verdicts["window_start"].n_unique() == CURRENT_WEEKS
    assert set(verdicts["result"]) == {"pass"}
