from __future__ import annotations

import numpy as np
import pytest

from schemas.errors import StreamFileError
from transforms.forecast.own_lags import lag_columns, own_lags, past, stride, unfold
from transforms.forecast.training import TrainingSet

LEVELS = np.array([0.1, 0.5, 0.9])


def rows(y: np.ndarray, lags: int) -> np.ndarray:
    """Return the lags of a series, nearest first."""
    X = np.full((len(y), lags), np.nan)
    for back in range(1, lags + 1):
        X[back:, back - 1] = y[:-back]
    return X


@pytest.mark.parametrize(
    ("names", "lags"),
    [
        (("lag_2", "flag_1", "lag_1"), {"": ((1, 2), (2, 0))}),
        (("sales: lag 1", "sales: mean 7", "sales: lag 7"), {"sales": ((1, 0), (7, 2))}),
        (("r 1 row ago", "r 2 rows ago"), {"r": ((1, 0), (2, 1))}),
        (("r 1d ago", "r 2d ago", "s 12h ago"), {"r": ((1, 0), (2, 1)), "s": ((1, 2),)}),
        (("r 24h ago", "r 1w ago"), {"r": ((1, 0), (7, 1))}),
        (("x", "hour"), {}),
    ],
)
def test_lags_are_known_by_their_names(names: tuple[str, ...], lags: dict[str, object]) -> None:
    """Counts stay counts; lengths of time are counted in their greatest common divisor."""
    assert lag_columns(names) == lags


def test_the_targets_lags_are_those_that_repeat_it(rng: np.random.Generator) -> None:
    """Beside lags of another column, those of the target are found by their values."""
    y, other = rng.normal(size=(2, 80))
    X = np.column_stack([rows(other, 2), rows(y, 2)])
    names = ("x lag 1", "x lag 2", "y lag 1", "y lag 2")
    training = TrainingSet(X, y, np.zeros(80, np.int64), LEVELS, names)
    assert own_lags(training) == ((1, 2), (2, 3))


@pytest.mark.parametrize("names", [("x", "z"), ("x lag 1", "z lag 1")])
def test_without_lags_of_the_target_the_error_says_what_to_give(
    names: tuple[str, ...], rng: np.random.Generator
) -> None:
    """No lags, or those of other columns alone, are refused."""
    training = TrainingSet(
        rng.normal(size=(50, 2)), rng.normal(size=50), np.zeros(50, np.int64), LEVELS, names
    )
    with pytest.raises(StreamFileError, match="lags"):
        own_lags(training)


@pytest.mark.parametrize("step", [1, 3])
def test_a_thinned_series_is_put_together_from_its_lags(
    step: int, rng: np.random.Generator
) -> None:
    """Of every third row, the lags hold what lies between."""
    y = rng.normal(size=60)
    values = past(rows(y, 5), tuple((back, back - 1) for back in range(1, 6)))[::step]
    assert stride(values, y[::step]) == step
    np.testing.assert_array_equal(
        unfold(values, y[::step], step), y[: len(y) - (len(y) - 1) % step]
    )
    assert stride(values, rng.normal(size=len(values))) == 0


def test_what_is_infinite_is_unknown_and_a_lag_of_no_time_is_none() -> None:
    """An infinite value is no past, and a column named `r 0s ago` is left alone."""
    assert lag_columns(("r 0s ago", "r 1s ago")) == {"r": ((1, 1),)}
    np.testing.assert_array_equal(past(np.array([[np.inf, 2.0]]), ((1, 0), (2, 1))), [[np.nan, 2]])
