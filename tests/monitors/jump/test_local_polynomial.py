from __future__ import annotations

import numpy as np
import pytest

from monitors.jump.local_polynomial import boundary_constants, epanechnikov, fit_side


def test_a_polynomial_of_the_order_is_fitted_without_error(rng: np.random.Generator) -> None:
    """Its limit at the cutoff and its curvature; residuals are 0, the weights' sum is 1."""
    distance = rng.uniform(0.0, 2.0, size=40)
    outcomes = np.column_stack([3.0 - distance + 0.5 * distance**2, 2.0 * distance])
    fit = fit_side(distance, outcomes, 1.5, 2)
    np.testing.assert_allclose(fit.limit, [3.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(fit.curvature, [0.5, 0.0], atol=1e-9)
    np.testing.assert_allclose(fit.residuals, 0.0, atol=1e-9)
    assert fit.weights.sum() == pytest.approx(1.0)
    assert np.all(fit.weights[distance >= 1.5] == 0.0)


def test_weights_of_a_line_are_those_of_the_closed_form(rng: np.random.Generator) -> None:
    """K_h(d) (μ₂ − μ₁ d) / (μ₀ μ₂ − μ₁²), left of the cutoff."""
    distance = -rng.uniform(0.0, 1.0, size=30)
    kernel = epanechnikov(distance / 0.7)
    zeroth, first, second = (float((kernel * distance**power).sum()) for power in range(3))
    expected = kernel * (second - first * distance) / (zeroth * second - first**2)
    fit = fit_side(distance, np.zeros((30, 1)), 0.7, 1)
    np.testing.assert_allclose(fit.weights, expected)


def test_leverage_is_the_part_of_its_own_outcome_in_a_units_fit(rng: np.random.Generator) -> None:
    """Moving one outcome by 1 moves its fit by the leverage."""
    distance, outcomes = rng.uniform(0.0, 1.0, size=12), rng.normal(size=(12, 1))
    fit = fit_side(distance, outcomes, 1.0, 2)
    moved = outcomes.copy()
    moved[4] += 1.0
    again = fit_side(distance, moved, 1.0, 2)
    change = 1.0 - (again.residuals[4] - fit.residuals[4])
    assert change == pytest.approx(fit.leverage[4])


def test_constants_are_those_of_fan_and_gijbels() -> None:
    """Local-linear, Epanechnikov, at the end of the data: exact integrals."""
    bias, variance = boundary_constants(1)
    assert bias == pytest.approx(-11 / 95)
    assert variance == pytest.approx(56_832 / 12_635)
