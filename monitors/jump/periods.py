"""Rows of a stream as one distribution per period, the periods aligned at a cutoff."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray

MOST_PERIODS = 300  # of a side, the nearest to the cutoff: a jump is a local matter
SEASONS = 30  # that tell what is usual
_LEAST_SHARE = 0.5  # of the usual rows of a period: with fewer it is not one


@dataclass(frozen=True, slots=True)
class Periods:
    """One quantile function per period, in order of time."""

    x: FloatArray  #: shape (n,): middle of the period, in periods from the cutoff: …, −0.5, 0.5, …
    functions: FloatArray  #: shape (n, q)
    rows: NDArray[np.int64]  #: shape (n,): values in the period

    @property
    def sides(self) -> tuple[int, int]:
        """How many periods there are before and after the cutoff."""
        after = int(np.count_nonzero(self.x > 0.0))
        return len(self.x) - after, after


def cut_periods(
    times: NDArray[np.int64], values: FloatArray, cutoff: int, length: int, levels: FloatArray
) -> Periods:
    """Cut rows into periods, one of which begins at the cutoff.

    Periods with less than half of the usual number of values are left out: the first and the last
    of the data, and gaps.

    Parameters
    ----------
    times : shape (m,), µs, in any order.
    values : shape (m,); NaN is no value.
    cutoff, length : µs
    levels : shape (q,), of the quantile functions, rising.
    """
    known = np.isfinite(values)
    place = (times[known] - cutoff) // length
    order = np.lexsort((values[known], place))
    place, ranked = place[order], values[known][order]
    numbers, first, rows = np.unique(place, return_index=True, return_counts=True)
    whole = rows >= _LEAST_SHARE * np.median(rows) if len(rows) else np.zeros(0, dtype=bool)
    numbers, first, rows = numbers[whole], first[whole], rows[whole]
    at = levels[None, :] * (rows[:, None] - 1)  # type 7 of Hyndman and Fan, of sorted values
    below = np.floor(at).astype(np.int64)
    above = np.minimum(below + 1, rows[:, None] - 1)
    low, high = ranked[first[:, None] + below], ranked[first[:, None] + above]
    functions = low + (at - below) * (high - low)
    return Periods(numbers.astype(np.float64) + 0.5, functions, rows)


def nearest(periods: Periods) -> Periods:
    """Return the periods nearest to the cutoff, at most `MOST_PERIODS` of a side."""
    before, _ = periods.sides
    kept = slice(max(0, before - MOST_PERIODS), before + MOST_PERIODS)
    return Periods(periods.x[kept], periods.functions[kept], periods.rows[kept])


def usual_gap(periods: Periods) -> int:
    """Return the usual distance of a period from the one before; 1 where most follow each other."""
    return int(np.median(np.diff(periods.x))) if len(periods.x) > 1 else 1


def reach(periods: Periods) -> tuple[float, float]:
    """Return how many periods the cutoff is from the nearest ones before and after it."""
    return float(-periods.x[periods.x < 0.0].max()), float(periods.x[periods.x > 0.0].min())


def without_season(periods: Periods, season: int) -> Periods:
    """Subtract what is usual at each place of a season, as the periods before the cutoff tell.

    A straight line in time and a level of each place are fitted to each quantile together; the
    levels, less their mean, are taken from each period, and the result need not be monotone.
    Without the line a trend would be cut into steps, one of them at the cutoff where the season
    begins. The last `SEASONS` seasons before the cutoff count, as a season changes slowly. A place
    that has no period there keeps its values.

    Parameters
    ----------
    season : in periods, such as 24 for days of hours.
    """
    place = np.floor(periods.x).astype(np.int64) % season
    before = (periods.x < 0.0) & (periods.x > -SEASONS * season)
    if not before.any():
        return periods
    own, x, functions = place[before], periods.x[before][:, None], periods.functions[before]
    found, at, count = np.unique(own, return_inverse=True, return_counts=True)
    sums = np.zeros((len(found), 1 + functions.shape[1]))
    np.add.at(sums, at, np.hstack([x, functions]))
    means = sums / count[:, None]
    later, apart = x - means[at, :1], functions - means[at, 1:]
    slope = (later * apart).sum(axis=0) / max(float((later**2).sum()), 1.0)
    levels = means[:, 1:] - slope * means[:, :1]
    usual = np.zeros((season, functions.shape[1]))
    usual[found] = levels - levels.mean(axis=0)
    return replace(periods, functions=periods.functions - usual[place])
