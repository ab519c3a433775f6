"""`tidegauge compare-at`: what it says, its JSON, its figure, and what it refuses."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.small_streams import stream_file, tidegauge

START = datetime(2026, 1, 1, tzinfo=UTC)
RELEASE = START + timedelta(days=11, hours=14)
TIME = "2026-01-12T14:00Z"
COLUMN_FIELDS = ["column", "unit", "jumped", "p_value", "p_quantiles", "p_variation", "p_alike"]
COLUMN_FIELDS += ["largest", "moved", "levels", "before", "after", "jump", "lower", "upper"]
COLUMN_FIELDS += ["deviation", "periods", "bandwidth_seconds", "autocorrelation", "sentence"]


def rows(days: int = 18) -> pl.DataFrame:
    """Return six rows an hour: a daily cycle, and `power` 3 higher from the release on."""
    rng = np.random.default_rng(11)
    count = days * 144
    times = [START + timedelta(minutes=10 * row) for row in range(count)]
    cycle = 5.0 * np.sin(np.arange(count) * 2.0 * np.pi / 144)
    later = np.array([time >= RELEASE for time in times])
    wander = np.zeros((count, 2))
    for row in range(1, count):
        wander[row] = 0.9 * wander[row - 1] + 0.2 * rng.normal(size=2)
    values = cycle[:, None] + wander + 0.5 * rng.normal(size=(count, 2))
    values[:, 0] += 3.0 * later
    return pl.DataFrame(
        {
            "time": pl.Series(times).cast(pl.Datetime("us", "UTC")),
            "site": np.where(np.arange(count) % 2, "b", "a"),
            "power": values[:, 0],
            "rpm": values[:, 1],
        }
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the table; nobody writes there."""
    path = tmp_path_factory.mktemp("before-after") / "rows.parquet"
    rows().write_parquet(path)
    return path


@pytest.fixture(scope="module")
def told(table: Path) -> dict[str, Any]:
    """Return the JSON of the table."""
    done = tidegauge("compare-at", TIME, table, "--json")
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1
    result: dict[str, Any] = json.loads(
        done.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    return result


def test_json_has_exactly_this_shape(told: dict[str, Any]) -> None:
    """One object with these keys; the column that jumped stands first."""
    assert list(told) == [
        "at",
        "alarm",
        "false_alarm_rate",
        "every_seconds",
        "season_seconds",
        "rows",
        "columns",
    ]
    assert told["at"] == "2026-01-12T14:00:00Z"
    assert told["alarm"] is True
    assert (told["every_seconds"], told["season_seconds"]) == (3600.0, 86_400.0)
    assert told["rows"] == {"before": 1668, "after": 924, "rejected": 0}
    assert [list(one) for one in told["columns"]] == [COLUMN_FIELDS] * 2
    assert [(one["column"], one["jumped"]) for one in told["columns"]] == [
        ("power", True),
        ("rpm", False),
    ]


def test_jump_is_measured_at_every_quantile(told: dict[str, Any]) -> None:
    """All quantiles moved by 3: the band holds that, and nothing says that they differ."""
    power, rpm = told["columns"]
    assert all(low <= 3.0 <= high for low, high in zip(power["lower"], power["upper"], strict=True))
    assert power["moved"] == pytest.approx(power["levels"])
    assert power["p_alike"] > 0.05
    assert rpm["moved"] == []


def test_screen_says_it_in_a_sentence(table: Path) -> None:
    """The first line counts, the next one names the column, the time and the jump."""
    done = tidegauge("compare-at", TIME, table)
    first, second, third = done.out.splitlines()
    assert first.startswith("1,668 rows before, 924 after, 0 rejected; periods of 1h, without")
    assert first.endswith("1 of 2 columns jumped")
    pattern = r"JUMPED: power jumped at 2026-01-12 14:00 UTC: the median by \+[23]\.\d+ \(band 1"
    assert re.match(pattern, second) or re.match(pattern.replace("band 1", "band 2"), second)
    assert third.strip().startswith("rpm shows no jump at 2026-01-12 14:00 UTC")
    assert "note: 'time' guessed to be the event time" in done.err
    assert "what is usual within 1d" in done.err


def test_alarm_exits_with_three_only_when_asked(table: Path) -> None:
    """And not where nothing jumped."""
    assert tidegauge("compare-at", TIME, table, "--fail-on-alarm").code == 3
    clean = tidegauge("compare-at", TIME, table, "--column", "rpm", "--fail-on-alarm")
    assert clean.code == 0
    earlier = tidegauge("compare-at", "2026-01-09T09:00Z", table, "--fail-on-alarm")
    assert earlier.code == 0, earlier.out


def test_formats_and_seeds_decide_nothing(table: Path, tmp_path: Path) -> None:
    """CSV, JSON lines and Arrow of the same rows name the same column by nearly the same jump."""
    frame = pl.read_parquet(table)
    frame.write_csv(tmp_path / "rows.csv")
    frame.write_ipc(tmp_path / "rows.arrow", compat_level=pl.CompatLevel.oldest())
    outs = {
        tidegauge("compare-at", TIME, path, "--json").out
        for path in (table, tmp_path / "rows.csv", tmp_path / "rows.arrow")
    }
    assert len(outs) == 1
    again = json.loads(tidegauge("compare-at", TIME, table, "--json", "--seed", "9").out)
    assert [one["jumped"] for one in again["columns"]] == [True, False]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris"])
def test_stream_file_says_columns_units_and_zone(table: Path, tmp_path: Path, zone: str) -> None:
    """Its source is read; a time without an offset is of its zone."""
    file = stream_file(
        tmp_path,
        source={"path": str(table)},
        reference={"path": str(table)},
        time={"column": "time", "zone": zone},
        columns={
            "power": {"type": "number", "unit": "kW"},
            "rpm": {"type": "number", "role": "ignore"},
        },
        window={"length": "1d"},
    )
    local = "2026-01-12 14:00" if zone == "UTC" else "2026-01-12 15:00"
    done = tidegauge("compare-at", local, file, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["at"] == "2026-01-12T14:00:00Z"
    assert [(one["column"], one["unit"]) for one in found["columns"]] == [("power", "kW")]
    assert " kW (band " in found["columns"][0]["sentence"]


def test_key_chooses_rows(table: Path) -> None:
    """Half of the rows are of site a."""
    done = tidegauge("compare-at", TIME, table, "--json", "--key", "site=a")
    assert json.loads(done.out)["rows"] == {"before": 834, "after": 462, "rejected": 0}


def test_keys_that_are_pooled_are_told(table: Path, tmp_path: Path) -> None:
    """Rows of two sites at the same times: a note, until one site is chosen."""
    half = pl.read_parquet(table)[::6]
    both = pl.concat([half.with_columns(site=pl.lit(site)) for site in "ab"])
    path = tmp_path / "sites.parquet"
    both.write_parquet(path)
    options = ("compare-at", TIME, path, "--column", "rpm")
    says = "rows of every 'site' are compared together"
    assert says in tidegauge(*options).err
    assert says not in tidegauge(*options, "--key", "site=a").err


def test_a_row_per_period_compares_levels(table: Path, tmp_path: Path) -> None:
    """Hourly rows: the note says that there are no quantiles, the jump is found all the same."""
    path = tmp_path / "hourly.csv"
    pl.read_parquet(table)[::6].write_csv(path)
    done = tidegauge("compare-at", TIME, path)
    assert "a period of 1h has one row" in done.err
    assert "JUMPED: power jumped at 2026-01-12 14:00 UTC: by +" in done.out


@pytest.mark.parametrize("suffix", ["svg", "png", "html"])
def test_figure_is_written(table: Path, tmp_path: Path, suffix: str) -> None:
    """As its suffix says, with the columns' names in the texts of SVG and HTML."""
    path = tmp_path / "new" / f"figure.{suffix}"
    assert tidegauge("compare-at", TIME, table, "--out", path).code == 0
    data = path.read_bytes()
    if suffix == "png":
        assert data.startswith(b"\x89PNG")
        return
    assert b"<svg" in data
    assert b">power<" in data
    if suffix == "html":
        assert b"<li>power jumped at " in data


REFUSED = {
    "no time": (["noon"], "TIME 'noon': is not a time"),
    "outside": (["2027-01-01"], "no row is after it; the rows of {table} are of 2026-01-01 00:00"),
    "first row": (["2026-01-01T00:00Z"], "no row is before it; the rows of {table} are of"),
    "short periods": (
        [TIME, "--every", "1m"],
        "has values in one of 10 periods of 1m only: give --every 10m or longer",
    ),
    "too few": (
        ["2026-01-01T05:00Z", "--every", "1h"],
        "in 5 periods of 1h before and 427 after, and 20 are needed",
    ),
    "unknown column": ([TIME, "--column", "powr"], "(did you mean 'power'?); its numbers are"),
    "no number": ([TIME, "--column", "site"], "--column site: holds category; only numbers"),
    "every": ([TIME, "--every", "often"], "--every: 'often' is not a duration"),
    "season": ([TIME, "--season", "90m"], "--season 90m: is no multiple of a period of 1h"),
    "long season": ([TIME, "--season", "7d"], "there are 1.7 of them before the time"),
    "key": ([TIME, "--key", "site"], "write COLUMN=VALUE with a column of {table}\n"),
    "no such key": ([TIME, "--key", "site=c"], "--key site=c: no row has that value"),
    "rate": ([TIME, "--false-alarm-rate", "2"], "give a number between 0 and 1"),
    "figure": ([TIME, "--out", "figure.gif"], "give a name that ends in .svg, .png, .html"),
    "time column": ([TIME, "--time", "tiem"], "there is no column 'tiem' (did you mean 'time'?)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_one_sentence(table: Path, case: str) -> None:
    """Exit code 2, nothing on stdout, and what is wrong."""
    (when, *options), says = REFUSED[case]
    done = tidegauge("compare-at", when, table, *options)
    assert (done.code, done.out) == (2, "")
    assert says.format(table=table) in done.err
    assert done.err.count("\n") == 1


def test_table_without_numbers_or_times_is_refused(tmp_path: Path) -> None:
    """Each says what is missing."""
    frame = rows(3)
    frame.select("time", "site").write_csv(tmp_path / "texts.csv")
    frame.select("power").write_csv(tmp_path / "timeless.csv")
    texts = tidegauge("compare-at", "2026-01-02", tmp_path / "texts.csv")
    assert (texts.code, "no column holds numbers" in texts.err) == (2, True)
    timeless = tidegauge("compare-at", "2026-01-02", tmp_path / "timeless.csv")
    assert (timeless.code, "name the event time with --time" in timeless.err) == (2, True)


def test_topic_is_refused(tmp_path: Path, table: Path) -> None:
    """Its rows are not kept, and the sentence says what to give instead."""
    file = stream_file(
        tmp_path,
        source={"topic": "rows", "servers": "localhost:9092", "format": "json"},
        reference={"path": str(table)},
        columns={"power": {"type": "number"}},
    )
    done = tidegauge("compare-at", TIME, file)
    assert (done.code, done.out) == (2, "")
    assert "the source is a topic, whose rows are not kept" in done.err


def test_sparse_column_is_left_out_with_a_note(tmp_path: Path) -> None:
    """A column that began a few hours before the time is not tested, the others are."""
    late = pl.col("time") >= RELEASE - timedelta(hours=6)
    path = tmp_path / "rows.parquet"
    rows().with_columns(rpm=pl.when(late).then("rpm")).write_parquet(path)
    done = tidegauge("compare-at", TIME, path, "--json")
    assert "note: 'rpm' has values in 6 periods of 1h before and 154 after" in done.err
    assert [one["column"] for one in json.loads(done.out)["columns"]] == ["power"]


def test_a_gap_at_the_time_is_no_jump(tmp_path: Path) -> None:
    """Where no row is near the time on one side, nothing is said of it."""
    path = tmp_path / "rows.parquet"
    later = pl.when(pl.col("time") >= RELEASE).then(timedelta(days=60)).otherwise(timedelta())
    rows().with_columns(time=pl.col("time") + later).write_parquet(path)
    done = tidegauge("compare-at", TIME, path)
    assert (done.code, done.out) == (2, "")
    assert "'power' has no values for 60d next to the time" in done.err


def test_a_column_with_a_value_every_other_period_is_left_out(tmp_path: Path) -> None:
    """Of such a column it cannot be told how much neighbouring periods share."""
    hourly = rows()[::6]
    path = tmp_path / "rows.parquet"
    every_other = pl.when(pl.int_range(pl.len()) % 2 == 0).then("rpm")
    hourly.with_columns(rpm=every_other).write_parquet(path)
    done = tidegauge("compare-at", TIME, path, "--json")
    assert "'rpm' has values in one of 2 periods of 1h only: give --every 2h or longer" in done.err
    assert [one["column"] for one in json.loads(done.out)["columns"]] == ["power"]


def test_values_beyond_squares_are_left_out(tmp_path: Path) -> None:
    """A square that overflows is said to be one."""
    path = tmp_path / "rows.parquet"
    rows().with_columns(rpm=pl.col("rpm") * 1e300).write_parquet(path)
    done = tidegauge("compare-at", TIME, path)
    assert done.code == 0
    assert "'rpm' has values beyond 1e+150: give them in another unit; it is not tested" in done.err


def test_rows_that_are_all_rejected_are_counted(tmp_path: Path) -> None:
    """Infinite values are no values: what is left is nothing, and the sentence says why."""
    path = tmp_path / "rows.parquet"
    rows(3).with_columns(rpm=pl.lit(float("inf"))).write_parquet(path)
    done = tidegauge("compare-at", "2026-01-02", path)
    assert (done.code, done.out) == (2, "")
    assert "no row is left, as 432 have no time that can be read" in done.err
