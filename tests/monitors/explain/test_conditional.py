from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from monitors.encoder import fit_encoder
from monitors.explain.conditional import conditional
from monitors.gram import profile
from schemas.stream import Column
from tests.monitors.explain.sensors import BEFORE, HOUR, OWN, SCALE, table, world


def test_what_a_sensor_should_read_is_its_conditional_mean(rng: np.random.Generator) -> None:
    """In its unit: of Gaussian sensors, the regression on the others."""
    sensors = world(rng)
    rows = table(sensors.clean, BEFORE)
    found = conditional(sensors.encoder, sensors.reference, rows, 2, time="time")
    shared = np.delete(sensors.clean - [50, 60, 70, 80, 90], 2, axis=1).mean(axis=1)
    true = 70 + shared / (1 + OWN**2 / 4)
    assert np.sqrt(np.mean((found.expected - true) ** 2)) < 0.1 * SCALE
    assert np.median(found.spread) == pytest.approx(OWN * SCALE * np.sqrt(1.25), rel=0.15)
    assert found.times is not None
    assert found.times[1] - found.times[0] == HOUR


def test_its_own_values_do_not_count(rng: np.random.Generator) -> None:
    """Not even where they would fill the gaps of others."""
    sensors = world(rng)
    sensors.clean[::3, 4] = np.nan
    before = conditional(sensors.encoder, sensors.reference, table(sensors.clean, 0), 2)
    sensors.clean[:, 2] += 100
    after = conditional(sensors.encoder, sensors.reference, table(sensors.clean, 0), 2)
    gaps = np.isnan(sensors.clean[:, 4])
    assert np.array_equal(before.expected[~gaps], after.expected[~gaps])
    assert np.array_equal(before.expected[gaps], after.expected[gaps])


def test_what_is_set_aside_does_not_explain(rng: np.random.Generator) -> None:
    """Broken neighbours leave the expected values alone."""
    sensors = world(rng)
    before = conditional(sensors.encoder, sensors.reference, table(sensors.clean, 0), 2, [1])
    sensors.clean[:, 1] = 0.0
    after = conditional(sensors.encoder, sensors.reference, table(sensors.clean, 0), 2, [1])
    assert np.array_equal(before.expected, after.expected)


@pytest.mark.parametrize("past", ["a 1h ago", "b 1h ago"])
def test_lagged_values_do_not_explain(rng: np.random.Generator, past: str) -> None:
    """Neither its own, by which a fault that lasts would explain itself, nor the others'."""
    x = rng.standard_normal((600, 2))
    names = ["a", "b", past]
    rows = pa.table(dict(zip(names, [x[:, 0], x[:, 1], x[:, 0]], strict=True)))
    columns = dict.fromkeys(names, Column(type="number"))
    encoder = fit_encoder(rows, columns, features=["a", "b"], conditions=[past], window_rows=100)
    found = conditional(encoder, profile(encoder, rows), rows, 0)
    assert abs(np.corrcoef(found.expected, x[:, 0])[0, 1]) < 0.2
