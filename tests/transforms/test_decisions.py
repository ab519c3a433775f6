from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from schemas.errors import TidegaugeError
from transforms.decisions import ActionCost, ShortfallCost, exceedance
from transforms.quantile_law import crps
from transforms.scores import pinball_loss

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def test_the_newsvendor_takes_the_quantile_that_costs_least(rng: np.random.Generator) -> None:
    """With 5 under and 1 over it is the 5/6 quantile, and no other amount costs less on average."""
    cost = ShortfallCost(under=5, over=1)
    y = rng.normal(size=100_000)
    law = special.ndtri(np.arange(1, 100) / 100)[None]
    (amount,) = cost.decide(law, np.arange(1, 100) / 100)
    assert amount == pytest.approx(special.ndtri(5 / 6), abs=1e-3)
    others = amount + np.array([-0.2, 0.2])
    assert cost.of(amount, y).mean() < min(cost.of(other, y).mean() for other in others)


def test_shortfall_cost_is_a_multiple_of_the_pinball_loss(rng: np.random.Generator) -> None:
    """(under + over) ψ at under / (under + over); without an outcome there is no cost."""
    y, decision = rng.normal(size=50), rng.normal(size=50)
    loss = pinball_loss(y, decision[:, None], [5 / 6])[:, 0]
    np.testing.assert_allclose(ShortfallCost(5, 1).of(decision, y), 6 * loss)
    assert np.isnan(ShortfallCost(5, 1).of([0.0], [np.nan])).all()


def test_the_best_score_is_not_the_best_decision(rng: np.random.Generator) -> None:
    """The forecast trap: a law exact but for its upper tail has the lower CRPS, and costs more.

    Demand is log-normal and a unit short costs 19 times one left over. One forecast is right but
    for its 95 % quantile, which is too low; the other is shifted everywhere, except there.
    """
    y = np.exp(rng.normal(size=50_000))
    true = np.exp(special.ndtri(LEVELS))
    bold, shifted = true.copy(), true * 0.7
    bold[-1], shifted[-1] = bold[-2] + 0.1, true[-1]
    cost = ShortfallCost(under=19, over=1)
    forecasts = [np.tile(law, (len(y), 1)) for law in (bold, shifted)]
    scores = [crps(y, law, LEVELS).mean() for law in forecasts]
    costs = [cost.of(cost.decide(law, LEVELS), y).mean() for law in forecasts]
    assert scores[0] < 0.99 * scores[1]
    assert costs[0] > 1.05 * costs[1]


def test_acting_at_the_ratio_of_cost_to_loss_costs_least(rng: np.random.Generator) -> None:
    """On true probabilities, the rule beats always, never, and an interval's own rule."""
    cost = ActionCost(act=1, loss=8)
    centre = rng.normal(size=20_000)
    event = centre + rng.normal(size=20_000) > 1.5
    law = centre[:, None] + special.ndtri(LEVELS)
    probability = exceedance(law, LEVELS, 1.5)
    np.testing.assert_allclose(probability, special.ndtr(centre - 1.5), atol=0.02)
    best = cost.of(cost.decide(probability), event).mean()
    rules = [np.ones(20_000, bool), np.zeros(20_000, bool), law[:, -1] > 1.5, law[:, 3] > 1.5]
    assert best < min(cost.of(rule, event).mean() for rule in rules)


def test_costs_that_leave_nothing_to_decide_are_refused() -> None:
    """A cost of zero, and acting dearer than the event, are one clear sentence each."""
    with pytest.raises(TidegaugeError, match="both must be above 0"):
        ShortfallCost(under=0, over=1)
    with pytest.raises(TidegaugeError, match="less than the event"):
        ActionCost(act=3, loss=2)
