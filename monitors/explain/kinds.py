"""Explanations of how a sensor reads, each a law of the observed given the expected values.

An explanation gives every row a log-probability. With x the value expected, a sensor reads

    offset      x + b
    drift       x + b·(a ramp from 0 to 1)
    scale       a + g·x, and its residual is g times wider
    unit        the same, with a and g of a known conversion
    lag         what was expected some rows earlier, or later
    clipped     the least of x and a limit, or the greatest (a censored law; Tobin 1958)
    stuck       one value
    noise       x and more noise around it
    dependence  a + g·x, and noise around it
    replay      values of some level and spread, which have nothing to do with x

with parameters of greatest likelihood; the last three are in `monitors.explain.unsteady`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from monitors.explain.residual_law import ResidualLaw, student_regression
from monitors.explain.series import (
    SLOPE,
    Explanation,
    Series,
    near_level,
    plain_mass,
    sound,
    steady_mass,
    wide_mass,
)
from monitors.explain.units import conversions
from monitors.explain.unsteady import unsteady

_LEAST_TIED = 0.05  # share of the rows at a limit, before it is one
_LEAST_STUCK = 0.9  # share of the rows with the one value
_MOST_LAG = 24  # rows
_SOME = 64  # rows by which a conversion is chosen
_FAR = 20.0  # scales: a conversion that leaves more is none


def explanations(rows: Series, law: ResidualLaw, unit: str | None) -> list[Explanation]:
    """Return every explanation by the expected value of the feature itself."""
    at = np.log(len(rows) / law.dependence + 1)  # of one parameter: BIC (Schwarz 1978), times two
    found = [sound(rows, law)]
    found += _offset_and_scale(rows, law, at)
    found += _drift(rows, law, at)
    found += _unit(rows, law, unit)
    found += _lag(rows, law)
    found += _clipped(rows, law, at)
    found += _stuck(rows, law, at)
    found.append(unsteady(rows, law, at))
    return found


def _offset_and_scale(rows: Series, law: ResidualLaw, at: float) -> Iterator[Explanation]:
    middle = float(np.median(rows.expected))
    design = np.column_stack([np.ones(len(rows)), rows.expected - middle])
    (level, slope), _ = student_regression(rows.observed, design, rows.scale, law.degrees)
    near = float(np.clip(slope, 1 / SLOPE, SLOPE))
    residual = rows.observed - near * (rows.expected - middle)
    (about,), _ = student_regression(residual, design[:, :1], rows.scale, law.degrees)
    mass = plain_mass(residual - about, near * rows.scale, law, rows)
    yield Explanation("offset", mass, at / 2, about - middle)
    moves = abs(slope) * np.ptp(rows.expected) > rows.cell
    if near != slope and moves:
        residual = rows.observed - level - slope * (rows.expected - middle)
        mass = plain_mass(residual, abs(slope) * rows.scale, law, rows)
        yield Explanation("scale", mass, at, slope)


def _drift(rows: Series, law: ResidualLaw, at: float) -> Iterator[Explanation]:
    middle = float(np.median(rows.expected))
    ramp = np.linspace(0.0, 1.0, len(rows))
    if rows.times is not None and rows.times[-1] > rows.times[0]:
        ramp = (rows.times - rows.times[0]) / (rows.times[-1] - rows.times[0])
    design = np.column_stack([ramp, rows.expected - middle])
    target = rows.observed - middle
    (_, slope), _ = student_regression(target, design, rows.scale, law.degrees)
    near = float(np.clip(slope, 1 / SLOPE, SLOPE))
    residual = target - near * design[:, 1]
    (size,), _ = student_regression(residual, ramp[:, None], rows.scale, law.degrees)
    mass = steady_mass(residual - size * ramp, near * rows.scale, law, rows)
    yield Explanation("drift", mass, at / 2, size)


def _unit(rows: Series, law: ResidualLaw, unit: str | None) -> Iterator[Explanation]:
    known = list(conversions(unit))
    some = slice(None, None, len(rows) // _SOME + 1)
    factors, constants = np.array([(each.factor, each.constant) for each in known]).T[:, :, None]
    residual = rows.observed[some] - factors * rows.expected[some] - constants
    far = np.median(np.abs(residual / factors) / rows.scale[some], axis=1)
    if far.min() >= _FAR:
        return
    each = known[int(far.argmin())]
    residual, slope = near_level(rows, each.factor * rows.expected + each.constant, law)
    scale = slope * abs(each.factor) * rows.scale
    mass = steady_mass(residual, scale, law, rows)
    yield Explanation("unit", mass, np.log(len(known)), each.factor, each)


def _lag(rows: Series, law: ResidualLaw) -> Iterator[Explanation]:
    best: tuple[float, int, NDArray[np.intp], NDArray[np.intp]] | None = None
    if rows.times is not None and law.step is None:  # rows share their times: none is before
        return
    for steps in (*range(1, _MOST_LAG + 1), *range(-_MOST_LAG, 0)):
        now, then = _apart(rows, law, steps)
        if len(now) < max(20, len(rows) // 2):
            continue
        z = (rows.observed[now] - rows.expected[then]) / rows.scale[then]
        far = float(np.mean(np.log1p(z**2)))
        if best is None or far < best[0]:
            best = far, steps, now, then
    if best is None:
        return
    _, steps, now, then = best
    residual = rows.observed[now] - rows.expected[then]
    known = steady_mass(residual, rows.scale[then], law, rows)
    mass = np.full(len(rows), known.mean())  # what the others should read lies outside the window
    mass[now] = known
    yield Explanation("lag", mass, np.log(2 * _MOST_LAG), float(steps))


def _apart(rows: Series, law: ResidualLaw, steps: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows that have another one so many steps before, and that one."""
    if rows.times is None or law.step is None:
        at = np.arange(len(rows))
        now = at[(at >= steps) & (at < len(rows) + steps)]
        return now, now - steps
    wanted = rows.times - round(steps * law.step)
    place = np.minimum(np.searchsorted(rows.times, wanted), len(rows) - 1)
    now = np.flatnonzero(rows.times[place] == wanted)
    return now, place[now]


def _clipped(rows: Series, law: ResidualLaw, at: float) -> Iterator[Explanation]:
    plain = steady_mass(rows.observed - rows.expected, rows.scale, law, rows)
    for sign in (1.0, -1.0):
        limit = float(np.max(sign * rows.observed))
        tied = sign * rows.observed == limit
        own = sign * limit in rows.ends  # where the sensor has always ended
        if _LEAST_TIED <= tied.mean() < 1 and not own:
            beyond = law.log_tail(limit - sign * rows.expected, rows.scale)
            mass = np.where(tied, beyond, plain)
            yield Explanation("clipped", mass, at / 2, sign * limit, above=sign > 0)


def _stuck(rows: Series, law: ResidualLaw, at: float) -> Iterator[Explanation]:
    values, counts = np.unique(rows.observed, return_counts=True)
    value, tied = float(values[np.argmax(counts)]), float(counts.max() / len(rows))
    if tied >= _LEAST_STUCK:
        mass = np.full(len(rows), np.log(tied))
        odd = rows.observed != value
        if odd.any():
            wide = wide_mass(rows.observed - value, law, rows, law.spread)
            mass[odd] = np.log1p(-tied) + wide[odd]
        yield Explanation("stuck", mass, at / 2, value)
