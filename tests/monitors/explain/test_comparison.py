from __future__ import annotations

import functools

import numpy as np
import pytest

from monitors.encoder import FloatArray
from monitors.explain.comparison import Comparison, compare, sample_size
from monitors.explain.gaussian import bures
from monitors.explain.sparse import replace_features

D = 12
GROUPS = [np.array([j]) for j in range(D)]
COVARIANCE = np.full((D, D), 0.6) + 0.4 * np.eye(D)
QUIET = np.repeat([0.05, 1.0], D // 2)
DISTANCE = 4.0 + bures(COVARIANCE, COVARIANCE * np.outer(QUIET, QUIET))


def rows_of(rng: np.random.Generator, count: int) -> FloatArray:
    """Return correlated Gaussian rows of variance 1."""
    return rng.normal(size=(count, D)) @ np.linalg.cholesky(COVARIANCE).T


def shift_of(X: FloatArray, Z: FloatArray, feature: int) -> FloatArray:
    """Return X with one feature shifted by its mean difference."""
    return replace_features(X, X + Z.mean(axis=0) - X.mean(axis=0), GROUPS, [feature])


def quiet_and_shifted(rng: np.random.Generator) -> Comparison:
    """Compare with a window where half of the features hardly vary, and another is shifted by 2."""
    after = rows_of(rng, 400) * QUIET
    after[:, -1] += 2.0
    return compare(rows_of(rng, 1600), after, rng)


def test_distance_beyond_noise_is_that_of_the_laws(rng: np.random.Generator) -> None:
    """It is that of the two Gaussian laws; the samples are further apart."""
    found = [quiet_and_shifted(rng) for _ in range(4)]
    assert np.mean([one.beyond for one in found]) == pytest.approx(DISTANCE, rel=0.07)
    assert np.mean([one.total for one in found]) > 1.08 * DISTANCE


def test_mapped_rows_have_a_noise_of_their_own(rng: np.random.Generator) -> None:
    """The shift alone explains its part, although the window is less noisy than the rows that it
    shifts.
    """
    shares = []
    for _ in range(4):
        found, fit = quiet_and_shifted(rng), functools.partial(shift_of, feature=D - 1)
        shares.append(found.assess(fit(found.X, found.Z), fit, parameters=True)[1])
    assert np.mean(shares) == pytest.approx(4.0 / DISTANCE, abs=0.06)


def test_what_follows_noise_explains_nothing(rng: np.random.Generator) -> None:
    """Moving a feature to its place in the plan brings samples nearer also where it has not
    changed; that is not explained.
    """
    shares, published = [], []
    for _ in range(4):
        after = rows_of(rng, 400)
        after[:, 0] += 1.0
        found = compare(rows_of(rng, 1600), after, rng)
        fit = functools.partial(replace_features, groups=GROUPS, chosen=[4, 5, 6])
        left, share = found.assess(fit(found.X, found.Z), fit, parameters=False)
        shares.append(share)
        published.append((found.total - left) / found.beyond)
    assert np.mean(published) > 0.5
    assert np.mean(shares) < 0.2


def test_half_of_the_reference_is_kept_to_measure_noise() -> None:
    """No more rows are compared than half of the reference's, or than the window has."""
    assert sample_size(2000, 500) == 400
    assert sample_size(2000, 168) == 168
    assert sample_size(300, 500) == 150
