from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import special

from schemas.errors import BaselineError, TidegaugeError
from transforms.calibrate.events import EventCalibration
from transforms.decisions import exceedance
from transforms.event_scores import hosmer_lemeshow, log_loss

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def drawn(
    rng: np.random.Generator, rows: int, slope: float = 2.0, shift: float = 0.7
) -> tuple[np.ndarray, np.ndarray]:
    """Draw over-confident, shifted probabilities, and the events under the true ones."""
    logit = rng.normal(-0.5, 1, rows)
    return special.expit(slope * logit + shift), rng.uniform(size=rows) < special.expit(logit)


def test_calibrated_probabilities_hold(rng: np.random.Generator) -> None:
    """After 1,500 labels most of 12 streams pass a calibration test, and lose little to the truth.

    A map learnt from labels is not the truth itself: three times the level is allowed. Raw
    probabilities never pass.
    """
    trials, kept, raw, excess = 12, 0, 0, 0.0
    for _ in range(trials):
        p, event = drawn(rng, 2300)
        calibrated = EventCalibration.start().learn(p[:1500], event[:1500]).apply(p[1500:])
        kept += hosmer_lemeshow(calibrated, event[1500:]) < 0.05
        raw += hosmer_lemeshow(p[1500:], event[1500:]) < 0.05
        true = special.expit((special.logit(p[1500:]) - 0.7) / 2)
        excess += (log_loss(calibrated, event[1500:]) - log_loss(true, event[1500:])).mean()
    assert raw == trials
    assert kept / trials < 0.15 + 4 * np.sqrt(0.15 * 0.85 / trials)
    assert excess / trials < 0.004


def test_it_follows_a_change(rng: np.random.Generator) -> None:
    """When the distortion turns round, what goes on learning comes near the truth again."""
    before, after = drawn(rng, 3000), drawn(rng, 3000, slope=0.5, shift=-1.0)
    fixed = EventCalibration.start().learn(*before)
    online = fixed.learn(*after)
    p, event = drawn(rng, 4000, slope=0.5, shift=-1.0)
    true = log_loss(special.expit((special.logit(p) + 1) / 0.5), event).mean()
    assert log_loss(online.apply(p), event).mean() < true + 0.03
    assert log_loss(fixed.apply(p), event).mean() > true + 0.1


def test_without_labels_it_changes_nothing_and_few_change_little(rng: np.random.Generator) -> None:
    """The start is the identity, and ten labels as forecast move none by more than .25."""
    p = np.linspace(0.01, 0.99, 99)
    np.testing.assert_allclose(EventCalibration.start().apply(p), p, atol=1e-12)
    ten = np.linspace(0.05, 0.95, 10)
    moved = EventCalibration.start().learn(ten, ten > rng.permutation(ten)).apply(p) - p
    assert 0 < np.abs(moved).max() < 0.25


def test_order_of_probabilities_is_kept(rng: np.random.Generator) -> None:
    """Whatever the labels, a higher probability is calibrated to no lower one, inside (0, 1)."""
    p = np.linspace(0, 1, 201)
    for labels in (rng.uniform(size=201) > p, p < 0.5, p > 0.99):
        calibrated = EventCalibration.start().learn(p, labels).apply(p)
        assert (np.diff(calibrated) >= 0).all()
        assert ((calibrated > 0) & (calibrated < 1)).all()


def test_labels_in_one_call_or_many_give_one_state(rng: np.random.Generator) -> None:
    """The state is that of the labels in their order; missing ones count nothing."""
    p, event = drawn(rng, 300)
    together = EventCalibration.start().learn(p, event)
    apart = EventCalibration.start().learn(p[:100], event[:100]).learn(p[100:], event[100:])
    assert together.to_dict() == apart.to_dict()
    assert together.labels == 300
    assert together.learn([0.5], [np.nan]).to_dict() == together.to_dict()


def test_probability_of_a_forecast_that_is_too_narrow_is_mended(rng: np.random.Generator) -> None:
    """From quantiles half as wide as they should be, exceedance is over-confident; then not."""
    centre = rng.normal(size=5000)
    event = centre + rng.normal(size=5000) > 1
    law = centre[:, None] + 0.5 * special.ndtri(LEVELS)
    p = exceedance(law, LEVELS, 1.0)
    state = EventCalibration.start().learn(p[:3000], event[:3000])
    raw, mended = (
        log_loss(q[3000:], event[3000:]).mean() for q in (np.clip(p, 1e-9, 1), state.apply(p))
    )
    assert mended < 0.9 * raw


def test_label_that_is_no_event_is_refused() -> None:
    """An infinite label would make every later probability NaN."""
    for label in (np.inf, 2.0):
        with pytest.raises(TidegaugeError, match="an event is 0 or 1"):
            EventCalibration.start().learn([0.5], [label])


def test_state_survives_json_and_refuses_others(rng: np.random.Generator) -> None:
    """A reloaded state is the same; another version or a damaged one is one clear error."""
    state = EventCalibration.start().learn(*drawn(rng, 50))
    again = EventCalibration.from_dict(json.loads(json.dumps(state.to_dict())))
    assert again.to_dict() == state.to_dict()
    with pytest.raises(BaselineError, match="version 0"):
        EventCalibration.from_dict(state.to_dict() | {"version": 0})
    with pytest.raises(BaselineError, match="damaged"):
        EventCalibration.from_dict(state.to_dict() | {"trust": [1.0]})
