"""Lags from end to end: fit, run, check, and what is said of lags that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.run_folder import open_run
from tests.small_streams import (
    CURRENT_WEEKS,
    HOURS,
    MOVED,
    MOVED_WEEK,
    SENSORS,
    current_rows,
    reference_rows,
    stream_file,
    tidegauge,
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small stream with a lag, with its baseline."""
    folder = tmp_path_factory.mktemp("lags")
    reference_rows().write_parquet(folder / "reference.parquet")
    file = stream_file(folder, lags=["1h"], source={"path": str(folder / "now" / "*.parquet")})
    (folder / "now").mkdir()
    current_rows().write_parquet(folder / "now" / "0.parquet")
    done = tidegauge("fit", file)
    assert done.code == 0, done.err
    return folder


def findings(folder: Path, out: str) -> pl.DataFrame:
    """Run the stream, and return the findings in order."""
    done = tidegauge("run", folder / "stream.yaml", "--out", folder / out)
    assert done.code == 0, done.err
    return open_run(folder / out).table("findings").sort("window_start", "subject")


def test_a_stream_with_lags_names_what_moved_however_its_rows_are_scattered(fitted: Path) -> None:
    """Only features have findings; rows of any week in any file give the same ones."""
    together = findings(fitted, "one.run")
    assert together.height == CURRENT_WEEKS * len(SENSORS)
    assert set(together["subject"]) == set(SENSORS)
    alarms = together.filter("alarm")
    assert alarms["subject"].to_list() == [MOVED]
    assert alarms["window_start"][0] == together["window_start"].unique().sort()[MOVED_WEEK]
    rows = current_rows().sample(fraction=1.0, shuffle=True, seed=5)
    (fitted / "now" / "0.parquet").unlink()
    for number, start in enumerate(range(0, rows.height, 400)):
        rows[start : start + 400].write_parquet(fitted / "now" / f"{number}.parquet")
    scattered = findings(fitted, "many.run")
    assert np.allclose(together["statistic"], scattered["statistic"], rtol=1e-6, atol=1e-9)
    assert together["alarm"].to_list() == scattered["alarm"].to_list()


def test_other_lags_need_another_baseline(fitted: Path, tmp_path: Path) -> None:
    """The baseline knows with which lags it was fitted."""
    source = {"path": str(fitted / "now" / "*.parquet")}
    reference = {"path": str(fitted / "reference.parquet")}
    file = stream_file(tmp_path, lags=["2h"], source=source, reference=reference)
    done = tidegauge("run", file, "--baseline", fitted / "stream.baseline")
    assert done.code == 2
    assert "changed its lags since the baseline was fitted" in done.err


def test_a_lag_that_no_row_has_is_the_users_mistake(fitted: Path, tmp_path: Path) -> None:
    """Hourly rows have nothing 90 minutes earlier."""
    reference = {"path": str(fitted / "reference.parquet")}
    done = tidegauge("fit", stream_file(tmp_path, lags=["90m"], reference=reference))
    assert done.code == 2
    assert "exactly 90m before" in done.err
    assert "Traceback" not in done.err


def test_check_explains_numbers_by_their_earlier_rows(tmp_path: Path) -> None:
    """Lags explain and are not tested; a replayed sensor is named."""
    rng = np.random.default_rng(7)
    noise = rng.normal(size=(4200, 4)) + rng.normal(size=(4200, 1))
    series = np.zeros_like(noise)
    for row in range(1, len(noise)):
        series[row] = 0.95 * series[row - 1] + noise[row]
    before, now = series[200:3200], series[3200:].copy()
    now[:, 2] = before[500:1500, 2]
    names = ["a", "b", "c", "d"]
    for name, rows in (("before", before), ("now", now)):
        pl.DataFrame(rows, schema=names).write_parquet(tmp_path / f"{name}.parquet")
    tables = tmp_path / "before.parquet", tmp_path / "now.parquet"
    done = tidegauge("check", *tables, "--lag", "1", "--json")
    result = json.loads(done.out)
    assert {found["subject"] for found in result["findings"]} == set(names)
    assert [found["subject"] for found in result["findings"] if found["alarm"]] == ["c"]
    assert "independent stretches" not in done.err
    without = tidegauge("check", *tables, "--json")
    assert "independent stretches" in without.err


def test_check_refuses_a_lag_longer_than_a_table(tmp_path: Path) -> None:
    """The table, its rows and the lag are named."""
    pl.DataFrame({"a": np.arange(100.0), "b": np.sin(np.arange(100.0))}).write_csv(
        tmp_path / "t.csv"
    )
    done = tidegauge("check", tmp_path / "t.csv", tmp_path / "t.csv", "--lag", str(HOURS))
    assert done.code == 2
    assert f"--lag {HOURS}: {tmp_path / 't.csv'} has 100 rows" in done.err
