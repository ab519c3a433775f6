from __future__ import annotations

import numpy as np
import pytest

from transforms.event_scores import brier_score, hosmer_lemeshow, log_loss, reliability


def test_worked_scores() -> None:
    """.7 for what happened: Brier .09 and log loss −ln .7; .7 for what did not: .49 and −ln .3."""
    np.testing.assert_allclose(brier_score([0.7, 0.7], [1, 0]), [0.09, 0.49])
    np.testing.assert_allclose(log_loss([0.7, 0.7], [1, 0]), -np.log([0.7, 0.3]))
    assert log_loss([0.0, 1.0, 0.0], [1, 1, 0]).tolist() == [np.inf, 0.0, 0.0]


def test_parts_add_up_to_the_brier_score(rng: np.random.Generator) -> None:
    """Miscalibration − discrimination + uncertainty is the mean score; both parts are ≥ 0."""
    p = np.round(rng.uniform(size=500), 2)
    event = rng.uniform(size=500) < p**2
    found = reliability(p, event)
    assert found.brier == pytest.approx(brier_score(p, event).mean())
    assert min(found.miscalibration, found.discrimination) > 0.02
    assert (np.diff(found.recalibrated) >= 0).all()
    assert found.rows.sum() == 500


def test_reliability_curve_nears_the_truth(rng: np.random.Generator) -> None:
    """Where the event comes with chance p², the curve is p², and calibrated p shows no fault."""
    p = rng.uniform(size=20_000)
    found = reliability(p, rng.uniform(size=20_000) < p**2)
    assert np.abs(found.recalibrated - found.probability**2).mean() < 0.02
    assert reliability(p, rng.uniform(size=20_000) < p).miscalibration < 0.001


def test_calibrated_probabilities_are_rejected_at_the_level(rng: np.random.Generator) -> None:
    """True probabilities are rejected in 5 % of 600 trials, to four standard errors."""
    trials, alarms = 600, 0
    for _ in range(trials):
        p = rng.beta(1, 4, 800)
        alarms += hosmer_lemeshow(p, rng.uniform(size=800) < p) < 0.05
    assert abs(alarms / trials - 0.05) < 4 * np.sqrt(0.05 * 0.95 / trials)
    p = rng.beta(1, 4, 800)
    assert hosmer_lemeshow(np.sqrt(p), rng.uniform(size=800) < p) < 1e-6
