from __future__ import annotations

from typing import Any

import pytest

from monitors.budget import false_alarms_allowed, forecast_monitors, level_per_test
from schemas.stream import Stream


def stream(**parts: Any) -> Stream:
    """Return a stream of weekly windows that bears one false alarm in 70 days."""
    tree: dict[str, Any] = {
        "tidegauge": 1,
        "name": "weather",
        "source": {"path": "now.csv"},
        "reference": {"path": "then.csv"},
        "time": {"column": "time"},
        "columns": {"a": {"type": "number"}, "b": {"type": "number"}},
        "window": {"length": "7d"},
        "alarms": {"false": "1 per 70d"},
    }
    return Stream.model_validate(tree | parts)


FORECASTS = [{"target": "a"}, {"target": "b"}]


@pytest.mark.parametrize(
    ("parts", "tests"),
    [
        ({}, 1),
        ({"forecasts": FORECASTS[:1]}, 1 + 3),
        ({"forecasts": FORECASTS}, 1 + 6),
        ({"forecasts": FORECASTS, "monitors": {"pit": False}}, 1 + 4),
        ({"forecasts": FORECASTS, "monitors": {"attributions": True}}, 1 + 8),
        ({"forecasts": FORECASTS, "monitors": {"feature_shift": False}}, 6),
    ],
)
@pytest.mark.parametrize("keys", [1, 3])
def test_a_window_spends_its_budget_on_its_keys_and_monitors_and_no_more(
    parts: dict[str, Any], tests: int, keys: int
) -> None:
    """A tenth of a false alarm per week, shared evenly by what can raise one."""
    level = level_per_test(stream(**parts), keys)
    assert level * tests * keys == pytest.approx(0.1)


def test_sliding_windows_spend_by_their_step() -> None:
    """Seven windows a week have a seventh each."""
    sliding = stream(window={"length": "7d", "every": "1d"})
    assert level_per_test(sliding, 1) == pytest.approx(0.1 / 7)


def test_nothing_to_test_is_no_error() -> None:
    """Every monitor off: the level is that of the window."""
    off = stream(monitors={"feature_shift": False})
    assert level_per_test(off, 1) == pytest.approx(0.1)


def test_forecast_monitors_are_those_that_are_on_in_their_order() -> None:
    """All three unless said otherwise."""
    assert forecast_monitors(stream()) == ["coverage", "pinball", "pit"]
    assert forecast_monitors(stream(monitors={"pinball": False})) == ["coverage", "pit"]


def test_a_share_of_alarms_is_the_level_of_every_test() -> None:
    """Its windows alarm by `control: fdr`; the level names their features."""
    shared = stream(forecasts=FORECASTS, alarms={"false": "5 % of alarms", "control": "fdr"})
    assert level_per_test(shared, 3) == pytest.approx(0.05)


def test_allowed_false_alarms_grow_with_the_windows_or_with_the_alarms() -> None:
    """By the meaning of the budget."""
    assert false_alarms_allowed(stream(), 20, 7) == pytest.approx(2.0)
    shared = stream(alarms={"false": "5 % of alarms", "control": "fdr"})
    assert false_alarms_allowed(shared, 20, 7) == pytest.approx(0.35)
