"""Feature attributions: exactness, the two kinds on a correlated pair, and a stuck sensor's week.

Run by ``python -m benchmarks.feature_attributions``; about two minutes.

- *exact*: interventional values of a boosting with six features against every coalition.
- *pair*: a forecaster that reads one of two correlated features; the values of both, by kind.
- *weather*: every other week of a year at three airports is the reference of the demo's forecaster.
  Each sensor of another airport is stuck through each week between: at what it read when the week
  began. Does the monitor alarm, does it name that sensor first, and how often does it alarm when
  the week is as it was?
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.weather_replay import BUDGETS, LEAST_HOURS
from monitors.attribute.feature_attributions import (
    AttributionNull,
    AttributionResult,
    attribution_null,
    compare_attributions,
    watched_values,
)
from monitors.attribute.feature_values import Kind, feature_values
from pipelines.demo import BROKEN, SENSORS, WEEK_SECONDS, hourly_weather, split_weeks
from schemas.forecasts import DEFAULT_LEVELS
from schemas.stream import CalendarTerm
from tests.transforms.forecast.shapley_oracle import by_enumeration, grown, intervened
from transforms.calendar import calendar_names, calendar_terms
from transforms.forecast.attributions import AdditiveTrees
from transforms.forecast.features import learn_features
from transforms.forecast.fitted import Fitted
from transforms.forecast.location_scale import LocationScale
from transforms.forecast.select import contiguous_folds, fit_forecaster

TESTS = 5  # of one window of the demo with this monitor, which share its budget evenly
CALENDAR: tuple[CalendarTerm, ...] = ("hour_of_day", "day_of_year")
KINDS: tuple[Kind, ...] = ("interventional", "observational", "path")
FOLDS, SEED = 5, 20_260_101
STUCK = ("EWR.temp", "JFK.temp", "JFK.dewp", "EWR.pressure")


@dataclass(slots=True)
class Tally:
    """Counts over the watched weeks."""

    weeks: int = 0
    false: int = 0
    found: Counter[str] = field(default_factory=Counter)  #: weeks with an alarm, by stuck sensor
    named: Counter[str] = field(default_factory=Counter)  #: of them, those that name it first
    first: Counter[str] = field(default_factory=Counter)  #: weeks in which it is first in rank
    seconds: float = 0.0  #: CPU seconds of a window


def exact(rng: np.random.Generator) -> None:
    """Print how far the values are from those of every coalition."""
    X = rng.normal(size=(2000, 6))
    y = X[:, 0] * X[:, 1] + np.abs(X[:, 2]) + X[:, 3] * (X[:, 4] > 0)
    trees = AdditiveTrees((grown(X, y, [], 100),), (1.0,), 0.0)
    rows, background = X[:20], X[1000:1100]
    start = time.process_time()
    values, _ = trees.interventional_values(rows, background)
    took = time.process_time() - start
    start = time.process_time()
    expected = by_enumeration(intervened(trees.predict, rows, background), 6)
    brute = time.process_time() - start
    print(
        f"exact: 100 trees, 6 features, 20 rows, background of 100: largest difference from "
        f"every coalition {np.abs(values - expected).max():.1e}; {took:.2f} CPU-s, "
        f"every coalition {brute:.1f} CPU-s"
    )


def pair(rng: np.random.Generator) -> None:
    """Print the mean size of the values of a read feature and of one like it."""
    X, rho = rng.normal(size=(4000, 2)), 0.9
    X[:, 1] = rho * X[:, 0] + np.sqrt(1 - rho**2) * X[:, 1]
    booster = grown(X * [1.0, 0.0], X[:, 0], [], 80)
    model = LocationScale((booster, "", ""), 0.0, 1.0, (-1.0, 0.0, 1.0), (-9.0, 9.0))
    table = pl.DataFrame({"read": X[:, 0], "ignored": X[:, 1]})
    fitted = Fitted("y", (0.1, 0.5, 0.9), learn_features(table, table.columns), model, {})
    print(f"\npair: f = x_read, correlation {rho}; mean |value|, and that of the closed form")
    own, other = X[:500, 0], X[:500, 1]
    closed = {
        "interventional": (own, 0.0 * own),
        "observational": (own - rho * other / 2, rho * other / 2),
    }
    for kind in KINDS:
        found = feature_values(fitted, table[:500], table[1000:], kind)
        sizes = np.abs(found.values).mean(axis=0)
        says = f"  {kind:14}  read {sizes[0]:.3f}  ignored {sizes[1]:.3f}"
        if kind in closed:
            says += "   closed form {:.3f}, {:.3f}".format(
                *(np.abs(part).mean() for part in closed[kind])
            )
        print(says)


def weather() -> None:
    """Print what the monitor says of the demo's weeks, as they are and with a sensor stuck."""
    even, odd = split_weeks(hourly_weather())
    print("\nweather: weeks, alarms when clean; by stuck sensor: alarmed/named/first in rank")
    for name, before, watched in (("even", even, odd), ("odd", odd, even)):
        fitted, null, frame = fit(before)
        weeks = with_calendar(watched).with_columns(
            week=pl.col("time").dt.epoch("s") // WEEK_SECONDS
        )
        if name == "even":
            kinds(fitted, frame, weeks.head(168))
        for budget, level in {"1 per 30d": 7 / 30, **BUDGETS}.items():
            tally = evaluate(fitted, null, weeks, level / TESTS)
            told = "  ".join(
                f"{s} {tally.found[s]}/{tally.named[s]}/{tally.first[s]}" for s in STUCK
            )
            print(
                f"  {name}, {budget}: {tally.weeks} weeks, {tally.false} false;  {told};  "
                f"{tally.seconds:.2f} CPU-s a window"
            )


def with_calendar(table: pl.DataFrame) -> pl.DataFrame:
    """Return the weather with the calendar terms of its times."""
    terms = calendar_terms(table.to_arrow()["time"], CALENDAR)
    names = calendar_names(CALENDAR)
    return table.with_columns(pl.Series(n, terms[:, j]) for j, n in enumerate(names))


def fit(before: pl.DataFrame) -> tuple[Fitted, AttributionNull, pl.DataFrame]:
    """Fit the demo's forecaster and the law of its attributions; tell what the latter costs."""
    frame = with_calendar(before)
    sensors = [f"{airport}.{name}" for airport in ("EWR", "JFK") for name in SENSORS]
    windows: NDArray[np.int64] = (frame["time"].dt.epoch("s") // WEEK_SECONDS).to_numpy()
    folds = contiguous_folds(windows, FOLDS)
    features = [*sensors, *calendar_names(CALENDAR)]
    fitted = fit_forecaster(frame, BROKEN, features, DEFAULT_LEVELS, folds, SEED)
    start = time.process_time()
    null = attribution_null(fitted, frame, windows, sensors)
    print(f"  the law of {frame.height:,} rows: {time.process_time() - start:.1f} CPU-s")
    return fitted, null, frame


def kinds(fitted: Fitted, reference: pl.DataFrame, week: pl.DataFrame) -> None:
    """Print the mean size of the values of a week by kind, and what they cost."""
    background = reference.sample(500, seed=SEED)
    for kind in KINDS:
        start = time.process_time()
        found = feature_values(fitted, week, background, kind)
        took = time.process_time() - start
        sizes = np.abs(found.values).mean(axis=0)
        most = ", ".join(f"{found.names[j]} {sizes[j]:.2f}" for j in np.argsort(-sizes)[:6])
        print(f"  {kind}: {took:.2f} CPU-s, error {found.error:.3f} °F: {most}")


def evaluate(fitted: Fitted, null: AttributionNull, weeks: pl.DataFrame, level: float) -> Tally:
    """Test every watched week as it is, and with each of some sensors stuck."""
    tally = Tally()
    start = time.process_time()

    def results(week: pl.DataFrame) -> list[AttributionResult]:
        return compare_attributions(watched_values(fitted, week, null.names), null, level)

    for week in weeks.partition_by("week", include_key=False, maintain_order=True):
        if week.height < LEAST_HOURS:
            continue
        tally.weeks += 1
        tally.false += any(item.alarm for item in results(week))
        for sensor in STUCK:
            first = week[sensor].drop_nulls()[0]
            found = results(week.with_columns(pl.lit(first).alias(sensor)))
            tally.found[sensor] += any(item.alarm for item in found)
            tally.named[sensor] += found[0].alarm and found[0].name == sensor
            tally.first[sensor] += found[0].name == sensor
    tally.seconds = (time.process_time() - start) / (tally.weeks * (1 + len(STUCK)))
    return tally


def main() -> None:
    """Print all of it."""
    rng = np.random.default_rng(SEED)
    exact(rng)
    pair(rng)
    weather()


if __name__ == "__main__":
    main()
