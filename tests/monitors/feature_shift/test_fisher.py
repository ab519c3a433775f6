from __future__ import annotations

import numpy as np
import pytest

from monitors.feature_shift import fisher
from monitors.gram import gram_matrix
from tests.monitors.simulated import Floats, chain

DRAWS = 200_000


def score(x: Floats, mean: Floats, covariance: Floats) -> Floats:
    """Return the gradient of a Gaussian's log density at each row."""
    return np.asarray(-np.linalg.solve(covariance, (x - mean).T).T)


def test_it_is_the_limit_of_the_sampled_definition(rng: np.random.Generator) -> None:
    """Draw x from both Gaussians, and average the squared differences of their scores."""
    p, q = chain(rng, 400, 4), chain(rng, 300, 4, rho=0.2) * 1.2 + 0.3
    models = [fisher.gaussian(gram_matrix(x)) for x in (p, q)]
    x = np.concatenate([rng.multivariate_normal(*model, size=DRAWS) for model in models])
    squares = (score(x, *models[0]) - score(x, *models[1])) ** 2
    error = squares.std(axis=0) / np.sqrt(len(x))
    exact = fisher.scores_apart(gram_matrix(p), gram_matrix(q))
    assert np.all(np.abs(squares.mean(axis=0) - exact) < 4 * error)


def test_two_columns_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """N(0, I) against N((1, 0), diag(2, 1)): ½ (¼ + ¼ + ½ + 1) for x₀, 0 for x₁."""
    monkeypatch.setattr(fisher, "RIDGE", 0.0)
    # N = diag(½, 0), c = (−½, 0); of p̂: (N S Nᵀ)₀₀ = ¼, (N m − c)₀² = ¼; of q̂: ½ and 1
    p = np.diag([1.0, 1.0, 1.0])
    q = np.array([[1.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 1.0]])
    assert fisher.scores_apart(p, q) == pytest.approx([0.5 * (0.25 + 0.25 + 0.5 + 1.0), 0.0])


def test_a_set_against_itself_is_zero_and_the_sides_are_alike(rng: np.random.Generator) -> None:
    """γ does not tell reference from window."""
    p, q = gram_matrix(chain(rng, 200, 3)), gram_matrix(chain(rng, 90, 3) + 1.0)
    assert fisher.scores_apart(p, p) == pytest.approx([0.0, 0.0, 0.0])
    assert fisher.scores_apart(p, q) == pytest.approx(fisher.scores_apart(q, p))


def test_a_stack_is_its_parts(rng: np.random.Generator) -> None:
    """Many pairs at once are as each of them."""
    p, q = (np.stack([gram_matrix(chain(rng, 80, 3)) for _ in range(5)]) for _ in range(2))
    together = fisher.scores_apart(p, q)
    apart = np.stack([fisher.scores_apart(*pair) for pair in zip(p, q, strict=True)])
    np.testing.assert_allclose(together, apart)


def test_only_the_shuffled_column_and_its_neighbours_differ(rng: np.random.Generator) -> None:
    """In a chain the columns next to the shuffled one had leaned on it; the others had not."""
    p, q = chain(rng, 100_000, 7), chain(rng, 100_000, 7)
    q[:, 3] = rng.permutation(q[:, 3])
    found = fisher.scores_apart(gram_matrix(p), gram_matrix(q))
    assert found.argmax() == 3
    assert found[[2, 3, 4]].min() > 20 * found[[0, 1, 5, 6]].max()
