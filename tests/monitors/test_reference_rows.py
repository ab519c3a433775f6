from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from monitors.pooling import POOL
from monitors.reference_rows import (
    ROWS,
    ROWS_PER_KEY,
    choose_rows,
    read_rows,
    reference_step,
    write_rows,
)
from schemas.stream import Stream
from transforms.sample import RowSample

HOUR = 3_600_000_000


def stream(**changes: object) -> Stream:
    """Return a stream with a key."""
    given: dict[str, object] = {
        "tidegauge": 1,
        "name": "s",
        "source": {"path": "c.csv"},
        "reference": {"path": "r.csv"},
        "time": {"column": "at"},
        "key": ["site"],
        "columns": {"a": {"type": "number"}, "b": {"type": "category"}},
        "window": {"length": "7d"},
    }
    return Stream.model_validate(given | changes)


def sample(keys: int, rows: int, drawn: int = 100_000) -> pa.Table:
    """Return a sample of hourly rows of some keys, as `fit` draws it."""
    times = np.repeat(np.arange(rows) * HOUR, keys)
    table = pa.table(
        {
            "at": pa.array(times, pa.timestamp("us", tz="UTC")),
            "site": np.tile([f"k{key}" for key in range(keys)], rows),
            "a": np.arange(len(times), dtype=np.float64),
            "b": np.where(np.arange(len(times)) % 3, "x", "y"),
        }
    )
    return RowSample.empty(drawn).add(table).table


def hours(rows: pa.Table) -> np.ndarray:
    """Return the event times, in hours."""
    return np.asarray(rows["at"].cast(pa.int64()).to_numpy() // HOUR)


def test_each_key_keeps_rows_that_follow_each_other() -> None:
    """Two thousand of each, in stretches of sixteen; without the key, which all share."""
    watched, drawn = stream(), sample(3, 5_000)
    rows = choose_rows(watched, drawn, reference_step(watched, drawn, 15_000))
    assert set(rows) == {f'{{"site": "k{key}"}}' for key in range(3)}
    for key, own in enumerate(rows.values()):
        assert own.num_rows == ROWS_PER_KEY
        assert own.column_names == ["at", "a", "b"]
        assert np.all(np.diff(hours(own)) > 0)
        assert np.mean(np.diff(hours(own)) == 1) > 0.9
        assert set(own["a"].to_numpy() % 3) == {float(list(rows)[key][-3])}


def test_many_keys_share_what_is_kept() -> None:
    """Twenty thousand rows in all."""
    watched, drawn = stream(), sample(50, 1_000)
    assert {own.num_rows for own in choose_rows(watched, drawn, HOUR).values()} == {ROWS // 50}


def test_more_keys_than_there_is_room_for_keep_nothing() -> None:
    """A handful of rows each would explain nothing."""
    assert choose_rows(stream(), sample(400, 100), HOUR) == {}


def test_a_pool_keeps_rows_of_all_keys_and_times() -> None:
    """They are drawn one by one: those of different keys do not follow each other."""
    rows = choose_rows(stream(key_baseline="pooled"), sample(400, 200), HOUR)
    assert set(rows) == {POOL}
    assert rows[POOL].num_rows == ROWS_PER_KEY
    assert np.all(np.diff(hours(rows[POOL])) >= 0)
    share = np.mean(hours(rows[POOL]) < 100)
    assert abs(share - 0.5) < 4.5 * np.sqrt(0.25 / ROWS_PER_KEY)


def test_none_are_kept_when_none_are_asked_for() -> None:
    """Where rows of the reference must not be stored."""
    assert choose_rows(stream(explain={"rows": 0}), sample(3, 500), HOUR) == {}


@pytest.mark.parametrize("drawn", [100_000, 6_000])
def test_step_of_the_reference_is_that_of_a_key(drawn: int) -> None:
    """Hourly rows, whether the sample holds all of them or one in ten."""
    assert reference_step(stream(), sample(3, 20_000, drawn), 60_000) == HOUR


def test_rows_read_back_with_their_types_and_from_equal_bytes(tmp_path: Path) -> None:
    """Of every key; and nothing where nothing was kept."""
    rows = choose_rows(stream(), sample(3, 500), HOUR)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_rows(dict(reversed(rows.items())) if name == "b" else rows, tmp_path / name)
    again = read_rows(tmp_path / "a")
    assert list(again) == sorted(rows)
    assert all(again[key].equals(own) for key, own in rows.items())
    assert all(again[key].schema.equals(own.schema) for key, own in rows.items())
    assert (tmp_path / "a/rows.arrow").read_bytes() == (tmp_path / "b/rows.arrow").read_bytes()
    write_rows({}, tmp_path)
    assert read_rows(tmp_path) == {}
