from __future__ import annotations

import numpy as np
from scipy import stats

from monitors.feature_shift.resampling import resample
from monitors.feature_shift.rows import Statistic
from monitors.null import Null
from tests.monitors.simulated import Floats, likely

BLOCKS, FEATURES = 60, 8


def squared_gap(values: Floats) -> Statistic:
    """Return a statistic: the squared difference of means, per feature."""

    def statistic(in_window: np.ndarray) -> Floats:
        inside = in_window.astype(float)
        outside = 1.0 - inside
        gap = inside @ values / inside.sum(axis=1, keepdims=True)
        gap -= outside @ values / outside.sum(axis=1, keepdims=True)
        return np.asarray(gap**2)

    return statistic


def compare(rng: np.random.Generator, values: Floats, draws: int = 199) -> tuple[Floats, Null]:
    """Return the evidence per feature of two halves of blocks, and the law."""
    found = resample(squared_gap(values), np.arange(BLOCKS) % 2 == 0, rng, draws)
    return found.null.evidence(found.studentised[None])[0], found.null


def test_observed_is_the_statistic_of_the_blocks_as_they_are(rng: np.random.Generator) -> None:
    """No shuffle reaches it."""
    values, window = rng.normal(size=(BLOCKS, FEATURES)), np.arange(BLOCKS) >= 45
    found = resample(squared_gap(values), window, rng, 20)
    gap = values[window].mean(axis=0) - values[~window].mean(axis=0)
    np.testing.assert_allclose(found.observed, gap**2)
    assert len(found.null.largest) == 20


def test_features_are_in_the_order_of_their_studentised_statistics(
    rng: np.random.Generator,
) -> None:
    """A unit of its own does not make a feature stronger."""
    values = rng.normal(size=(BLOCKS, FEATURES))
    values[::2] += np.linspace(0.0, 2.0, FEATURES)
    evidence, _ = compare(np.random.default_rng(1), values)
    rescaled, _ = compare(np.random.default_rng(1), values * 10.0 ** np.arange(FEATURES))
    np.testing.assert_allclose(evidence, rescaled)
    statistic, window = squared_gap(values), np.arange(BLOCKS) % 2 == 0
    draws = np.concatenate([statistic(rng.permutation(window)[None]) for _ in range(2000)])
    z = (statistic(window[None])[0] - draws.mean(axis=0)) / draws.std(axis=0)
    assert evidence.argmax() == z.argmax()


def test_any_feature_exceeds_the_threshold_as_often_as_allowed(rng: np.random.Generator) -> None:
    """Over 300 pairs that do not differ, with features that depend on each other."""
    alarms = 0
    for _ in range(300):
        values = rng.normal(size=(BLOCKS, 1)) + rng.normal(size=(BLOCKS, FEATURES))
        evidence, null = compare(rng, values, 99)
        alarms += evidence.max() > null.threshold(0.05)
    assert likely(alarms, 300, 0.05)


def test_evidence_is_the_logarithm_of_a_p_value(rng: np.random.Generator) -> None:
    """Of a squared normal, p is uniform where the draws can tell: Kolmogorov-Smirnov."""
    p = []
    for _ in range(150):
        evidence, _ = compare(rng, rng.normal(size=(BLOCKS, 1)), 499)
        p.append(10.0 ** -evidence[0])
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_a_feature_that_moved_is_far_beyond_the_draws(rng: np.random.Generator) -> None:
    """The tail goes on where 199 draws end, at 2.3."""
    values = rng.normal(size=(BLOCKS, FEATURES))
    values[::2, 3] += 3.0
    evidence, null = compare(rng, values)
    assert evidence[3] > 6 > null.threshold(0.05)
    assert evidence.argmax() == 3


def test_a_feature_that_cannot_vary_has_no_evidence(rng: np.random.Generator) -> None:
    """A statistic that is the same for every draw says nothing."""
    values = rng.normal(size=(BLOCKS, FEATURES))
    values[:, 2] = 7.0
    evidence, null = compare(rng, values)
    assert evidence[2] == 0.0
    assert np.isfinite(null.threshold(0.05))
