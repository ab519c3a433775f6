"""Rows as points: every column in units of the reference's spread, and shifts back in its own.

A number is centred and divided by its spread in the reference, a category becomes one indicator per
value. Indicators are divided by √(1 − Σ p²), so that a category, like a number, has a total
variance of 1 in the reference; a boolean is then the same as a standardised 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from schemas.stream import Column

MAX_LEVELS = 16  # of a category; all rarer values are one more
LEAST_VALUES = 0.5  # share of the rows with a value, on each side, that a column has to have
_TAIL = 0.025  # winsorised on each side: one wild value in forty does not set the scale
_LEAST_IMPURITY = 0.02  # of a category whose reference is all but one value
_MISSING = ""  # the level of a category's missing values
_OTHER = "\0other"


@dataclass(frozen=True, slots=True)
class Axis:
    """How one column becomes coordinates."""

    name: str
    centre: float
    spread: float
    levels: tuple[str, ...] = ()  #: of a category, the most frequent first; none of a number
    boolean: bool = False

    @property
    def width(self) -> int:
        """Number of coordinates."""
        return len(self.levels) or 1


@dataclass(frozen=True, slots=True)
class Coordinates:
    """The columns of two tables as coordinates."""

    axes: tuple[Axis, ...]

    @property
    def groups(self) -> list[NDArray[np.intp]]:
        """Coordinates of each axis."""
        ends = np.cumsum([axis.width for axis in self.axes])
        starts = ends - [axis.width for axis in self.axes]
        return [np.arange(low, high) for low, high in zip(starts, ends, strict=True)]

    @property
    def numbers(self) -> NDArray[np.intp]:
        """Coordinates that are numbers, not indicators."""
        own = [group for axis, group in zip(self.axes, self.groups, strict=True) if not axis.levels]
        return np.concatenate([np.array([], dtype=np.intp), *own])

    @property
    def categories(self) -> list[NDArray[np.intp]]:
        """Coordinates of each category."""
        return [group for axis, group in zip(self.axes, self.groups, strict=True) if axis.levels]

    def of(self, table: pa.Table, rng: np.random.Generator) -> FloatArray:
        """Return rows as points, shape (rows, coordinates), without gaps.

        A missing number is given the value of another row of the same table, drawn at random: its
        column keeps its distribution, and no row is lost. A missing category is a value of its own.
        """
        points = np.empty((table.num_rows, sum(axis.width for axis in self.axes)))
        for axis, group in zip(self.axes, self.groups, strict=True):
            if axis.levels:
                codes = _codes(table[axis.name], axis.levels)
                points[:, group] = (codes[:, None] == np.arange(axis.width)) / axis.spread
                continue
            values = _numbers(table[axis.name])
            gaps = np.isnan(values)
            if gaps.any():
                values[gaps] = rng.choice(values[~gaps], int(gaps.sum()))
            points[:, group[0]] = (values - axis.centre) / axis.spread
        return points

    def moves(self, shift: FloatArray) -> list[float]:
        """Return a shift of the mean per column, in the column's unit.

        Of a boolean it is the change of the share of true rows, of any other category the share of
        the rows whose value changes.
        """
        found = []
        for axis, group in zip(self.axes, self.groups, strict=True):
            own = shift[group] * axis.spread
            if axis.boolean:
                found.append(float(own[axis.levels.index("true")]))
            else:
                found.append(float(0.5 * np.abs(own).sum() if axis.levels else own[0]))
        return found

    def places(self, point: FloatArray) -> list[float]:
        """Return a mean point per column, in the column's unit; of categories, `levels[0]`'s share.

        Of a boolean it is the share of true rows.
        """
        found = []
        for axis, group in zip(self.axes, self.groups, strict=True):
            at = axis.levels.index("true") if axis.boolean else 0
            found.append(float(axis.centre + axis.spread * point[group[at]]))
        return found


def fit_coordinates(
    before: pa.Table, after: pa.Table, columns: Mapping[str, Column], names: Sequence[str]
) -> Coordinates:
    """Scale columns by the reference.

    Columns of times, columns that `columns` lacks, and columns that hold a value in less than half
    of the rows of either table are left out: where there is no value, there is nothing to map.
    """
    axes = []
    for name in names:
        kind = columns[name].type if name in columns else None
        if kind in ("number", "integer"):
            old, new = _numbers(before[name]), _numbers(after[name])
            if min(np.isfinite(old).mean(), np.isfinite(new).mean()) >= LEAST_VALUES:
                old, new = old[~np.isnan(old)], new[~np.isnan(new)]
                axes.append(Axis(name, float(old.mean()), _spread(old, new)))
        elif kind in ("category", "boolean"):
            axes.append(_category(name, before[name], after[name], boolean=kind == "boolean"))
    return Coordinates(tuple(axes))


def _spread(old: FloatArray, new: FloatArray) -> float:
    """Return the winsorised standard deviation, or the first measure of spread that is not 0."""
    low, high = np.quantile(old, [_TAIL, 1.0 - _TAIL])
    size = np.abs(old).max()
    for spread in (np.clip(old, low, high).std(), old.std(), np.concatenate([old, new]).std()):
        if spread > 1e-9 * size:
            return float(spread)
    return 1.0


def _category(name: str, before: pa.ChunkedArray, after: pa.ChunkedArray, *, boolean: bool) -> Axis:
    old, new = _texts(before), _texts(after)
    levels, codes = np.unique(np.concatenate([old, new]), return_inverse=True)
    counts = np.bincount(codes[: len(old)], minlength=len(levels))
    both = np.bincount(codes)
    order = np.lexsort((levels, -both))
    kept = [str(levels[i]) for i in order[:MAX_LEVELS]]
    if boolean:
        kept = ["false", "true", *(level for level in kept if level == _MISSING)]
    elif len(levels) > MAX_LEVELS:
        kept.append(_OTHER)
    impurity = 1.0 - float(((counts / len(old)) ** 2).sum())
    if impurity < _LEAST_IMPURITY:
        impurity = max(1.0 - float(((both / both.sum()) ** 2).sum()), _LEAST_IMPURITY)
    return Axis(name, 0.0, float(np.sqrt(impurity)), tuple(kept), boolean)


def _codes(values: pa.ChunkedArray, levels: tuple[str, ...]) -> NDArray[np.intp]:
    place = {level: i for i, level in enumerate(levels)}
    other = len(levels) - 1
    return np.array([place.get(text, other) for text in _texts(values)], dtype=np.intp)


def _texts(values: pa.ChunkedArray) -> NDArray[np.str_]:
    texts = pc.fill_null(values.cast(pa.string()), _MISSING)
    return np.array(texts.to_pylist(), dtype=np.str_)


def _numbers(values: pa.ChunkedArray) -> FloatArray:
    """Return numbers with NaN for what is missing or infinite; a copy."""
    found = np.array(values.cast(pa.float64()).to_numpy(), dtype=np.float64)
    found[~np.isfinite(found)] = np.nan
    return found
