"""Tests of weights that balance inputs, and of the change of a metric they explain."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.shifted_populations import kang_schafer
from monitors.target_shift.balance import balancing_weights, split_change
from monitors.target_shift.two_sample import median_kernel
from schemas.errors import ReferenceDataError


def test_weights_bring_the_mean_to_the_other_set(rng: np.random.Generator) -> None:
    """A shift of one deviation is undone to a tenth of it, by positive weights of mean 1."""
    x, to = rng.standard_normal((400, 3)), rng.standard_normal((400, 3))
    to[:, 0] += 1.0
    weights = balancing_weights(x, to)
    assert weights.min() > 0.0
    assert weights.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(np.average(x, axis=0, weights=weights), to.mean(axis=0), atol=0.1)


def test_discrepancy_is_the_least_there_is(rng: np.random.Generator) -> None:
    """It is within 1e-5 of that of another solver; without weights it is 1,000 times as far."""
    x, to = rng.standard_normal((60, 2)), rng.standard_normal((60, 2)) + 0.5
    both = np.vstack([x, to])
    kernel = median_kernel((both - both.mean(axis=0)) / both.std(axis=0))
    own, across = kernel[:60, :60], kernel[:60, 60:].mean(axis=1)

    def discrepancy(w: NDArray[np.float64]) -> float:
        return float(w @ own @ w - 2.0 * w @ across)

    root = np.linalg.cholesky(own + 1e-10 * np.eye(60))  # least squares with Σ w = 1, heavily
    exact, _ = nnls(
        np.vstack([root.T, np.full(60, 1e3)]), np.append(np.linalg.solve(root, across), 1e3)
    )
    least = discrepancy(exact / exact.sum())
    assert discrepancy(balancing_weights(x, to) / 60) < least + 1e-5
    assert discrepancy(np.full(60, 1 / 60)) > least + 1e-2


def test_equal_sets_need_no_weights(rng: np.random.Generator) -> None:
    """Balanced to itself, every row counts the same."""
    x = rng.standard_normal((50, 2))
    np.testing.assert_allclose(balancing_weights(x, x), 1.0, atol=1e-4)


def test_bent_confounders_are_balanced_without_a_model() -> None:
    """On Kang and Schafer's data, the error of an effect of 0 falls to less than a half."""
    plain, balanced = [], []
    for seed in range(5):
        x, y, treated = kang_schafer(200, 1.0, np.random.default_rng(seed))
        means = [
            np.average(y[side], weights=balancing_weights(x[side], x))
            for side in (treated, ~treated)
        ]
        plain.append(y[treated].mean() - y[~treated].mean())
        balanced.append(means[0] - means[1])
    assert np.abs(balanced).mean() < 0.5 * np.abs(plain).mean()


def test_change_under_covariate_shift_is_the_inputs(rng: np.random.Generator) -> None:
    """A loss of x alone changes by its covariate part; a step in it is the residual."""
    x, to = rng.standard_normal((500, 1)), rng.standard_normal((500, 1)) + 0.7
    before, after = x[:, 0] ** 2, to[:, 0] ** 2 + 0.4
    found = split_change(before, after, balancing_weights(x, to))
    assert found.change == pytest.approx(found.covariate + found.residual)
    assert found.covariate == pytest.approx(0.49, abs=0.15)
    assert found.residual == pytest.approx(0.4, abs=0.1)


def test_sets_that_cannot_be_compared_are_said() -> None:
    """Other columns, or no row at all."""
    for to in (np.zeros((5, 2)), np.zeros((0, 3))):
        with pytest.raises(ReferenceDataError, match="same columns"):
            balancing_weights(np.zeros((5, 3)), to)
