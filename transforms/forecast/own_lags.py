"""The target's own past among the features: which columns hold it, and how far back each lies."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.duration import parse_duration
from schemas.errors import StreamFileError
from transforms.forecast.training import TrainingSet

Floats = NDArray[np.float64]
Lags = tuple[tuple[int, int], ...]  #: (steps back, position of the column), nearest first

#: `lag_1`, `lag 1`, `temp_lag_1`, `temp: lag 1`; `temp 1 row ago`; `temp 1h ago`
_COUNTED = re.compile(r"(?P<of>.*?)[ _:]*(?<![^\W_])lag[ _](?P<back>\d+)")
_ROWS = re.compile(r"(?P<of>.+) (?P<back>\d+) rows? ago")
_SPANS = re.compile(r"(?P<of>.+) (?P<span>[1-9]\d*[smhdw]) ago")
_LONGEST = 2000  # steps: the past of a row is held as so many numbers
_REPEATED = 0.5  # of the rows: when the lags repeat the outcomes before them


def own_lags(training: TrainingSet) -> Lags:
    """Find the columns that hold earlier values of the target.

    Lags that are named by a length of time are counted in their greatest common divisor. Where
    several columns have lags, the target's are those that repeat its outcomes.

    Raises
    ------
    StreamFileError
        When there are none, or it cannot be told whose they are.
    """
    groups = lag_columns(training.names)
    if len(groups) > 1:
        groups = {
            of: lags for of, lags in groups.items() if stride(past(training.X, lags), training.y)
        }
    if len(groups) != 1:
        raise StreamFileError(
            "models `har`, `garch`, `cnn` and `lstm` read the target's own earlier values, and "
            f"{'several columns have' if groups else 'no column of the features has'} lags that "
            "may be the target's; give the stream `lags:` such as [1d, 2d, 3d] (of targets with "
            "`role: feature`), and where `features:` are named, name `TARGET 1d ago` and so on"
        )
    return next(iter(groups.values()))


def lag_columns(names: Sequence[str]) -> dict[str, Lags]:
    """Return the lags among some columns, for each column that they are lags of."""
    counted: dict[str, list[tuple[int, int]]] = {}
    timed: dict[str, list[tuple[int, int]]] = {}
    for place, name in enumerate(names):
        if (found := _COUNTED.fullmatch(name) or _ROWS.fullmatch(name)) is not None:
            counted.setdefault(found["of"], []).append((int(found["back"]), place))
        elif (found := _SPANS.fullmatch(name)) is not None:
            seconds = round(parse_duration(found["span"]))
            timed.setdefault(found["of"], []).append((seconds, place))
    for of, pairs in timed.items():
        unit = math.gcd(*(seconds for seconds, _ in pairs))
        counted.setdefault(of, [(seconds // unit, place) for seconds, place in pairs])
    lags = {of: tuple(sorted(pairs)) for of, pairs in counted.items()}
    return {of: own for of, own in lags.items() if own[0][0] >= 1 and own[-1][0] <= _LONGEST}


def past(X: Floats, lags: Lags) -> Floats:
    """Return each row's past, one step back first, shape (n, steps); NaN where not finite."""
    values = np.full((len(X), lags[-1][0]), np.nan)
    for back, position in lags:
        lag = X[:, position]
        values[:, back - 1] = np.where(np.isfinite(lag), lag, np.nan)
    return values


def stride(values: Floats, y: Floats) -> int:
    """Return how many steps a row lies after the one before it; 0 where that cannot be seen.

    It is the lag at which most rows repeat the outcome of the row before. 1 for a whole series,
    more for one that was thinned out.
    """
    for back in range(values.shape[1]):
        known = ~np.isnan(values[1:, back])
        same = values[1:, back] == y[:-1]
        if known.any() and np.mean(same[known]) > _REPEATED:
            return back + 1
    return 0


def unfold(values: Floats, y: Floats, step: int) -> Floats:
    """Return the series that rows `step` apart were taken from, in order; unknown values left out.

    Parameters
    ----------
    values : shape (n, steps), as `past` returns them
    y : shape (n,)
    step : as `stride` returns it, at least 1
    """
    series: Floats = np.column_stack([values[:, : step - 1][:, ::-1], y]).ravel()
    return series[~np.isnan(series)]
