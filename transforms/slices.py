"""Coverage and width of intervals by slice of the rows, and which slice does not hold its promise.

Right on average is not right everywhere: an interval may cover nine in ten by covering all calm
days and half of the stormy ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import special

from transforms.calibration_tests import long_run_covariance
from transforms.scores import interval_misses, winkler_score

Floats = NDArray[np.float64]

WIDTH, MIDDLE = "width of the interval", "middle of the interval"
_BINS = 5  # of a number, of equal counts
_MOST_VALUES = 20  # of a category; the others are one slice
_FEWEST_ROWS = 50  # fewer say little of coverage, and cost every other slice its share of the level


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows with one value of a column, or values within a range."""

    column: str
    value: str
    rows: int  #: with an outcome
    coverage: float
    width: float  #: mean; inf when one interval is infinite
    winkler: float  #: mean interval score
    p_value: float  #: that it covers its share or more, for all slices together


def coverage_slices(
    columns: pl.DataFrame,
    outcome: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    interval: float,
) -> list[Slice]:
    """Measure every slice of every column, and of the intervals' own width and middle.

    Numbers and times are cut into fifths of equal counts; texts and booleans by value; missing
    values are a slice. Slices of fewer than 50 rows with an outcome are left out.

    The test of a slice is the binomial one of more misses than the nominal rate: a closed interval
    of a target with point masses may rightly cover more, never less. Rows that depend on those
    before them hold fewer independent ones: counts are divided by the ratio, at least 1, of the
    long-run variance of misses to that of independent ones (the design effect).
    p-values are adjusted for the number of slices by Holm's step-down (Scandinavian Journal of
    Statistics 1979), which holds whatever the dependence between slices: overlapping ones are
    allowed, and the smallest is that of the worst slice.

    Parameters
    ----------
    columns : DataFrame, n rows in order of time (where they have one)
    outcome, lower, upper : arrays, shape (n,)
        NaN outcome: the row is left out.
    interval : float in (0, 1)
        Nominal coverage.

    Returns
    -------
    list of Slice, the most surprising first
    """
    y, lo, hi = (np.asarray(part, np.float64) for part in (outcome, lower, upper))
    known = np.isfinite(y) & ~np.isnan(lo) & ~np.isnan(hi)
    y, lo, hi, columns = y[known], lo[known], hi[known], columns.filter(pl.Series(known))
    below, above = interval_misses(y, lo, hi)
    missed, width = below | above, hi - lo
    score = winkler_score(y, lo, hi, interval)
    finite = np.isfinite(width)
    own = {
        name: pl.Series(np.where(finite, values, np.nan)).fill_nan(None)
        for name, values in ((WIDTH, width), (MIDDLE, np.where(finite, lo, 0.0) + width / 2))
    }
    effect = design_effect(missed, 1 - interval)
    found = []
    for name, column in [(c.name, c) for c in columns] + list(own.items()):
        for value, rows in _values(column):
            if (count := int(rows.sum())) < _FEWEST_ROWS or count == len(y):
                continue
            misses = int(missed[rows].sum())
            found.append(
                Slice(
                    column=name,
                    value=value,
                    rows=count,
                    coverage=1 - misses / count,
                    width=float(width[rows].mean()),
                    winkler=float(score[rows].mean()),
                    p_value=_as_many(misses / effect, count / effect, 1 - interval),
                )
            )
    return _holm(sorted(found, key=lambda one: one.p_value))


def design_effect(missed: ArrayLike, rate: float) -> float:
    """Return how many rows weigh as one independent row, at least 1.

    Parameters
    ----------
    missed : bool array, shape (n,), in order of time
    rate : float in (0, 1), expected share of misses
    """
    values = np.asarray(missed, np.float64)
    if len(values) < _FEWEST_ROWS:
        return 1.0
    share = min(max(float(values.mean()), rate), 0.5)
    long_run = long_run_covariance(values[:, None] - values.mean())
    return max(1.0, float(long_run[0, 0]) / (share * (1 - share)))


def _values(column: pl.Series) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the slices of a column: what each is called, and which rows it has."""
    missing = column.is_null()
    if column.dtype.is_float():
        missing = missing | column.is_nan().fill_null(value=False)
    slices = [("missing", missing.to_numpy())]
    if column.dtype.is_numeric() or column.dtype.is_temporal():
        numbers = column.to_physical().cast(pl.Float64).fill_null(np.nan).to_numpy()
        return slices + _fifths(column, numbers)
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Boolean):
        return slices
    texts = column.cast(pl.String)
    counts = texts.drop_nulls().value_counts(sort=True)
    frequent = counts.sort(["count", texts.name], descending=[True, False])[texts.name]
    named = frequent.head(_MOST_VALUES).to_list()
    slices += [(value, (texts == value).fill_null(value=False).to_numpy()) for value in named]
    if len(frequent) > len(named):
        slices.append(("other", (~texts.is_in(named) & texts.is_not_null()).to_numpy()))
    return slices


def _fifths(column: pl.Series, numbers: Floats) -> list[tuple[str, NDArray[np.bool_]]]:
    known = numbers[~np.isnan(numbers)]
    if len(known) == 0:
        return []
    steps = np.arange(1, _BINS) / _BINS
    # an edge is a value that is there; of ties none is torn apart
    edges = np.unique(np.quantile(known, steps, method="inverted_cdf"))
    place = np.searchsorted(edges, numbers, side="left")
    place[np.isnan(numbers)] = -1
    slices = []
    for bin_ in range(len(edges) + 1):
        rows = place == bin_
        if not rows.any():
            continue
        lowest, highest = (
            column.gather([int(np.flatnonzero(rows)[end(numbers[rows])])])[0]
            for end in (np.argmin, np.argmax)
        )
        same = lowest == highest
        slices.append((_text(lowest) if same else f"{_text(lowest)} to {_text(highest)}", rows))
    return slices


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _as_many(misses: float, rows: float, rate: float) -> float:
    """Chance of so many misses or more under the binomial law; counts may be fractions."""
    return float(special.betainc(misses, rows - misses + 1, rate)) if misses > 0 else 1.0


def _holm(slices: Sequence[Slice]) -> list[Slice]:
    """Return slices in order of p-value with p-values adjusted for their number."""
    adjusted, largest = [], 0.0
    for place, one in enumerate(slices):
        largest = max(largest, min(1.0, one.p_value * (len(slices) - place)))
        adjusted.append(replace(one, p_value=largest))
    return adjusted
