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
    monitor and every marginal monitor (one test each, whose level holds over all features together)
    and by every forecast monitor of every target, attributions among them, with all features of a
    forecaster together (Bonferroni: the sum of the levels is the budget, whatever the dependence).
    The test of all keys together counts as one more.
    A share of alarms is not a budget of windows: it is then the level at which a window that
    alarms names its features, and `alarms.control` decides which windows alarm.
    """
    if stream.alarms.share is not None:
        return stream.alarms.share
    of_forecasts = len(forecast_monitors(stream)) + stream.monitors.attributions
    tests = of_forecasts * len(stream.forecasts)
    tests += stream.monitors.feature_shift is not False
    tests += len(stream.monitors.marginals)
    tests = tests * keys + is_rolled_up(stream, keys)
    return stream.alarms.per_window(stream.window.every_seconds) / max(tests, 1)


def is_rolled_up(stream: Stream, keys: int) -> bool:
    """Say whether all keys are also tested together; see `rollup`."""
    return bool(stream.key) and keys > 1 and stream.monitors.feature_shift is not False


def false_alarms_allowed(stream: Stream, windows: int, alarms: int) -> float:
    """Return the false alarms that the stream file bears in a run of so many windows and alarms."""
    if stream.alarms.share is not None:
        return stream.alarms.share * alarms
    return stream.alarms.per_window(stream.window.every_seconds) * windows
