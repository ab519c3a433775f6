from __future__ import annotations

import numpy as np
import pytest

from transforms.distributions import mixture
from transforms.distributions.families import FAMILIES
from transforms.distributions.mixture import Component

LEVELS = np.array([0.001, 0.05, 0.3, 0.5, 0.7, 0.95, 0.999])
ROWS = 200


@pytest.fixture
def pool(rng: np.random.Generator) -> tuple[np.ndarray, list[Component]]:
    """Return three components far apart, one with an atom at zero, and weights of each row."""
    skewed = (rng.normal(size=ROWS), np.full(ROWS, 0.5), np.full(ROWS, 4.0), np.full(ROWS, 1.3))
    amounts = (rng.uniform(0.3, 0.95, ROWS), rng.normal(size=ROWS), np.full(ROWS, 0.7))
    weights = rng.dirichlet([1, 1, 1], ROWS)
    weights[:5] = [1e-9, 1 - 2e-9, 1e-9]
    return weights, [
        Component(FAMILIES["skew_t"], skewed),
        Component(FAMILIES["zero_inflated_lognormal"], amounts),
        Component(FAMILIES["gamma"], (np.full(ROWS, 20.0), np.full(ROWS, 0.7))),
    ]


def test_quantile_inverts_the_distribution_function(
    pool: tuple[np.ndarray, list[Component]],
) -> None:
    """F(Q(p)) is p to a millionth; where F jumps past p at zero, the quantile is exactly zero."""
    weights, components = pool
    found = mixture.quantile(LEVELS, weights, components)
    assert (np.diff(found, axis=1) >= 0).all()
    for level, points in zip(LEVELS, found.T, strict=True):
        reached = mixture.cdf(points, weights, components)
        zero = points == 0
        assert np.abs(reached - level)[~zero].max() <= 1e-6
        assert (reached[zero] >= level).all()
        assert (mixture.cdf(np.full(ROWS, -1e-12), weights, components)[zero] < level).all()
    assert 0.1 < (found[:, 1] == 0).mean() < 0.9


def test_mixture_of_one_is_its_component(pool: tuple[np.ndarray, list[Component]]) -> None:
    """With all weight on one component, everything is that component's."""
    own = pool[1][0]
    alone, y = np.ones((ROWS, 1)), np.linspace(-2, 2, ROWS)
    expected = own.family.quantile(LEVELS, *(part[:, None] for part in own.parameters))
    np.testing.assert_array_equal(mixture.quantile(LEVELS, alone, [own]), expected)
    np.testing.assert_allclose(
        mixture.log_density(y, alone, [own]), own.family.log_density(y, *own.parameters)
    )
    np.testing.assert_allclose(mixture.variance(alone, [own]), own.family.variance(*own.parameters))


def test_moments_are_those_of_draws(rng: np.random.Generator) -> None:
    """Mean and variance of the pool of two normals equal those of 100,000 draws, within error."""
    draws = 100_000
    parts = [
        Component(FAMILIES["normal"], (np.full(1, loc), np.full(1, scale)))
        for loc, scale in ((-2.0, 1.0), (3.0, 0.5))
    ]
    weights = np.array([[0.3, 0.7]])
    first = rng.uniform(size=draws) < 0.3
    y = np.where(first, rng.normal(-2, 1, draws), rng.normal(3, 0.5, draws))
    error = 4 * y.std() / np.sqrt(draws)
    assert float(mixture.mean(weights, parts)[0]) == pytest.approx(y.mean(), abs=error)
    spread = (y - y.mean()) ** 2
    assert float(mixture.variance(weights, parts)[0]) == pytest.approx(
        y.var(), abs=4 * spread.std() / np.sqrt(draws)
    )


def test_density_at_the_atom_is_of_those_that_have_one(
    pool: tuple[np.ndarray, list[Component]],
) -> None:
    """An outcome of exactly zero counts for components with an atom alone."""
    weights, components = pool
    found = mixture.log_density(np.zeros(ROWS), weights, components)
    chance = components[1].parameters[0]
    np.testing.assert_allclose(found, np.log(weights[:, 1] * (1 - chance)))
    impossible = mixture.log_density(np.full(ROWS, -1.0), weights[:, 1:], components[1:])
    assert (impossible == -np.inf).all()
