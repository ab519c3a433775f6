from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from monitors.attribute.feature_attributions import (
    FEWEST_WINDOWS,
    AttributionNull,
    AttributionResult,
    compare_attributions,
    null_of,
)
from schemas.errors import BaselineError
from tests.monitors.simulated import likely_at_least

Floats = NDArray[np.float64]
ROWS, FEATURES, LEVEL = 168, 6, 0.05
NAMES = [f"x{j}" for j in range(FEATURES)]


def windows(rng: np.random.Generator, count: int, phi: float) -> list[Floats]:
    """Return the values of correlated AR(1) features: straight, in steps, and mostly at rest."""
    noise = rng.standard_normal((ROWS * count + 200, FEATURES))
    x = signal.lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, axis=0)[200:]
    x[:, 1:] = 0.7 * x[:, :1] + np.sqrt(1 - 0.7**2) * x[:, 1:]
    x[:, 2] = np.round(x[:, 2])
    x[:, 3] = np.maximum(x[:, 3] - 1.5, 0.0)
    x[:, 4] *= 1e-3  # moves the forecast by next to nothing
    return np.split(x, count)


def known(rng: np.random.Generator, phi: float = 0.8) -> AttributionNull:
    """Return the law of 26 windows."""
    return null_of(windows(rng, 26, phi), NAMES, 1.0)


def named(found: list[AttributionResult]) -> list[str]:
    """Return the features that alarm, strongest first."""
    return [item.name for item in found if item.alarm]


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.5, 0.9])
def test_alarms_come_no_more_often_than_they_may_when_nothing_changed(phi: float) -> None:
    """Over references and windows of rows that depend on each other, by each feature and in all."""
    rng = np.random.default_rng(7)
    false = tested = 0
    for _ in range(30):
        parts = windows(rng, 26 + 10, phi)
        null = null_of(parts[:26], NAMES, 0.0)
        for own in parts[26:]:
            found = compare_attributions(own, null, LEVEL)
            false += bool(named(found))
            tested += 1
            assert bool(named(found)) == (min(item.p_adjusted for item in found) < LEVEL)
    assert likely_at_least(tested - false, tested, 1.0 - LEVEL)
    assert false


def test_a_feature_that_is_stuck_stops_moving_the_forecast(rng: np.random.Generator) -> None:
    """At a value as common as any: no distance of its values could tell."""
    null = known(rng)
    (own,) = windows(rng, 1, 0.8)
    own[:, 0] = 0.3
    found = compare_attributions(own, null, LEVEL)
    assert named(found) == ["x0"]
    assert found[0].passed == (False, True)
    assert found[0].swing[0] == 0
    assert found[0].swing[1] == pytest.approx(null.swing[0])


def test_a_feature_that_adds_more_is_named_with_how_much_more(rng: np.random.Generator) -> None:
    """Two standard deviations."""
    null = known(rng)
    (own,) = windows(rng, 1, 0.8)
    own[:, 1] += 2.0
    found = compare_attributions(own, null, LEVEL)
    assert named(found) == ["x1"]
    assert found[0].passed == (True, False)
    assert found[0].shift == pytest.approx(2.0, abs=0.6)
    assert found[0].drive[0] > 1.5 * found[0].drive[1]
    assert found[0].mean[0] - found[0].mean[1] == pytest.approx(2.0, abs=0.6)


def test_what_hardly_moves_the_forecast_does_not_alarm(rng: np.random.Generator) -> None:
    """However sure its change: by less than a hundredth of the forecast's own spread."""
    null = known(rng)
    (own,) = windows(rng, 1, 0.8)
    own[:, 4] += 0.009
    found = compare_attributions(own, null, LEVEL)
    assert found[0].name == "x4"
    assert found[0].evidence > found[0].threshold
    assert named(found) == []


def test_a_feature_that_is_not_used_has_no_law(rng: np.random.Generator) -> None:
    """Its values are 0 in every row; the others are tested as if it were not there."""
    parts = windows(rng, 27, 0.8)
    for own in parts:
        own[:, 0] = 0.0
    found = compare_attributions(parts[26], null_of(parts[:26], NAMES, 1.0), LEVEL)
    assert sorted(item.name for item in found) == NAMES[1:]


def test_a_short_window_is_no_evidence_by_being_short(rng: np.random.Generator) -> None:
    """Three quarters of the rows, the shortest that is tested, lie further off and closer."""
    false = 0
    for _ in range(20):
        parts = windows(rng, 26 + 10, 0.5)
        null = null_of(parts[:26], NAMES, 0.0)
        for own in parts[26:]:
            false += bool(named(compare_attributions(own[: ROWS * 3 // 4], null, LEVEL)))
    assert likely_at_least(200 - false, 200, 1.0 - LEVEL)


def test_few_windows_have_no_law(rng: np.random.Generator) -> None:
    """Nothing is tested, and nothing is raised."""
    null = null_of(windows(rng, FEWEST_WINDOWS - 1, 0.5), NAMES, 1.0)
    assert compare_attributions(windows(rng, 1, 0.5)[0], null, LEVEL) == []


def test_the_law_survives_json(rng: np.random.Generator) -> None:
    """With every number; another version is refused."""
    null = known(rng)
    again = AttributionNull.from_dict(json.loads(json.dumps(null.to_dict())))
    (own,) = windows(rng, 1, 0.8)
    assert compare_attributions(own, again, LEVEL) == compare_attributions(own, null, LEVEL)
    with pytest.raises(BaselineError, match="fit"):
        AttributionNull.from_dict(null.to_dict() | {"version": 0})
