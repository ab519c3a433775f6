from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitors.imputation import fill_gaps

COVARIANCE = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.3], [0.0, 0.3, 1.0]])
PRECISION = np.linalg.inv(COVARIANCE)


def scores_with_gaps(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Draw correlated scores, a fifth of the first two columns missing."""
    scores = rng.multivariate_normal(np.zeros(3), COVARIANCE, size=rows)
    scores[:, :2][rng.random((rows, 2)) < 0.2] = np.nan
    return scores


def test_only_gaps_are_filled(rng: np.random.Generator) -> None:
    """A value that is there stays as it is, and no gap is left."""
    scores = scores_with_gaps(rng, 500)
    filled = fill_gaps(scores, PRECISION, 2)
    there = ~np.isnan(scores)
    np.testing.assert_array_equal(filled[there], scores[there])
    assert np.isfinite(filled).all()


def test_filled_rows_have_the_covariance_of_full_ones(rng: np.random.Generator) -> None:
    """A gap says nothing new: its draw follows the row's other values as a value would have."""
    filled = fill_gaps(scores_with_gaps(rng, 40_000), PRECISION, 2)
    np.testing.assert_allclose(np.cov(filled.T), COVARIANCE, atol=0.03)  # 5 standard errors


def test_draws_do_not_depend_on_the_order_or_the_split_of_rows(rng: np.random.Generator) -> None:
    """The same row gets the same draw, wherever it stands."""
    scores = scores_with_gaps(rng, 300)
    order = rng.permutation(300)
    whole = fill_gaps(scores, PRECISION, 2)
    np.testing.assert_allclose(fill_gaps(scores[order], PRECISION, 2), whole[order], rtol=1e-12)
    parts = [fill_gaps(part, PRECISION, 2) for part in np.split(scores, [7, 120])]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-12)
