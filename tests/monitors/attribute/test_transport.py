from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from monitors.attribute.encoded import Encoded, encode_both, numbers
from monitors.attribute.transport import Transport, transport
from schemas.stream import Column

ROWS, WINDOW = 1000, 300


def _sensor(rng: np.random.Generator, n: int, middle: float = 0.0) -> dict[str, np.ndarray]:
    a, b = middle + rng.standard_normal(n), rng.standard_normal(n)
    return {"a": a, "b": b, "s": 50.0 + 10.0 * a + 5.0 * b + rng.standard_normal(n)}


def _moved(
    before: dict[str, np.ndarray], after: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[Transport, Encoded]:
    old, new = (
        pa.table({name: pa.array(column, from_pandas=True) for name, column in rows.items()})
        for rows in (before, after)
    )
    rows = encode_both(old, new, dict.fromkeys(before, Column(type="number")), ["a", "b", "s"])
    return transport(rows, numbers(old, new, "s"), ("a", "b"), rng), rows


def test_an_offset_moves_every_row_by_itself(rng: np.random.Generator) -> None:
    """Also where no row of the reference has such a value, and although others moved as well."""
    before, after = _sensor(rng, ROWS), _sensor(rng, WINDOW, middle=0.5)
    after["s"] += 8.0
    found, _ = _moved(before, after, rng)
    gap = found.values - before["s"]
    assert gap.mean() == pytest.approx(8.0, abs=4 / np.sqrt(WINDOW) + 0.2)
    assert gap.std() < 1.0


def test_nothing_moves_a_row_where_the_law_is_as_it_was(rng: np.random.Generator) -> None:
    """The residual's standard deviation is 1."""
    before = _sensor(rng, ROWS)
    found, _ = _moved(before, _sensor(rng, WINDOW), rng)
    assert np.abs(found.values - before["s"]).mean() < 0.3


def test_a_stuck_sensor_sticks_within_what_the_window_has_seen(rng: np.random.Generator) -> None:
    """One value, up to the error of the reference's regression."""
    before, after = _sensor(rng, ROWS), _sensor(rng, WINDOW)
    after["s"] = np.full(WINDOW, 55.0)
    found, _ = _moved(before, after, rng)
    inside = np.abs(before["a"]) < 1.5
    assert found.values[inside].mean() == pytest.approx(55.0, abs=0.5)
    assert found.values[inside].std() < 0.25 * before["s"][inside].std()


def test_gaps_are_as_frequent_as_in_the_window(rng: np.random.Generator) -> None:
    """A share of the rows loses its value: three tenths within four standard errors."""
    before, after = _sensor(rng, ROWS), _sensor(rng, WINDOW)
    after["s"][: WINDOW * 3 // 10] = np.nan
    found, _ = _moved(before, after, rng)
    assert np.isnan(found.values).mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / ROWS))


def test_a_window_without_a_value_leaves_none(rng: np.random.Generator) -> None:
    """No law can be fitted, and none is needed."""
    after = _sensor(rng, WINDOW)
    after["s"][5:] = np.nan
    found, _ = _moved(_sensor(rng, ROWS), after, rng)
    assert np.isnan(found.values).all()
