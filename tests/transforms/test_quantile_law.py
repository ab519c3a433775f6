from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from transforms.quantile_law import crps, log_score, quantile_at
from transforms.scores import pinball_loss, pit_values

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
PERCENTS = np.arange(1, 100) / 100


def normal(levels: np.ndarray | tuple[float, ...], rows: int = 1) -> np.ndarray:
    """Return the quantiles of the standard normal law, shape (rows, levels)."""
    return np.tile(special.ndtri(levels), (rows, 1))


def test_crps_is_the_integral_of_the_squared_difference(rng: np.random.Generator) -> None:
    """It equals the numeric integral of (F − 1{z ≥ y})², in each segment, both tails and a tie."""
    q = np.sort(rng.normal(size=7))
    q[3] = q[2]
    grid = np.linspace(q[0] - 60, q[-1] + 60, 2_000_001)
    law = pit_values(grid, np.tile(q, (len(grid), 1)), LEVELS)
    for y in (q[0] - 2, q[0], (q[0] + q[1]) / 2, q[2], (q[5] + q[6]) / 2, q[-1] + 3):
        numeric = np.trapezoid((law - (grid >= y)) ** 2, grid)
        assert crps([y], q[None], LEVELS)[0] == pytest.approx(numeric, abs=2e-4)


def test_crps_of_a_normal_law_is_the_published_one() -> None:
    """At 99 levels it is that of N(0, 1) to 0.1 %, where twice the mean pinball is 1 % high."""
    exact = 0.421569170  # y (2Φ(y) − 1) + 2φ(y) − 1/√π at y = .7
    assert crps([0.7], normal(PERCENTS), PERCENTS)[0] == pytest.approx(exact, rel=1e-3)
    twice = 2 * pinball_loss([0.7], normal(PERCENTS), PERCENTS).mean()
    assert twice == pytest.approx(0.425723, abs=1e-6)
    assert crps([0.7], normal(LEVELS), LEVELS)[0] == pytest.approx(exact, rel=0.03)


def test_crps_of_a_point_that_came_is_zero() -> None:
    """A forecast that is exact costs nothing, and one beside it its distance."""
    assert crps([3.0, 5.0], np.full((2, 7), 3.0), LEVELS).tolist() == [0, 2]


def test_log_score_is_the_slope_of_the_law(rng: np.random.Generator) -> None:
    """−log f is that of the numeric derivative of F, between levels and in both tails."""
    y, step = rng.normal(0, 2, 500), 1e-6
    q = np.sort(rng.normal(size=(500, 7)), axis=1)
    slope = (pit_values(y + step, q, LEVELS) - pit_values(y - step, q, LEVELS)) / (2 * step)
    off = (np.abs(q - y[:, None]) > 2 * step).all(axis=1) & (slope > 1e-6)
    np.testing.assert_allclose(log_score(y, q, LEVELS)[off], -np.log(slope[off]), rtol=1e-3)


def test_log_score_says_where_there_is_no_density() -> None:
    """On a point mass it is NaN; beyond a tail without room it is infinite; missing is NaN."""
    q = np.array([[0, 0, 0, 1, 2, 3, 4]] * 3, np.float64)
    score = log_score([0.0, -1.0, np.nan], q, LEVELS)
    assert np.isnan(score[[0, 2]]).all()
    assert score[1] == np.inf


def test_truth_has_the_lowest_log_score_and_crps(rng: np.random.Generator) -> None:
    """Both are proper: a law too wide, too narrow or shifted scores worse on draws of the truth."""
    y = rng.normal(size=20_000)
    for score in (crps, log_score):
        true = score(y, normal(LEVELS, len(y)), LEVELS).mean()
        for scale, shift in ((1.3, 0.0), (0.75, 0.0), (1.0, 0.3)):
            assert true < score(y, scale * normal(LEVELS, len(y)) + shift, LEVELS).mean()


def test_quantile_at_any_level_inverts_the_law(rng: np.random.Generator) -> None:
    """F(F⁻¹(p)) = p between the levels, on them, and beyond both ends."""
    q = np.sort(rng.normal(size=(20, 7)), axis=1)
    for level in (0.001, 0.05, 0.07, 0.5, 0.6, 0.95, 0.999):
        np.testing.assert_allclose(pit_values(quantile_at(q, LEVELS, level), q, LEVELS), level)
