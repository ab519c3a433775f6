from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from monitors.explain.diagnosis import Kind
from tests.monitors.explain.sensors import BEFORE, HOUR, NOW, OWN, SCALE, Change, Floats, world
from tests.monitors.simulated import likely_at_least

TRIALS, RIGHT = 12, 0.9
SIGMA = OWN * SCALE  # °F


def offset(q: Floats, _: np.random.Generator) -> None:
    """Read 2 σ high."""
    q[:, 2] += 2 * SIGMA


def scale(q: Floats, _: np.random.Generator) -> None:
    """Move 1.8 times as far."""
    q[:, 2] = 70 + 1.8 * (q[:, 2] - 70)


def stuck(q: Floats, _: np.random.Generator) -> None:
    """Repeat the first value."""
    q[:, 2] = q[0, 2]


def replay(q: Floats, rng: np.random.Generator) -> None:
    """Shuffle the values."""
    q[:, 2] = rng.permutation(q[:, 2])


def noise(q: Floats, rng: np.random.Generator) -> None:
    """Add noise of 2 σ."""
    q[:, 2] += 2 * SIGMA * rng.standard_normal(len(q))


def lag(q: Floats, rng: np.random.Generator) -> None:
    """Read 5 h late."""
    q[5:, 2] = q[:-5, 2].copy()
    q[:5, 2] = rng.permutation(q[5:, 2])[:5]


def unit(q: Floats, _: np.random.Generator) -> None:
    """Report in °C."""
    q[:, 2] = (q[:, 2] - 32) / 1.8


def swapped(q: Floats, _: np.random.Generator) -> None:
    """Exchange with the last sensor."""
    q[:, [2, 4]] = q[:, [4, 2]]


def clipped(q: Floats, _: np.random.Generator) -> None:
    """Cut off the upper third."""
    q[:, 2] = np.minimum(q[:, 2], np.quantile(q[:, 2], 0.67))


def drift(q: Floats, _: np.random.Generator) -> None:
    """Leave the truth by 5 σ at the end."""
    q[:, 2] += np.linspace(0, 5 * SIGMA, len(q))


def dependence(q: Floats, rng: np.random.Generator) -> None:
    """Put the values into an order that goes with the true one by ρ = .6."""
    ranks = np.argsort(np.argsort(q[:, 2]))
    mixed = 0.6 * np.sort(rng.standard_normal(len(q)))[ranks] + 0.8 * rng.standard_normal(len(q))
    q[:, 2] = np.sort(q[:, 2])[np.argsort(np.argsort(mixed))]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("offset", offset),
        ("scale", scale),
        ("stuck", stuck),
        ("replay", replay),
        ("noise", noise),
        ("lag", lag),
        ("unit", unit),
        ("swapped", swapped),
        ("clipped", clipped),
        ("drift", drift),
        ("dependence", dependence),
    ],
)
def test_the_kind_of_a_fault_is_told(rng: np.random.Generator, kind: Kind, change: Change) -> None:
    """In at least nine of ten windows, up to the error of twelve of them."""
    right = 0
    for _ in range(TRIALS):
        sensors = world(rng)
        change(sensors.clean, rng)
        right += sensors.diagnose(sensors.clean).kind == kind
    assert likely_at_least(right, TRIALS, RIGHT)


@pytest.mark.parametrize(
    ("change", "amount", "within"),
    [
        (offset, 2 * SIGMA, 0.8),
        (scale, 1.8, 0.2),
        (noise, np.sqrt(5) / np.sqrt(1.25), 0.4),  # four others know the shared part to σ/2
        (lag, 5 * 3600, 0.0),
        (drift, 5 * SIGMA, 1.5),
    ],
)
def test_the_size_of_a_fault_is_told(
    rng: np.random.Generator, change: Change, amount: float, within: float
) -> None:
    """In the sensor's unit, as a factor, or in seconds."""
    sensors = world(rng)
    change(sensors.clean, rng)
    told = sensors.diagnose(sensors.clean).amount
    assert told is not None
    assert abs(told - amount) <= within


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lag, "reads 5 h late given the other features"),
        (unit, "reads in °C instead of °F"),
        (swapped, "swapped with s4: each reads what the other should"),
    ],
)
def test_what_it_reads_instead_is_said(rng: np.random.Generator, change: Change, said: str) -> None:
    """Its values of earlier hours, of another unit, or of another sensor."""
    sensors = world(rng)
    change(sensors.clean, rng)
    assert sensors.diagnose(sensors.clean).sentence == said


def test_a_limit_and_a_value_are_said_in_the_unit(rng: np.random.Generator) -> None:
    """Of a clipped and of a stuck sensor."""
    sensors = world(rng)
    stuck(sensors.clean, rng)
    value = sensors.clean[0, 2]
    assert sensors.diagnose(sensors.clean).sentence.startswith(f"stuck at {value:.3g} °F")
    sensors = world(rng)
    clipped(sensors.clean, rng)
    found = sensors.diagnose(sensors.clean)
    assert found.amount == sensors.clean[:, 2].max()
    assert found.sentence.endswith("where the other features ask for values above it")


@pytest.mark.parametrize("change", [offset, scale, stuck, replay, noise, unit, swapped])
def test_a_fault_that_begins_in_the_window_is_dated(
    rng: np.random.Generator, change: Change
) -> None:
    """Within six hours, which the sentence ends with."""
    begin, near = NOW // 2, 0
    for _ in range(TRIALS):
        sensors = world(rng)
        change(sensors.clean[begin:], rng)
        found = sensors.diagnose(sensors.clean)
        true = datetime.fromtimestamp((BEFORE + begin) * HOUR / 1e6, UTC)
        near += found.since is not None and abs((found.since - true).total_seconds()) <= 6 * 3600
        if found.since is not None:
            assert found.sentence.endswith(f", since {found.since.day} {found.since:%b %H:%M}")
    assert likely_at_least(near, TRIALS, 0.8)


def test_a_fault_of_the_whole_window_has_no_beginning(rng: np.random.Generator) -> None:
    """It began with the window or before."""
    sensors = world(rng)
    offset(sensors.clean, rng)
    assert sensors.diagnose(sensors.clean).since is None


def test_without_rows_the_gram_matrices_speak(rng: np.random.Generator) -> None:
    """They know an offset, too."""
    sensors = world(rng)
    offset(sensors.clean, rng)
    found = sensors.diagnose(sensors.clean, rows=False)
    assert found.kind == "offset"
    assert found.sentence.endswith("°F high given the other features")


def test_without_times_a_lag_is_given_in_rows(rng: np.random.Generator) -> None:
    """Their order is what there is."""
    sensors = world(rng)
    lag(sensors.clean, rng)
    found = sensors.diagnose(sensors.clean, times=False)
    assert found.sentence == "reads 5 rows late given the other features"


def test_gaps_do_not_change_the_kind(rng: np.random.Generator) -> None:
    """Neither the sensor's own nor the others'."""
    right = 0
    for _ in range(TRIALS):
        sensors = world(rng)
        offset(sensors.clean, rng)
        sensors.clean[rng.random(sensors.clean.shape) < 0.1] = np.nan
        right += sensors.diagnose(sensors.clean).kind == "offset"
    assert likely_at_least(right, TRIALS, RIGHT)


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("change", [offset, swapped])
def test_lagged_values_do_not_change_what_is_said(change: Change, *, rows: bool) -> None:
    """A fault that lasts would explain itself, and an exchange would spoil both pasts."""
    said = []
    for lagged in (False, True):
        rng = np.random.default_rng(7)
        sensors = world(rng, lagged=lagged, memory=0.9)
        change(sensors.clean, rng)
        said.append(sensors.diagnose(sensors.clean, rows=rows).sentence)
    assert said[0] == said[1]


def test_a_wild_value_does_not_hide_a_gain(rng: np.random.Generator) -> None:
    """One row of 240 may read anything, whatever the others do."""
    right = 0
    for _ in range(TRIALS):
        sensors = world(rng)
        scale(sensors.clean, rng)
        sensors.clean[17, 2] = 5000.0
        right += sensors.diagnose(sensors.clean).kind == "scale"
    assert likely_at_least(right, TRIALS, RIGHT)


def test_a_gain_below_one_is_no_weaker_dependence(rng: np.random.Generator) -> None:
    """It narrows the marginal, also where this window's residuals are wider than they were."""
    right = 0
    for _ in range(TRIALS):
        sensors = world(rng)
        sensors.clean[:, 2] += 2 * SIGMA * rng.standard_normal(NOW)
        sensors.clean[:, 2] = 70 + 0.4 * (sensors.clean[:, 2] - 70)
        right += sensors.diagnose(sensors.clean).kind == "scale"
    assert likely_at_least(right, TRIALS, RIGHT)


def test_where_nothing_has_changed_no_explanation_is_chosen(rng: np.random.Generator) -> None:
    """The Gram matrices say what little there is: an offset or noise of no size."""
    for _ in range(TRIALS):
        sensors = world(rng)
        with_rows = sensors.diagnose(sensors.clean)
        assert with_rows == sensors.diagnose(sensors.clean, rows=False)
