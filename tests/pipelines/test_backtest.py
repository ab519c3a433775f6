"""`tidegauge backtest`: the forecasters on the reference, from rolling origins."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from pipelines.backtest import StreamReport, backtest_stream
from pipelines.backtest_tables import print_backtest
from schemas.stream_file import load_stream
from tests.small_streams import HOURS, START, sensor_rows, stream_file, tidegauge

WEEKS = 4
FORECASTS = [{"target": "s1", "features": ["s2", "s4", "s6"], "models": ["direct"]}]


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """Return the file of a small stream with a reference of four weeks, its files in no order."""
    rows = sensor_rows(WEEKS)
    (tmp_path / "parts").mkdir()
    for number in range(2):
        part = rows[number * 2 * HOURS : (number + 1) * 2 * HOURS]
        part.write_parquet(tmp_path / "parts" / f"{2 - number}.parquet")
    reference = {"path": str(tmp_path / "parts" / "*.parquet")}
    return stream_file(tmp_path, forecasts=FORECASTS, reference=reference)


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> StreamReport:
    """Return the backtest of a stream of two sites.

    Noise doubles for good at the middle of the reference, and it is fourfold on stormy hours, of
    which the forecaster is not told.
    """
    folder, rng, hours = tmp_path_factory.mktemp("storm"), np.random.default_rng(5), 600
    sites = []
    for site in ("north", "south"):
        x, stormy = rng.normal(size=hours), rng.uniform(size=hours) < 0.15
        noise = np.where(np.arange(hours) < hours // 2, 1, 2) * np.where(stormy, 4, 1)
        times = [START + timedelta(hours=hour) for hour in range(hours)]
        sites.append(
            pl.DataFrame(
                {
                    "time": times,
                    "site": [site] * hours,
                    "sky": np.where(stormy, "storm", "calm"),
                    "x": x,
                    "y": 3 * x + noise * rng.normal(size=hours),
                }
            )
        )
    pl.concat(sites).write_parquet(folder / "reference.parquet")
    spec = {"target": "y", "features": ["x"], "models": ["direct"]}
    more = {"calibration": "online", "cost": {"under": 9, "over": 1}}
    number, category = {"type": "number"}, {"type": "category"}
    columns = {"sky": category, "x": number, "y": number | {"role": "target"}}
    file = stream_file(folder, key=["site"], columns=columns, forecasts=[spec | more])
    return backtest_stream(load_stream(file))


def printed(report: StreamReport, width: int) -> list[str]:
    """Return the lines that a terminal of a width shows."""
    out = io.StringIO()
    print_backtest(report, Console(file=out, width=width, highlight=False, soft_wrap=True))
    return out.getvalue().splitlines()


def test_each_origin_trains_on_what_was_before_it(short: Path) -> None:
    """A row per origin: training grows, and the interval covers its share; then the summary."""
    done = tidegauge("backtest", short)
    assert (done.code, done.err) == (0, "")
    title, header, *lines = done.out.splitlines()
    assert title == "s1: 90% interval, calibrated at each origin"
    assert header.split()[:3] == ["origin", "train", "test"]
    rows = [line.split() for line in lines[:5]]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    trained, tested = ([int(row[place]) for row in rows] for place in (1, 2))
    assert trained == sorted(trained)
    assert trained[-1] + tested[-1] == WEEKS * HOURS
    for row in rows:
        assert 0 < int(row[5].rstrip("%")) < 100  # skill: the sensors are linked
        assert 0.7 < float(row[6].rstrip("%")) / 100 <= 1
    assert [line.split()[0] for line in lines[6:9]] == ["forecaster", "direct", "climatology"]
    assert lines[10].startswith("levels: ")
    assert lines[11].startswith("slices: ")


def test_json_is_one_object_whatever_the_order_of_the_files(short: Path) -> None:
    """Origins go by event time: the reference in one file gives the same object, bit for bit."""
    parts = tidegauge("backtest", short, "--json")
    assert (parts.code, parts.err) == (0, "")
    rows = pl.read_parquet(short.parent / "parts" / "*.parquet").sort("time")
    rows.write_parquet(short.parent / "one.parquet")
    reference = {"path": str(short.parent / "one.parquet")}
    stream_file(short.parent, forecasts=FORECASTS, reference=reference)
    assert tidegauge("backtest", short, "--json").out == parts.out
    (line,) = parts.out.splitlines()
    found = json.loads(line)
    (target,) = found["targets"]
    assert (found["stream"], target["target"], target["interval"]) == ("sensors", "s1", 0.9)
    assert [row["origin"] for row in target["origins"]] == [1, 2, 3, 4, 5]
    assert [row["forecaster"] for row in target["summary"]] == ["direct", "climatology"]
    assert target["summary"][0]["crps"] < target["summary"][1]["crps"]
    assert target["summary"][0]["cost"] is None


def test_online_calibration_is_shown_beside_the_fixed_one(storm: StreamReport) -> None:
    """After noise doubled, intervals that follow outcomes cover more, at a lower Winkler score."""
    (target,) = storm.to_json()["targets"]
    online, fixed, climatology = target["summary"]
    assert [row["forecaster"] for row in (online, fixed)] == ["direct online", "direct fixed"]
    assert abs(online["coverage"] - 0.9) < abs(fixed["coverage"] - 0.9)
    assert online["winkler"] < fixed["winkler"]
    assert (online["pinball"], online["cost"]) == (fixed["pinball"], fixed["cost"])
    assert 0 < online["cost"] < climatology["cost"]


def test_the_slice_that_falls_short_is_named(storm: StreamReport) -> None:
    """Stormy hours, a column that the forecaster does not read, come first; sites hold."""
    slices = storm.to_json()["targets"][0]["slices"]
    assert (slices[0]["column"], slices[0]["value"]) == ("sky", "storm")
    assert slices[0]["coverage"] < 0.7
    assert slices[0]["p_value"] < 1e-6
    assert {one["value"] for one in slices if one["column"] == "site"} == {"north", "south"}
    assert min(one["p_value"] for one in slices if one["column"] == "site") > 0.05


def test_tables_fit_a_terminal_of_eighty_columns(storm: StreamReport) -> None:
    """No column is cut or wrapped at 80 columns, and the tables are the same at 120."""
    narrow, wide = (printed(storm, width) for width in (80, 120))
    assert [line.rstrip() for line in narrow] == [line.rstrip() for line in wide]
    assert max(len(line.rstrip()) for line in narrow) <= 80
    assert not any("…" in line for line in narrow)
    assert "cost" in next(line for line in narrow if line.startswith("forecaster"))


def test_series_are_forecast_ahead_beside_naive_ones(tmp_path: Path) -> None:
    """With `ahead`: the parts of the horizon, with seasonal naive and climatology; it fits 80."""
    rng, days = np.random.default_rng(2), 120
    season = np.tile([0, 1, 3, 2, 5, 8, 4], days)[:days]
    times = [START + timedelta(days=day) for day in range(days)]
    shops = [
        pl.DataFrame({"time": times, "shop": [name] * days, "y": season + rng.normal(size=days)})
        for name in ("a", "b")
    ]
    pl.concat(shops).write_parquet(tmp_path / "reference.parquet")
    ahead = {"horizon": "7d", "step": "1d", "season": "7d"}
    more = {"calibration": "online", "cost": {"under": 2, "over": 1}}
    columns, forecasts = {"y": {"type": "number"}}, [{"target": "y", "ahead": ahead} | more]
    stream = load_stream(stream_file(tmp_path, key=["shop"], columns=columns, forecasts=forecasts))
    report = backtest_stream(stream)
    (target,) = report.to_json()["targets"]
    whole = {
        row["forecaster"]: row["scaled_pinball"]
        for row in target["horizons"]
        if (row["first_step"], row["last_step"]) == (1, 7)
    }
    assert whole.keys() == {"fitted", "seasonal_naive", "climatology"}
    assert whole["fitted"] < whole["climatology"]
    narrow = printed(report, 80)
    assert narrow == printed(report, 120)
    assert max(len(line.rstrip()) for line in narrow) <= 80
    assert narrow[-3].split()[:2] == ["1–7", "climatology"]
    # what is not done is said, and the scores are not those of online calibration
    assert narrow[-1] == "not done with `ahead`: online calibration, decision cost"
    assert target["calibration"] == "fixed"
    assert json.loads(json.dumps(target, allow_nan=False)) == target


def spoilt(folder: Path) -> dict[str, Any]:
    """Return a reference without a usable row."""
    rows = sensor_rows(1).with_columns(s2=pl.lit("x"))
    rows.write_parquet(folder / "spoilt.parquet")
    return {"path": str(folder / "spoilt.parquet")}


def test_unusable_reference_is_refused(short: Path) -> None:
    """A reference without a usable row is the user's mistake, in one sentence."""
    stream_file(short.parent, forecasts=FORECASTS, reference=spoilt(short.parent))
    done = tidegauge("backtest", short)
    assert (done.code, done.out) == (2, "")
    assert "none of the 168 rows of the reference can be used" in done.err


def test_rejected_rows_are_counted(tmp_path: Path) -> None:
    """Rows that break the contract are no part of the evaluation, and it says how many they are."""
    rows = sensor_rows(1).with_columns(
        s2=pl.when(pl.int_range(HOURS) < 8)
        .then(pl.lit("x"))
        .otherwise(pl.col("s2").cast(pl.String)),
        s1=pl.lit(3.0),
    )
    rows.write_parquet(tmp_path / "reference.parquet")
    file = stream_file(tmp_path, forecasts=[{"target": "s1", "features": ["s2"]}])
    report = backtest_stream(load_stream(file))
    assert report.to_json()["rows"] == {"in": HOURS, "used": HOURS - 8, "rejected": 8}
    assert printed(report, 80)[0] == "rows: 168 in = 160 used + 8 rejected"
    # a constant: climatology that was chosen is not taken for the one it is compared with
    (target,) = report.to_json()["targets"]
    assert [row["forecaster"] for row in target["summary"]] == ["as chosen", "climatology"]
    assert [row["crps"] for row in target["summary"]] == [0, 0]


def test_stream_without_forecasts_is_refused(short: Path) -> None:
    """There is nothing to evaluate, and the key that is missing is named."""
    stream_file(short.parent, forecasts=[])
    done = tidegauge("backtest", short, "--json")
    assert (done.code, done.out) == (2, "")
    assert "no `forecasts:`" in done.err
