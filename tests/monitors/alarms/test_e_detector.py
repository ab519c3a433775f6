"""The e-detector on simulated p-values: its run length without a shift, its delay after one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count

import numpy as np
import pytest
from scipy import stats

from monitors.alarms.e_detector import Detector

LENGTH = 50.0  # average run length asked for, in windows


def first(p_values: Iterator[float], enough: float, most: int = 2000) -> int:
    """Return the number of the window in which the e-detector alarms; `most` when none does."""
    state = Detector()
    for number, p in enumerate(p_values, start=1):
        state = state.after(p)
        if state.value >= enough or number == most:
            return number
    raise AssertionError


def null(rng: np.random.Generator, reliance: float) -> Iterator[float]:
    """Yield p-values that are uniform given those before, and bolder after small ones.

    With `reliance` the last p-value decides between a fine and a coarse (but valid) p-value.
    """
    last = 1.0
    while True:
        p = float(rng.random())
        if last < reliance:
            p = math.ceil(10 * p) / 10
        yield p
        last = p


@pytest.mark.parametrize("reliance", [0.0, 0.5])
def test_run_length_without_a_shift_is_at_least_what_is_asked(reliance: float) -> None:
    """Mean over 120 streams, whether or not a p-value depends on the one before."""
    rng = np.random.default_rng(5)
    lengths = np.array([first(null(rng, reliance), LENGTH) for _ in range(120)])
    assert lengths.mean() + 2.33 * lengths.std(ddof=1) / math.sqrt(120) >= LENGTH
    assert lengths.mean() < 10 * LENGTH  # it is no detector that never alarms


def test_several_detectors_share_one_budget() -> None:
    """Ten subjects with ten times the threshold each, wholly dependent or not: once in a length."""
    rng = np.random.default_rng(6)
    lengths = []
    for _ in range(40):
        states, number = [Detector()] * 10, 0
        while max(state.value for state in states) < 10 * LENGTH and number < 1000:
            states = [s.after(p) for s, p in zip(states, rng.random(10), strict=True)]
            number += 1
        lengths.append(number)
    assert np.mean(lengths) + 2.33 * np.std(lengths, ddof=1) / math.sqrt(40) >= LENGTH


def test_small_lasting_shift_is_found_before_any_single_window_shows_it() -> None:
    """At one false alarm in 1,000 windows a lasting shift of 1 σ takes less than half."""
    rng = np.random.default_rng(8)
    detector, single = [], []
    for _ in range(60):
        p = stats.norm.sf(rng.standard_normal(600) + 1.0)
        detector.append(first(iter(p), 1000.0, 600))
        single.append(next(i for i in count(1) if i == 600 or p[i - 1] <= 1e-3))
    assert np.mean(detector) < np.mean(single) / 2


def test_ramp_is_found_earlier_than_by_single_windows() -> None:
    """At one false alarm in 1,000 windows, of a ramp of a fiftieth of σ a window."""
    rng = np.random.default_rng(9)
    detector, single = [], []
    for _ in range(40):
        p = stats.norm.sf(rng.standard_normal(400) + 0.02 * np.arange(1, 401))
        detector.append(first(iter(p), 1000.0, 400))
        single.append(next(i for i in count(1) if i == 400 or p[i - 1] <= 1e-3))
    assert np.mean(detector) < 0.8 * np.mean(single)


@pytest.mark.parametrize("p", [0.0, 5e-324, 1.0])
def test_extreme_p_values_leave_a_finite_state(p: float) -> None:
    """Neither no chance at all nor certainty breaks the sum."""
    assert math.isfinite(Detector((1e6,) * 5).after(p).value)


def test_state_is_small_and_comes_back_from_its_fields() -> None:
    """What a stream processor keeps between windows is plain numbers."""
    state = Detector().after(0.3).after(0.01)
    assert Detector(**asdict(state)) == state
