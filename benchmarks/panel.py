"""Panels: 1,000 made-up series beside mlforecast, and hourly temperatures at three airports.

Run by ``python -m benchmarks.panel``; about two minutes. The first run installs mlforecast into an
environment of its own, under `benchmarks/.data`.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import lightgbm  # noqa: F401 (loaded here, so that no forecaster's time holds its import)
import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.measure import machine, print_table
from benchmarks.peers.environments import python_of
from pipelines.demo import AIRPORTS, hourly_weather
from schemas.stream import Stream
from transforms.forecast.empirical import sample_quantiles
from transforms.forecast.panel.backtest import FITTED, backtest_panel
from transforms.forecast.panel.fit import fit_naive, fit_panel
from transforms.forecast.panel.grid import read_panel
from transforms.scores import interval_coverage, pinball_loss

Floats = NDArray[np.float64]
Answer = TypeVar("Answer")

LEVELS = (0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95)
SERIES, DAYS, HORIZON, WEEK = 1_000, 500, 28, 7
START = np.datetime64("2024-01-01", "us")
SEED = 20260103
#: sensors whose last values are read, beside the temperature's own past
SENSORS = ("dewp", "humid", "pressure", "visib", "wind_speed")


@dataclass(frozen=True, slots=True)
class Result:
    """What one forecaster gave for the last days of the made-up series."""

    quantiles: Floats  #: shape (series · horizon, levels)
    lower: Floats
    upper: Floats
    fit: float  #: CPU seconds
    forecast: float


def main() -> None:
    """Print both tables."""
    print(machine() + "\n")
    with threadpool_limits(1):
        _made_up()
        _weather()


def made_up_series(seed: int = SEED) -> Floats:
    """Return weekly seasonal series with autoregressive noise, shape (series, days).

    y = max(0, L + b t + a w[t mod 7] + u) with u an AR(1) of φ ~ U(0, .7) and innovations of scale
    L·U(.05, .2), 1.8 times that on days 5 and 6 of the week: normal for half of the series, t(4)/√2
    for a quarter, Exp(1) − 1 for a quarter; L = exp N(3, .5), a = L·U(.05, .4), b = L·N(0, 5e-4), w
    standard normal.
    """
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(3, 0.5, SERIES))
    amplitude = level * rng.uniform(0.05, 0.4, SERIES)
    slope = level * rng.normal(0, 5e-4, SERIES)
    profile = rng.normal(size=(SERIES, WEEK))
    memory = rng.uniform(0, 0.7, SERIES)
    scale = level * rng.uniform(0.05, 0.2, SERIES)
    shock = rng.normal(size=(SERIES, DAYS))
    third, fourth = np.arange(SERIES) % 4 == 2, np.arange(SERIES) % 4 == 3
    shock[third] = rng.standard_t(4, size=(third.sum(), DAYS)) / np.sqrt(2)
    shock[fourth] = rng.exponential(size=(fourth.sum(), DAYS)) - 1
    day = np.arange(DAYS)
    shock *= scale[:, None] * np.where(day % WEEK >= 5, 1.8, 1.0)
    noise, last = np.empty((SERIES, DAYS)), np.zeros(SERIES)
    for number in range(DAYS):
        last = memory * last + shock[:, number]
        noise[:, number] = last
    trend = level[:, None] + slope[:, None] * day
    return np.maximum(0, trend + amplitude[:, None] * profile[:, day % WEEK] + noise)


def _made_up() -> None:
    values = made_up_series()
    known, outcome = values[:, :-HORIZON], values[:, -HORIZON:].ravel()
    unit = np.repeat(np.abs(known[:, WEEK:] - known[:, :-WEEK]).mean(axis=1), HORIZON)
    results = {
        "climatology of each series": _climatology(known),
        "mlforecast, LightGBM, conformal": _mlforecast(known),
        **_ours(known),
    }
    rows = []
    for name, result in results.items():
        loss = pinball_loss(outcome, result.quantiles, LEVELS).mean(axis=1) / unit
        covered = interval_coverage(outcome, result.lower, result.upper)
        rows.append(
            [name, f"{result.fit + result.forecast:.1f}", f"{loss.mean():.4f}", f"{covered:.3f}"]
        )
    print(f"{SERIES:,} series of {DAYS} days, the last {HORIZON} forecast from one origin\n")
    print_table(["forecaster", "CPU s", "scaled pinball", "90 % coverage"], rows)


def _climatology(known: Floats) -> Result:
    begin = time.process_time()
    found = np.array([sample_quantiles(row, np.array(LEVELS)) for row in known])
    quantiles = np.repeat(found, HORIZON, axis=0)
    spent = time.process_time() - begin
    return Result(quantiles, quantiles[:, 0], quantiles[:, -1], spent, 0)


def _mlforecast(known: Floats) -> Result:
    script = Path(__file__).parent / "peers" / "panel_mlforecast.py"
    with tempfile.TemporaryDirectory() as folder:
        values, out = Path(folder) / "values.npy", Path(folder) / "quantiles.npy"
        np.save(values, known)
        command = [python_of("mlforecast"), "-W", "ignore", script, values, str(HORIZON), out]
        said = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        quantiles = np.load(out)
    return Result(
        quantiles, quantiles[:, 0], quantiles[:, -1], float(said.stdout.splitlines()[-1]), 0
    )


def _ours(known: Floats) -> dict[str, Result]:
    series, days = known.shape
    table = pl.DataFrame(
        {
            "key": np.repeat([f"k{number:04}" for number in range(series)], days),
            "time": np.tile(START + np.arange(days) * np.timedelta64(1, "D"), series),
            "y": known.ravel(),
        }
    )
    stream = _stream("y", ("key",), horizon="28d", step="1d", season="7d", least=0)
    spec = stream.forecasts[0]
    spent, fitted = _timed(lambda: fit_panel(table, stream, spec))
    panel = read_panel(table, fitted.design)
    naive_spent, naive = _timed(lambda: fit_naive(panel, fitted, spec))
    results = {}
    last = START.item() + timedelta(days=days - 1)
    for name, cost, model in (
        ("seasonal naive, conformal", naive_spent, naive),
        ("tidegauge", spent, fitted),
    ):
        took, found = _timed(functools.partial(model.forecast, table, last))
        quantiles = found["quantiles"].list.to_array(len(LEVELS)).to_numpy()
        lower, upper = found["lower"].to_numpy(), found["upper"].to_numpy()
        results[name] = Result(quantiles, lower, upper, cost, took)
    return results


def _weather() -> None:
    wide = hourly_weather()
    table = pl.concat(
        wide.select(
            "time",
            *(pl.col(f"{airport}.{name}").alias(name) for name in ("temp", *SENSORS)),
            airport=pl.lit(airport),
        )
        for airport in AIRPORTS
    )
    rows = []
    for name, sensors in (("own past", ()), ("own past and five sensors", SENSORS)):
        stream = _stream(
            "temp", ("airport",), sensors, horizon="24h", step="1h", season="24h", least=None
        )
        spent, tested = _timed(
            functools.partial(backtest_panel, table, stream, stream.forecasts[0])
        )
        for row in tested.rows:
            if row.forecaster == FITTED or not sensors:
                label = f"tidegauge, {name}" if row.forecaster == FITTED else row.forecaster
                steps = f"{row.first_step}–{row.last_step}"
                rows.append([label, steps, f"{row.pinball:.3f}", f"{row.coverage:.3f}"])
        print(
            f"{name}: skill over seasonal naive {tested.skill():.3f}, "
            f"{spent:.0f} CPU s for {len(tested.origins)} fits and their forecasts"
        )
    print("\nhourly °F at three airports, 24 hours ahead, five origins\n")
    print_table(["forecaster", "hours ahead", "pinball, °F", "90 % coverage"], rows)


def _stream(
    target: str,
    key: tuple[str, ...],
    sensors: tuple[str, ...] = (),
    *,
    least: float | None,
    **ahead: str,
) -> Stream:
    columns: dict[str, dict[str, object]] = {name: {"type": "number"} for name in sensors}
    columns[target] = {"type": "number", "role": "target", "min": least}
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "panel",
            "source": {"path": "current.parquet"},
            "reference": {"path": "reference.parquet"},
            "time": {"column": "time"},
            "key": key,
            "columns": columns,
            "window": {"length": "7d"},
            "forecasts": [{"target": target, "levels": LEVELS, "ahead": ahead}],
        }
    )


def _timed(call: Callable[[], Answer]) -> tuple[float, Answer]:
    begin = time.process_time()
    answer = call()
    return time.process_time() - begin, answer


if __name__ == "__main__":
    main()
