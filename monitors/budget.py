"""Splits the alarm budget of a stream over its keys and monitors."""

from __future__ import annotations

from monitors.forecast_scores import Monitor
from schemas.stream import Stream

FORECAST_MONITORS: tuple[Monitor, ...] = ("coverage", "pinball", "pit")


def forecast_monitors(stream: Stream) -> list[Monitor]:
    """Return the forecast monitors that are on."""
    on = {name: getattr(stream.monitors, name) for name in FORECAST_MONITORS}
    return [name for name in FORECAST_MONITORS if on[name]]


def level_per_test(stream: Stream, keys: int) -> float:
    """Return the false-alarm probability each test of one window of one key may spend.

    The budget of a window is shared evenly by its keys, and within a key by the feature-shift
    monitor (one test, whose level holds over all features together) and by every forecast monitor
    of every target (Bonferroni: the sum of the levels is the budget, whatever the dependence).
    """
    tests = len(forecast_monitors(stream)) * len(stream.forecasts)
    tests += stream.monitors.feature_shift is not False
    return stream.alarms.per_window(stream.window.every_seconds) / max(tests * keys, 1)
