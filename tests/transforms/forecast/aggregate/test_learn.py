"""Tests of weights: what they add up to, and how they are learnt."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import ndtri

from transforms.forecast.aggregate.crossing import Crossing
from transforms.forecast.aggregate.learn import Lesson, learn_weights
from transforms.forecast.aggregate.weights import Grain, Weights
from transforms.scores import pinball_loss

LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
GRAINS: tuple[Grain, ...] = ("coarse", "medium", "fine")


def lesson_of(rng: np.random.Generator, rows: int) -> Lesson:
    """Return three members: noisy, too narrow, and off; two features."""
    X, noise = rng.standard_normal((rows, 2)), rng.standard_normal(rows)
    y = 2 * X[:, 0] + noise
    centres = (2 * X[:, 0] + rng.standard_normal(rows), 2 * X[:, 0] - 0.3, 1.5 * X[:, 0] + 0.5)
    members = [
        centre[:, None] + spread * ndtri(LEVELS)
        for centre, spread in zip(centres, (1.4, 0.6, 1.2), strict=True)
    ]
    return Lesson(np.stack(members, axis=1), y, X, LEVELS)


def loss_of(lesson: Lesson, weights: Weights) -> float:
    """Return the mean pinball loss of the aggregate on the rows of a lesson."""
    found = weights.combine(lesson.members, lesson.X)
    return float(pinball_loss(lesson.y, found, LEVELS).mean())


@pytest.mark.parametrize(("grain", "local"), list(itertools.product(GRAINS, (False, True))))
def test_gradient_is_that_of_the_objective(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, grain: Grain, *, local: bool
) -> None:
    """Finite differences agree with what is given to the optimiser, the crossing penalty too."""
    seen: dict[str, Any] = {}

    def look(objective: Callable[[Any], Any], start: Any, **_: object) -> Any:
        seen["objective"], seen["start"] = objective, start
        raise StopIteration

    monkeypatch.setattr("scipy.optimize.minimize", look)
    lesson = lesson_of(rng, 40)
    with pytest.raises(StopIteration):
        learn_weights(lesson, grain, local=local, crossing=Crossing(2.0, 0.3, adaptive=True))
    place = seen["start"] + 0.3 * rng.standard_normal(seen["start"].shape)
    expected = approx_fprime(place, lambda at: seen["objective"](at)[0], 1e-7)
    np.testing.assert_allclose(seen["objective"](place)[1], expected, atol=2e-5)


def test_coarse_weights_are_the_best_there_are(rng: np.random.Generator) -> None:
    """No other weights on a grid over the simplex lose less, but for what the prior holds back."""
    lesson = lesson_of(rng, 2000)
    found = loss_of(lesson, learn_weights(lesson, "coarse"))
    grid = np.linspace(0, 1, 21)
    others = [
        pinball_loss(lesson.y, np.einsum("j,njm->nm", w, lesson.members), LEVELS).mean()
        for a, b in itertools.product(grid, grid)
        if (w := np.array([a, b, 1 - a - b])).min() >= -1e-12
    ]
    assert found < min(others) * 1.001


def test_more_parameters_lose_less_on_the_rows_learnt_from(rng: np.random.Generator) -> None:
    """Equal, coarse, medium and fine weights lose less in this order; local ones less still."""
    lesson = lesson_of(rng, 1500)
    equal = pinball_loss(lesson.y, lesson.members.mean(axis=1), LEVELS).mean()
    simpler, losses, local = None, [float(equal)], []
    for grain in GRAINS:
        simpler = learn_weights(lesson, grain, simpler)
        losses.append(loss_of(lesson, simpler))
        local.append(loss_of(lesson, learn_weights(lesson, grain, simpler, local=True)))
    assert losses == sorted(losses, reverse=True)
    assert all(own < other for own, other in zip(local, losses[1:], strict=True))


@pytest.mark.parametrize("grain", GRAINS)
def test_few_rows_leave_weights_near_those_of_the_simpler_scheme(
    rng: np.random.Generator, grain: Grain
) -> None:
    """Ten rows move no member's share by much; two thousand do."""
    few, many = (learn_weights(lesson_of(rng, n), grain).shares(3) for n in (10, 2000))
    assert np.abs(few - 1 / 3).max() < 0.15
    assert np.abs(many - 1 / 3).max() > 0.2


@pytest.mark.parametrize(("grain", "local"), list(itertools.product(GRAINS, (False, True))))
def test_aggregate_lies_between_its_members(
    rng: np.random.Generator, grain: Grain, *, local: bool
) -> None:
    """Levels do not cross nor leave the members' range; JSON and other rows change no bit."""
    lesson = lesson_of(rng, 300)
    weights = learn_weights(lesson, grain, local=local)
    found = weights.combine(lesson.members, lesson.X)
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found >= lesson.members.min(axis=(1, 2))[:, None] - 1e-9).all()
    assert (found <= lesson.members.max(axis=(1, 2))[:, None] + 1e-9).all()
    assert weights.shares(3).sum() == pytest.approx(1)
    again = Weights.from_dict(json.loads(json.dumps(weights.to_dict())))
    np.testing.assert_array_equal(again.combine(lesson.members, lesson.X), found)
    alone = [weights.combine(lesson.members[[row]], lesson.X[[row]]) for row in range(60)]
    np.testing.assert_array_equal(np.vstack(alone), found[:60])


def test_penalty_keeps_levels_apart(rng: np.random.Generator) -> None:
    """With weights learnt level by level, fewer rows cross before they are sorted."""
    lesson = lesson_of(rng, 60)
    rough = lesson.members + 0.5 * rng.standard_normal(lesson.members.shape)
    lesson = Lesson(rough, lesson.y, lesson.X, LEVELS)
    crossed = []
    for crossing in (None, Crossing(10.0, 0.1, adaptive=True)):
        weights = learn_weights(lesson, "fine", crossing=crossing)
        grown = np.exp(weights.logits[0])
        unsorted = lesson.members.reshape(60, -1) @ (grown / grown.sum(axis=0))
        crossed.append(np.maximum(-np.diff(unsorted, axis=1), 0).sum())
    assert crossed[1] < 0.8 * crossed[0]


def test_weight_of_a_row_counts(rng: np.random.Generator) -> None:
    """Rows of weight near 0 are as rows that are not there."""
    lesson = lesson_of(rng, 800)
    own = np.arange(800) < 400
    heavy = Lesson(
        lesson.members,
        np.where(own, lesson.y, 40.0),
        lesson.X,
        LEVELS,
        (),
        own.astype(np.float64) + 1e-12,
    )
    np.testing.assert_allclose(
        learn_weights(heavy, "coarse").shares(3),
        learn_weights(lesson.take(own), "coarse").shares(3),
        atol=0.02,
    )
