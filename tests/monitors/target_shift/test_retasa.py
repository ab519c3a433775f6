"""Tests of the weights that undo a target shift."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.shifted_populations import bent_pair
from monitors.target_shift.retasa import (
    FEWEST_ROWS,
    bin_rows,
    gaussian,
    place_on,
    retasa,
)
from schemas.errors import ReferenceDataError

Floats = NDArray[np.float64]


def by_rows(x: Floats, y: Floats, x_after: Floats, width: float, alpha: float) -> Floats:
    """Return ω of every row by the sample form of the paper, a system of the size of the rows."""
    n = len(y)
    widths = 1.06 * x.std(axis=0) * n ** (-1.0 / (4.0 + x.shape[1]))
    own = gaussian(x, x, widths)
    across = gaussian(x, x_after, widths)
    of_y = gaussian(y[:, None], y[:, None], np.array([width]))
    to_x, to_y = (k / k.sum(axis=1, keepdims=True) for k in (own, of_y))
    eta = across.mean(axis=1) / own.mean(axis=1) - 1.0
    rho = np.linalg.solve(alpha * np.eye(n) + to_y @ to_x, to_y @ eta)
    omega: Floats = np.maximum(1.0 + rho, 0.0)
    omega /= omega.mean()
    return omega


@pytest.mark.parametrize("columns", [1, 2])
def test_binned_weights_are_those_of_the_system_over_all_rows(
    rng: np.random.Generator, columns: int
) -> None:
    """Binning changes the weights by a few hundredths."""
    x, y, x_after, _, _ = bent_pair(200, rng)
    x, x_after = x[:, :columns], x_after[:, :columns]
    found = retasa(x, y, x_after, seed=0)
    exact = by_rows(x, y, x_after, found.width, found.penalty)
    assert np.sqrt(np.mean((found.weights - exact) ** 2)) < 0.04


def test_weights_come_near_the_true_ratio() -> None:
    """Over ten pairs, their squared error is a tenth of that of no weights, or less."""
    found, none = [], []
    for seed in range(10):
        x, y, x_after, _, truth = bent_pair(500, np.random.default_rng(seed))
        truth /= truth.mean()
        found.append(np.mean((retasa(x, y, x_after, seed=0).weights - truth) ** 2))
        none.append(np.mean((1.0 - truth) ** 2))
    assert np.mean(found) < 0.1 * np.mean(none)


def test_ratio_of_new_values_is_the_out_of_sample_formula(rng: np.random.Generator) -> None:
    """At a node, ω is 1 + (1/α) T†(η − T ρ), from ρ at all nodes."""
    x, y, x_after, _, _ = bent_pair(300, rng)
    binned, after = bin_rows(x, y, x_after)
    joint = binned.joint(np.ones(len(y)))
    width, alpha = 2.0 * binned.width, 0.5  # large enough that no ω is clipped at 0
    omega = binned.solve(joint, after, width, (alpha,))[0]
    assert omega.min() > 0.0
    density = binned.kernel_x @ joint.sum(axis=1)
    rest = after / density - 1.0 - (binned.kernel_x @ joint @ (omega - 1.0)) / density
    kernel = gaussian(binned.nodes[:, None], binned.nodes[:, None], np.array([width]))
    formula = (kernel @ (joint.T @ rest)) / (kernel @ joint.sum(axis=0)) / alpha
    np.testing.assert_allclose(1.0 + formula, omega, rtol=1e-6)


def test_weights_of_rows_are_the_ratio_at_their_values(rng: np.random.Generator) -> None:
    """`at` gives each row its own weight, and values beyond the range that at its end."""
    x, y, x_after, _, _ = bent_pair(200, rng)
    found = retasa(x, y, x_after, seed=0)
    np.testing.assert_allclose(found.at(y), found.weights)
    assert found.weights.mean() == pytest.approx(1.0)
    assert found.at(np.array([1e9]))[0] == found.at(np.array([y.max()]))[0]


def test_without_a_shift_hardly_a_row_is_lost(rng: np.random.Generator) -> None:
    """The effective sample size stays above nine tenths."""
    x, y, _, _, _ = bent_pair(400, rng)
    again, _, _, _, _ = bent_pair(400, rng)
    assert retasa(x, y, again, seed=0).effective_rows > 0.9 * 400


def test_an_outlier_costs_bandwidth_and_not_memory(rng: np.random.Generator) -> None:
    """A target of a thousand deviations leaves a bounded number of nodes, and finite weights."""
    x, y, x_after, _, _ = bent_pair(200, rng)
    y[0] = 1e3
    found = retasa(x, y, x_after, seed=0)
    assert len(found.nodes) <= 201
    assert np.isfinite(found.weights).all()


def test_shares_on_nodes_are_linear() -> None:
    """A value is shared by the nodes beside it, as near as it is to each."""
    placed = place_on(np.array([0.0, 0.25, 3.0, 2.0]), np.array([0.0, 1.0, 3.0]))
    expected = np.array([[1, 0, 0], [0.75, 0.25, 0], [0, 0, 1], [0, 0.5, 0.5]])
    np.testing.assert_allclose(placed, expected)


def test_too_few_or_constant_rows_are_said(rng: np.random.Generator) -> None:
    """The error says how many rows are needed, or what does not vary."""
    x, y, x_after, _, _ = bent_pair(100, rng)
    with pytest.raises(ReferenceDataError, match=f"{FEWEST_ROWS} to"):
        retasa(x, y, x_after[:10], seed=0)
    with pytest.raises(ReferenceDataError, match="constant"):
        retasa(x, np.zeros(100), x_after, seed=0)
