from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy import special, stats

from transforms.distributions import hansen
from transforms.risk.tails import expected_shortfall, expectile, expectile_level, sample_of


def test_expected_shortfall_of_normal_and_t_are_the_closed_forms() -> None:
    """−φ(z)/p; and −f(q)(ν + q²)/((ν − 1) p), down to three degrees of freedom."""
    for p in (0.01, 0.05, 0.5):
        z = special.ndtri(p)
        assert expected_shortfall(special.ndtri, p) == pytest.approx(
            -np.exp(-z * z / 2) / np.sqrt(2 * np.pi) / p, rel=1e-6
        )
        for nu in (3.0, 8.0):
            q = special.stdtrit(nu, p)
            closed = -stats.t(nu).pdf(q) * (nu + q * q) / ((nu - 1) * p)
            found = expected_shortfall(functools.partial(special.stdtrit, nu), p)
            assert found == pytest.approx(closed, rel=1e-5)


def test_expected_shortfall_of_rows_is_each_rows_own() -> None:
    """Scale and location carry over, row by row."""
    loc, scale = np.array([0.0, 1.0]), np.array([1.0, 2.0])
    found = expected_shortfall(
        lambda u: hansen.quantile(u, loc[:, None], scale[:, None], 6.0, -0.2), 0.05
    )
    np.testing.assert_allclose(found[1], 1 + 2 * found[0])
    assert found[0] < hansen.quantile(0.05, 0.0, 1.0, 6.0, -0.2)


def test_expectile_of_five_numbers() -> None:
    """Worked by hand: the weights are τ above and 1 − τ below, not the other way round."""
    values = (-3.0, -1.0, 0.0, 0.5, 2.0)
    assert expectile(values, 0.1) == pytest.approx(-1.9615384615384615)
    assert expectile(values, 0.5) == pytest.approx(-0.3)
    assert expectile_level(values, -1.9615384615384615) == pytest.approx(0.1)


@pytest.mark.parametrize("level", [0.01, 0.3, 0.97])
def test_expectile_agrees_with_scipy(level: float, rng: np.random.Generator) -> None:
    """On samples with weights and without, and on rows at once."""
    values = rng.standard_t(4, size=(3, 50))
    expected = [stats.expectile(row, level) for row in values]
    np.testing.assert_allclose(expectile(values, level), expected, rtol=1e-9)
    counts = rng.integers(1, 4, size=50)
    repeated = stats.expectile(np.repeat(values[0], counts), level)
    assert expectile(values[0], level, counts) == pytest.approx(repeated)


def test_a_laws_quantiles_stand_for_it() -> None:
    """Their mean and expectile are the law's: that of a normal is known."""
    values, weights = sample_of(special.ndtri)
    assert weights.sum() == pytest.approx(1)
    assert values @ weights == pytest.approx(0, abs=1e-12)
    e = special.ndtri(0.01)
    below = np.exp(-e * e / 2) / np.sqrt(2 * np.pi) + e * special.ndtr(e)
    level = below / (2 * below - e)
    assert expectile_level(values, e, weights) == pytest.approx(level, rel=0.01)
    assert expectile(values, level, weights) == pytest.approx(e, rel=0.01)
