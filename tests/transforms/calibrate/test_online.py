from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.errors import BaselineError
from transforms.calibrate.online import Issued, OnlineCalibrator
from transforms.calibrate.rules import RULES, restore, start

Floats = NDArray[np.float64]


def followed(
    calibrator: OnlineCalibrator, outcomes: Floats, half_width: float = 1.0, middle: float = 0.0
) -> Floats:
    """Issue and learn in turn; the ends, shape (2, S, time)."""
    base = np.full(len(outcomes), half_width)
    ends = np.empty((2, *outcomes.shape))
    for t, outcome in enumerate(outcomes.T):
        issued = calibrator.issue(middle - base, middle + base)
        ends[:, :, t] = issued.lower, issued.upper
        calibrator.learn(issued, outcome)
    return ends


@pytest.mark.parametrize("kind", RULES)
def test_state_read_back_goes_on_bit_by_bit(kind: str, rng: np.random.Generator) -> None:
    """Strict JSON and back, in the middle of a stream, changes no later interval or memo."""
    calibrator = start(0.8, kind=kind, series=2)
    followed(calibrator, rng.normal(size=(2, 60)))
    again = restore(json.loads(json.dumps(calibrator.to_dict(), allow_nan=False)))
    later = rng.normal(size=(2, 20))
    np.testing.assert_array_equal(followed(again, later), followed(calibrator, later))
    assert again.to_dict() == calibrator.to_dict()


@pytest.mark.parametrize("kind", RULES)
def test_order_of_outcomes_that_come_together_does_not_matter(
    kind: str, rng: np.random.Generator
) -> None:
    """Thirty late outcomes listed in any order give the state of the order of their issue."""
    states = []
    for _ in range(3):
        calibrator = start(0.9, kind=kind)
        followed(calibrator, np.sin(np.arange(50.0))[None])
        pending = [(calibrator.issue(-1.0, 1.0), float(i % 7)) for i in range(30)]
        calibrator.learn_all([pending[i] for i in rng.permutation(30)])
        states.append(calibrator.to_dict())
    assert states[0] == states[1] == states[2]


@pytest.mark.parametrize("kind", RULES)
def test_each_series_goes_its_own_way(kind: str, rng: np.random.Generator) -> None:
    """Three series together, some outcomes missing, do as each of them alone."""
    outcomes = rng.normal(size=(3, 80))
    outcomes[rng.random(outcomes.shape) < 0.3] = np.nan
    together = followed(start(0.9, kind=kind, series=3), outcomes)
    for i in range(3):
        alone = followed(start(0.9, kind=kind), outcomes[i : i + 1])
        np.testing.assert_allclose(together[:, i], alone[:, 0], rtol=1e-9)


@pytest.mark.parametrize("kind", RULES)
def test_intervals_move_with_unit_and_origin(kind: str, rng: np.random.Generator) -> None:
    """Degrees Fahrenheit give the intervals of degrees Celsius."""
    celsius = rng.normal(size=(1, 80))
    there = followed(start(0.9, kind=kind), celsius)
    here = followed(start(0.9, kind=kind), 32 + 1.8 * celsius, half_width=1.8, middle=32.0)
    np.testing.assert_allclose(here, 32 + 1.8 * there, rtol=1e-9)


def test_wide_and_narrow_base_intervals_are_stretched_alike(rng: np.random.Generator) -> None:
    """Noise twice the base width, which varies from row to row, is covered at every width."""
    calibrator, inside, widths = start(0.9), [], rng.uniform(0.1, 10, 3000)
    for width in widths:
        issued = calibrator.issue(-width, width)
        outcome = 2 * width * rng.normal()
        inside.append(issued.lower[0] <= outcome <= issued.upper[0])
        calibrator.learn(issued, outcome)
    held = np.array(inside)[1000:]
    for chosen in (widths[1000:] < 5, widths[1000:] >= 5):
        assert abs(held[chosen].mean() - 0.9) < 0.007 + 3.5 * np.sqrt(0.09 / chosen.sum())


@pytest.mark.parametrize("kind", RULES)
def test_series_without_outcome_stays_as_it_is(kind: str) -> None:
    """A NaN teaches nothing, alone or beside an outcome of another series."""
    calibrator = start(0.9, kind=kind, series=2)
    followed(calibrator, np.ones((2, 5)))
    before = calibrator.to_dict()["state"]
    issued = calibrator.issue(np.full(2, -1.0), np.full(2, 1.0))
    calibrator.learn(issued, [np.nan, np.nan])
    assert calibrator.to_dict()["state"] == before
    calibrator.learn(issued, [np.nan, 9.0])
    for name, part in calibrator.to_dict()["state"].items():
        assert part[0] == before[name][0], name


def test_pending_issue_survives_as_two_ends_and_a_list() -> None:
    """What is stored of an issue, as Python floats, teaches the same."""
    first, second = start(0.9), start(0.9)
    issued, _ = first.issue(-1.0, 3.0), second.issue(-1.0, 3.0)
    stored = (issued.lower.tolist(), issued.upper.tolist(), issued.memo[0].tolist())
    first.learn(issued, 5.0)
    second.learn(Issued(np.array(stored[0]), np.array(stored[1]), np.array([stored[2]])), 5.0)
    assert first.to_dict() == second.to_dict()


@pytest.mark.parametrize("kind", ["tracker", "pid"])
def test_first_interval_is_that_of_the_base(kind: str) -> None:
    """Without outcomes nothing is moved."""
    issued = start(0.9, kind=kind).issue(2.0, 5.0)
    np.testing.assert_allclose([issued.lower[0], issued.upper[0]], [2.0, 5.0])


def test_base_of_points_gets_intervals_all_the_same(rng: np.random.Generator) -> None:
    """Where the base interval has no width, the target's own unit is used, and 90 % are held."""
    outcomes = 1e3 * rng.normal(size=(4, 3000))
    lower, upper = followed(start(0.9, series=4), outcomes, half_width=0.0)[:, :, 1000:]
    held = np.mean((lower <= outcomes[:, 1000:]) & (outcomes[:, 1000:] <= upper))
    assert abs(held - 0.9) < 0.007 + 3.5 * np.sqrt(0.09 / 8000)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ends", [(np.nan, 1.0), (-np.inf, np.inf), (-np.inf, 1.0)])
def test_base_without_finite_ends_comes_back_and_teaches_nothing(
    ends: tuple[float, float],
) -> None:
    """An infinite base interval stays infinite, NaN stays NaN."""
    calibrator = start(0.9)
    before = calibrator.to_dict()["state"]
    issued = calibrator.issue(*ends)
    np.testing.assert_array_equal([issued.lower[0], issued.upper[0]], ends)
    calibrator.learn(issued, 0.0)
    assert calibrator.to_dict()["state"] == before
    assert np.isfinite(calibrator.issue(-1.0, 1.0).upper[0])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda state: state.update(version=9), "version 9"),
        (lambda state: state.update(kind="hope"), "damaged"),
        (lambda state: state["state"].pop("recent"), "damaged"),
        (lambda state: state["state"].update(recent=[1.0, 2.0]), "shape"),
        (lambda state: state.update(usual="wide"), "damaged"),
    ],
)
def test_states_that_cannot_be_read_are_explained(
    spoil: Callable[[dict[str, object]], object], says: str
) -> None:
    """Another version and damage are errors that say what to do."""
    state = start(0.9).to_dict()
    spoil(state)
    with pytest.raises(BaselineError, match=f"{says}.*tidegauge fit"):
        restore(state)
