from __future__ import annotations

import numpy as np
import pytest

from transforms.calibrate.risk_control import control_risk, recency_weights


def test_parameter_is_the_first_that_keeps_the_bound() -> None:
    """Mean losses .5, .2, .05 of nine rows, B = 1: bounds .55, .28, .145 against .3."""
    losses = np.tile([0.5, 0.2, 0.05], (9, 1))
    found = control_risk(losses, [1.0, 2.0, 3.0], 0.3, largest=1.0)
    assert (found.parameter, found.kept) == (2.0, True)
    assert (found.loss, found.bound) == pytest.approx((0.2, 0.28))


def test_target_below_the_weight_of_the_unknown_row_cannot_be_kept() -> None:
    """With ρ = .99 and no loss at all, .01 B is left: a target of .005 is said to be missed."""
    found = control_risk(
        np.zeros((5000, 2)), [1.0, 2.0], 0.005, largest=1.0, weights=recency_weights(5000, 0.99)
    )
    assert not found.kept
    assert (found.parameter, found.loss) == (2.0, 0.0)
    assert found.bound == pytest.approx(0.01)


def test_expected_loss_of_the_next_row_is_controlled(rng: np.random.Generator) -> None:
    """How far outcomes fall outside, cut at 1, is .2 at most on average and not far below."""
    grid = np.linspace(0, 3, 301)
    paid = []
    for _ in range(1500):
        losses = np.clip(np.abs(rng.normal(size=(40, 1))) - grid, 0, 1)
        paid.append(
            losses[
                39, np.searchsorted(grid, control_risk(losses[:39], grid, 0.2, largest=1).parameter)
            ]
        )
    error = np.std(paid) / np.sqrt(1500)
    assert 0.2 - 1 / 40 - 0.01 - 3.5 * error < np.mean(paid) < 0.2 + 3.5 * error


def test_recent_rows_decide_after_a_change() -> None:
    """A hundred rows of no loss, then a hundred of loss: weights ask for more than none do."""
    losses = np.zeros((200, 2))
    losses[100:, 0] = 1.0
    plain = control_risk(losses, [1.0, 2.0], 0.55, largest=1.0)
    recent = control_risk(losses, [1.0, 2.0], 0.55, largest=1.0, weights=recency_weights(200, 0.98))
    assert (plain.parameter, recent.parameter) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("losses", "says"), [([[0.1, 0.2]], "increase"), ([[2.0, 0.1]], "exceed 1")]
)
def test_losses_outside_the_theorem_are_refused(losses: list[list[float]], says: str) -> None:
    """A loss that grows with the parameter, or beyond its bound, cannot be controlled."""
    with pytest.raises(ValueError, match=says):
        control_risk(losses, [1.0, 2.0], 0.5, largest=1.0)
