from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri

from monitors.quantile_table import WINSOR, QuantileTable

ROWS = 20_000

LAWS: dict[str, Callable[[np.random.Generator], NDArray[Any]]] = {
    "normal": lambda rng: rng.normal(size=ROWS),
    "lognormal": lambda rng: np.exp(2 * rng.normal(size=ROWS)),
    "Cauchy": lambda rng: rng.standard_cauchy(ROWS),
    "counts": lambda rng: rng.poisson(3, ROWS).astype(float),
    "binary": lambda rng: rng.integers(0, 2, ROWS).astype(float),
    "mostly zero": lambda rng: np.where(rng.random(ROWS) < 0.7, 0, np.exp(rng.normal(size=ROWS))),
    "far from zero": lambda rng: 1e15 + rng.integers(0, 5, ROWS),
    "tiny": lambda rng: 1e-300 * rng.random(ROWS),
    "huge": lambda rng: 1e308 * (2 * rng.random(ROWS) - 1),
}


def table_of(values: NDArray[np.float64]) -> QuantileTable:
    """Return the table of a sample, with the knots of an encoder."""
    found, counts = np.unique(values, return_counts=True)
    ranks = np.cumsum(counts) - 0.5 * counts
    pick = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], 1024)))
    scores = np.clip(ndtri(ranks[pick] / len(values)), -WINSOR, WINSOR)
    return QuantileTable(found[pick], scores)


def searched(table: QuantileTable, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores by a binary search among the knots."""
    return np.interp(values, table.knots, table.scores, left=-WINSOR, right=WINSOR)


@pytest.mark.parametrize("law", LAWS)
def test_scores_are_those_of_the_knots(law: str, rng: np.random.Generator) -> None:
    """Whatever the law, looking up differs from a search by less than a fiftieth of σ."""
    values = LAWS[law](rng)
    table = table_of(values)
    error = table(values) - searched(table, values)
    assert np.sqrt(np.mean(error**2)) < 0.02


@pytest.mark.parametrize("law", LAWS)
def test_scores_do_not_fall(law: str, rng: np.random.Generator) -> None:
    """A larger value never has a smaller score."""
    values = np.sort(LAWS[law](rng))
    assert np.diff(table_of(values)(values)).min() >= -1e-9


@pytest.mark.parametrize("law", LAWS)
def test_beyond_the_knots_scores_are_winsorised(law: str, rng: np.random.Generator) -> None:
    """The end knots keep their scores; what lies beyond has ±WINSOR; NaN stays NaN."""
    table = table_of(LAWS[law](rng))
    low, high = table.knots[0], table.knots[-1]
    ends = table(np.array([low, high]))
    np.testing.assert_allclose(ends, [table.scores[0], table.scores[-1]], atol=1e-5)
    beyond = np.array(
        [-np.inf, low - 0.1 * abs(low) - 1, high + 0.1 * abs(high) + 1, np.inf, np.nan]
    )
    np.testing.assert_array_equal(table(beyond), [-WINSOR, -WINSOR, WINSOR, WINSOR, np.nan])


def test_negative_values_lie_below_a_positive_law(rng: np.random.Generator) -> None:
    """A law that is read by its logarithm gives zero and negative values the lowest score."""
    table = table_of(LAWS["lognormal"](rng))
    assert table.cells is not None
    assert table.cells.log
    np.testing.assert_array_equal(table(np.array([0.0, -1.0, -1e300])), [-WINSOR] * 3)


def test_a_law_that_cells_do_not_resolve_is_searched(rng: np.random.Generator) -> None:
    """Five values beside 1e15 leave no room for cells between them: the scores are the knots'."""
    values = LAWS["far from zero"](rng)
    table = table_of(values)
    assert table.cells is None
    np.testing.assert_array_equal(table(values), searched(table, values))


@pytest.mark.parametrize("law", ["normal", "lognormal", "Cauchy", "counts", "binary", "tiny"])
def test_common_laws_need_no_search(law: str, rng: np.random.Generator) -> None:
    """Cells resolve the laws that tables are made of, heavy tails and ties included."""
    assert table_of(LAWS[law](rng)).cells is not None
