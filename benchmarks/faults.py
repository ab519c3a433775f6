"""Faults of a sensor, as they happen: each is put into the rows of one window of a series.

Magnitudes are given in σ, what the other sensors leave unknown of this one. What a fault changes by
less than 2 σ, root mean square over its rows, is not drawn; nor are gaps that are no more than what
the reference has in one of its own windows. What is another kind in truth is not drawn either: any
fault but `stuck` that leaves one value, and a changed dependence that leaves none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitors.explain.diagnosis import Kind

LEAST_CHANGE = 2.0  # σ, root mean square over the rows of the fault: less is not drawn
LEAST_FOLLOWED = 0.3  # correlation with the true values: less is no dependence
LEAST_GAPS = 0.1  # share of the rows lost beyond the worst window of the reference
ATTEMPTS = 1000  # draws of one fault before giving up

Floats: TypeAlias = NDArray[np.float64]
Rng: TypeAlias = np.random.Generator


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a sensor, and another one in which it may report."""

    name: str
    other: str
    factor: float
    constant: float = 0.0


#: by the sensor's own name, without its airport
UNITS: Mapping[str, Unit] = {
    "temp": Unit("°F", "°C", 5 / 9, -160 / 9),
    "dewp": Unit("°F", "°C", 5 / 9, -160 / 9),
    "humid": Unit("%", "1", 0.01),
    "wind_speed": Unit("mph", "m/s", 0.44704),
    "pressure": Unit("hPa", "inHg", 0.02952998),
    "visib": Unit("mi", "km", 1.609344),
}


@dataclass(frozen=True, slots=True)
class Series:
    """Rows in the order of time, and what is known of their sensors."""

    table: pl.DataFrame  #: all rows; the sensors are its columns but `time`
    spread: Mapping[str, float]  #: σ of each sensor, in its unit
    middle: Mapping[str, float]  #: median of each sensor
    gaps: Mapping[str, float]  #: largest share of missing values of a window of the reference

    def values(self, sensor: str) -> Floats:
        """Return all values of a sensor, NaN where missing."""
        return self.table[sensor].to_numpy().astype(np.float64)


@dataclass(frozen=True, slots=True)
class Fault:
    """A window with a fault, and the truth about it."""

    kind: Kind
    sensors: tuple[str, ...]  #: any of them is a right name
    window: pl.DataFrame
    size: float  #: in the sensor's unit, a factor, hours or a share, by kind
    begin: int  #: first row of the window with the fault


#: changes the rows [start, stop) of one sensor: the new values of it (and of others), and the size
Injector: TypeAlias = Callable[[Series, str, int, int, Rng], tuple[dict[str, Floats], float]]


def offset(
    series: Series, sensor: str, start: int, stop: int, rng: Rng
) -> tuple[dict[str, Floats], float]:
    """Read 1 to 6 σ high or low."""
    size = _signed(rng, 1.0, 6.0) * series.spread[sensor]
    return {sensor: series.values(sensor)[start:stop] + size}, size


def scale(
    series: Series, sensor: str, start: int, stop: int, rng: Rng
) -> tuple[dict[str, Floats], float]:
    """Stretch or shrink by a gain of 1.25 to 2.5 about the sensor's median."""
    gain = np.exp(_signed(rng, np.log(1.25), np.log(2.5)))
    middle = series.middle[sensor]
    return {sensor: middle + gain * (series.values(sensor)[start:stop] - middle)}, float(gain)


def stuck(
    series: Series, sensor: str, start: int, stop: int, _: Rng
) -> tuple[dict[str, Floats], float]:
    """Repeat the first value."""
    values = series.values(sensor)[start:stop]
    first = float(values[np.flatnonzero(np.isfinite(values))[0]])
    return {sensor: np.full(stop - start, first)}, first


def replay(
    series: Series, sensor: str, start: int, stop: int, rng: Rng
) -> tuple[dict[str, Floats], float]:
    """Repeat an earlier stretch that begins at any hour, or shuffle the values."""
    values, length = series.values(sensor), stop - start
    if rng.random() < 0.5 or start < 2 * length:
        return {sensor: rng.permutation(values[start:stop])}, 0.0
    begin = int(rng.integers(start - length))
    return {sensor: values[begin : begin + length]}, 1.0


def noise(
    series: Series, sensor: str, start: int, stop: int, rng: Rng
) -> tuple[dict[str, Floats], float]:
    """Add white noise of 1.5 to 4 σ."""
    size = float(rng.uniform(1.5, 4.0)) * series.spread[sensor]
    return {
        sensor: series.values(sensor)[start:stop] + size * rng.standard_normal(stop - start)
    }, size


def lag(
    series: Series, sensor: str, start: int, stop: int, rng: Rng
) -> tuple[dict[str, Floats], float]:
    """Read 2 to 12 hours late."""
    hours = int(rng.integers(2, 13))
    return {sensor: series.values(sensor)[start - hours : stop - hours]}, float(hours)


def unit(
    series: Series, sensor: str, start: int, stop: int, _: Rng
) -> tuple[dict[str, Floats], float]:
    """Report in another unit of the same quantity."""
    own = unit_of(sensor)
    return {sensor: own.factor * series.values(sensor)[start:stop] + own.constant}, own.factor


def swapped(
    series: Series, sensor: str, start: int, stop: int, rng: Rng
) -> tuple[dict[str, Floats], float]:
    """Exchange with any other sensor."""
    others = [name for name in series.table.columns if name not in ("time", sensor)]
    other = str(rng.choice(others))
    return {
        sensor: series.values(other)[start:stop],
        other: series.values(sensor)[start:stop],
    }, 0.0


def clipped(
    series: Series, sensor: str, start: int, stop: int, rng: Rng
) -> tuple[dict[str, Floats], float]:
    """Cut off a tenth to a half of the values at the top, or at the bottom."""
    values = series.values(sensor)[start:stop]
    share, top = float(rng.uniform(0.1, 0.5)), rng.random() < 0.5
    limit = float(np.nanquantile(values, 1 - share if top else share))
    cut = np.fmin if top else np.fmax
    return {sensor: np.where(np.isnan(values), np.nan, cut(values, limit))}, limit


def missing(
    series: Series, sensor: str, start: int, stop: int, rng: Rng
) -> tuple[dict[str, Floats], float]:
    """Lose a tenth to six tenths of the values, here and there or in one stretch."""
    values, share = series.values(sensor)[start:stop].copy(), float(rng.uniform(0.1, 0.6))
    length = round(share * len(values))
    if rng.random() < 0.5:
        begin = int(rng.integers(len(values) - length))
        lost = np.arange(begin, begin + length)
    else:
        lost = rng.choice(len(values), length, replace=False)
    values[lost] = np.nan
    return {sensor: values}, share


def drift(
    series: Series, sensor: str, start: int, stop: int, rng: Rng
) -> tuple[dict[str, Floats], float]:
    """Leave the truth in a straight line, by 3 to 10 σ at the end of the window."""
    size = _signed(rng, 3.0, 10.0) * series.spread[sensor]
    ramp = np.linspace(0.0, size, stop - start)
    return {sensor: series.values(sensor)[start:stop] + ramp}, size


def dependence(
    series: Series, sensor: str, start: int, stop: int, rng: Rng
) -> tuple[dict[str, Floats], float]:
    """Put the window's own values into an order whose ranks follow the true ones by ρ = .4 to .8.

    Every value is still there; the normal scores of the ranks are correlated by ρ.
    """
    values = series.values(sensor)[start:stop].copy()
    at = np.flatnonzero(np.isfinite(values))
    rho = float(rng.uniform(0.4, 0.8))
    ranks = np.argsort(np.argsort(values[at] + 1e-9 * rng.standard_normal(len(at))))
    scores = np.sort(rng.standard_normal(len(at)))[ranks]
    mixed = rho * scores + np.sqrt(1 - rho**2) * rng.standard_normal(len(at))
    values[at] = np.sort(values[at])[np.argsort(np.argsort(mixed))]
    return {sensor: values}, rho


FAULTS: Mapping[Kind, Injector] = {
    "offset": offset,
    "scale": scale,
    "stuck": stuck,
    "replay": replay,
    "noise": noise,
    "lag": lag,
    "unit": unit,
    "swapped": swapped,
    "clipped": clipped,
    "missing": missing,
    "drift": drift,
    "dependence": dependence,
}


def draw(
    kind: Kind,
    series: Series,
    windows: Sequence[tuple[int, int]],
    rng: Rng,
    *,
    within: bool = False,
) -> Fault:
    """Draw a sensor, a window and a magnitude until the fault can be seen.

    Parameters
    ----------
    windows : first row, and the row after the last, of the windows to choose from.
    within : the fault begins somewhere in the middle half of the window, not with it.

    Raises
    ------
    RuntimeError
        When nothing that can be seen was drawn.
    """
    sensors = [name for name in series.table.columns if name != "time"]
    for _ in range(ATTEMPTS):
        sensor = str(rng.choice(sensors))
        first, stop = windows[int(rng.integers(len(windows)))]
        length = stop - first
        start = first + int(rng.integers(length // 4, 3 * length // 4)) * within
        changed, size = FAULTS[kind](series, sensor, start, stop, rng)
        true = series.values(sensor)[start:stop]
        if not _visible(kind, series, sensor, changed[sensor], true):
            continue
        window = series.table.slice(first, length).with_columns(
            pl.Series(
                name,
                np.concatenate([series.values(name)[first:start], values]),
                nan_to_null=True,
            )
            for name, values in changed.items()
        )
        return Fault(kind, tuple(changed), window, size, start - first)
    message = f"{kind}: no fault that can be seen in {ATTEMPTS} draws"
    raise RuntimeError(message)


def unit_of(sensor: str) -> Unit:
    """Return the unit of a sensor."""
    return UNITS[sensor.rsplit(".", 1)[-1]]


def _visible(kind: Kind, series: Series, sensor: str, values: Floats, true: Floats) -> bool:
    if kind == "missing":
        return float(np.mean(np.isnan(values))) >= series.gaps[sensor] + LEAST_GAPS
    there = np.isfinite(values) & np.isfinite(true)
    if not there.any() or (kind != "stuck" and np.ptp(values[there]) == 0):
        return False
    if kind == "dependence" and np.corrcoef(values[there], true[there])[0, 1] < LEAST_FOLLOWED:
        return False  # values that tie, such as those of visibility, were put in any order
    change = float(np.sqrt(np.mean((values - true)[there] ** 2)))
    return change >= LEAST_CHANGE * series.spread[sensor]


def _signed(rng: Rng, low: float, high: float) -> float:
    return float(rng.choice([-1.0, 1.0]) * rng.uniform(low, high))
