from __future__ import annotations

import numpy as np
import pytest

from monitors.encoder import FloatArray
from monitors.explain.emd import squared_distance
from monitors.explain.gaussian import (
    affine_map,
    bures,
    gaussian_distance,
    sampling_distance,
    transport_matrix,
)


def covariance(rng: np.random.Generator, p: int) -> FloatArray:
    """Return a random covariance."""
    root = rng.normal(size=(p, p + 2))
    return root @ root.T / p


def test_transport_matrix_maps_covariances(rng: np.random.Generator) -> None:
    """A is symmetric positive definite, and A S_p A = S_q."""
    before, after = covariance(rng, 5), covariance(rng, 5)
    A = transport_matrix(before, after)
    assert np.allclose(A, A.T)
    assert np.linalg.eigvalsh(A).min() > 0
    assert np.allclose(A @ before @ A, after, atol=1e-6)


def test_affine_map_maps_means_and_covariances(rng: np.random.Generator) -> None:
    """The mapped rows have mean and covariance of the others."""
    X = rng.normal(size=(300, 4)) @ covariance(rng, 4)
    Y = rng.exponential(size=(200, 4)) @ covariance(rng, 4)
    mapped = affine_map(X, Y)
    assert np.allclose(mapped.mean(axis=0), Y.mean(axis=0))
    assert np.allclose(np.cov(mapped.T, bias=True), np.cov(Y.T, bias=True), atol=1e-5)


def test_affine_map_of_a_constant_column_is_finite(rng: np.random.Generator) -> None:
    """A column without spread in the reference gets the mean of the others."""
    X = np.column_stack([rng.normal(size=100), np.full(100, 2.0)])
    Y = rng.normal(size=(100, 2))
    mapped = affine_map(X, Y)
    assert np.isfinite(mapped).all()
    assert np.allclose(mapped.mean(axis=0), Y.mean(axis=0))


def test_distance_is_what_the_transport_matrix_costs(rng: np.random.Generator) -> None:
    """The squared distance is the mean of |A x − x|² under the reference."""
    before, after = covariance(rng, 4), covariance(rng, 4)
    step = transport_matrix(before, after) - np.eye(4)
    assert bures(before, after) == pytest.approx(np.trace(step @ before @ step), rel=1e-6)
    assert bures(before, before) == pytest.approx(0.0, abs=1e-9)


def test_distance_of_the_moments_is_a_lower_bound(rng: np.random.Generator) -> None:
    """No samples are nearer than the Gaussian laws of their moments."""
    for _ in range(5):
        X, Y = rng.normal(size=(80, 3)), rng.exponential(size=(80, 3)) @ covariance(rng, 3)
        assert gaussian_distance(X, Y) <= squared_distance(X, Y)


def test_distance_of_commuting_covariances_is_that_of_their_roots() -> None:
    """Without correlations, it is the sum of squared differences of standard deviations."""
    before, after = np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 4.0, 0.25])
    assert bures(before, after) == pytest.approx(1.0 + 0.0 + 2.5**2)


@pytest.mark.parametrize("p", [1, 6])
def test_sampling_distance_is_that_of_two_samples(rng: np.random.Generator, p: int) -> None:
    """Mean and deviation of the distance of the moments of two samples are as the formula says."""
    S = covariance(rng, p)
    root = np.linalg.cholesky(S)
    found = []
    for _ in range(400):
        X, Y = rng.normal(size=(300, p)) @ root.T, rng.normal(size=(600, p)) @ root.T
        shift = X.mean(axis=0) - Y.mean(axis=0)
        before, after = (np.atleast_2d(np.cov(rows.T)) for rows in (X, Y))
        found.append(float(shift @ shift) + bures(before, after))
    mean, deviation = sampling_distance(S, 200.0)
    assert np.mean(found) == pytest.approx(mean, abs=3.0 * deviation / np.sqrt(len(found)))
    assert np.std(found) == pytest.approx(deviation, rel=0.25)
