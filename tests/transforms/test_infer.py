from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import SourceError
from transforms.infer import infer_columns, infer_type

HOURS = [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=i) for i in range(100)]


def kind_of(values: Any) -> str | None:
    """Return the type inferred for a column."""
    return infer_type(pa.chunked_array([values]))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", " 2", "-3"], "integer"),
        (["1", "2.5"], "number"),
        (["1e3"] * 9 + ["nan"], "number"),
        (["1"] * 9 + ["n/a"], "integer"),
        (["1.5"] * 8 + ["n/a"] * 2, "category"),
        (["007", "123"], "category"),
        (["0", "1"], "integer"),
        (["10", "20"], "integer"),
        (["true", "No", None], "boolean"),
        (["2020-01-01", "2020-01-02T10:00Z"], "timestamp"),
        (["a", "b"], "category"),
        (pa.nulls(2, pa.string()), "category"),
        (pa.nulls(2), "number"),
        (pa.array([1], pa.uint8()), "integer"),
        (pa.array([1, None], pa.uint64()), "integer"),
        (pa.array([1, 2**63], pa.uint64()), "number"),
        (pa.array([1.0]), "number"),
        (pa.array([dt.date(2020, 1, 1)]), "timestamp"),
        (pa.array([dt.time(1)]), "category"),
        (pa.array(["1", "2"]).dictionary_encode(), "integer"),
        (pa.array([[1]]), None),
        (pa.array([b"a"]), None),
    ],
)
def test_type_is_told_by_the_values(values: Any, kind: str | None) -> None:
    """Typed columns keep their kind; texts are what nine in ten of them read as."""
    assert kind_of(values) == kind


def test_late_values_count_for_the_type() -> None:
    """The first rows are tried first, but all of them decide."""
    assert kind_of(["1"] * 2000 + ["1.5"]) == "number"
    assert kind_of(["1"] * 2000 + ["x"] * 2000) == "category"


def test_roles_and_their_reasons() -> None:
    """What cannot be watched is ignored, and the reason is told."""
    table = pa.table(
        {
            "t": HOURS,
            "hour": [t.hour for t in HOURS],
            "row": range(100),
            "empty": pa.nulls(100, pa.string()),
            "same": [5.0] * 100,
            "name": [f"n{i}" for i in range(100)],
            "color": ["red", "blue"] * 50,
            "other": HOURS[::-1],
            "list": [[1]] * 100,
            "mixed": ["1.5"] * 95 + ["?"] * 5,
        }
    )
    inferred = infer_columns(table)
    roles = {name: (column.type, column.role) for name, column in inferred.columns.items()}
    assert inferred.time == "t"
    assert roles == {
        "hour": ("integer", "ignore"),
        "row": ("integer", "ignore"),
        "empty": ("category", "ignore"),
        "same": ("number", "feature"),
        "name": ("category", "ignore"),
        "color": ("category", "feature"),
        "other": ("timestamp", "ignore"),
        "mixed": ("number", "feature"),
    }
    assert set(inferred.notes) == {"t", *roles, "list"} - {"color"}
    assert "5 values are no number" in inferred.notes["mixed"]
    assert "100 distinct texts" in inferred.notes["name"]


@pytest.mark.parametrize(
    ("names", "time"),
    [
        (["b", "event_time"], "event_time"),
        (["update_date", "reading time"], "reading time"),
        (["b", "c"], "b"),
    ],
)
def test_event_time_is_guessed_by_name_then_by_place(names: list[str], time: str) -> None:
    """Of several columns of times, the one that is called like one is the event time."""
    table = pa.table(dict.fromkeys(names, HOURS) | {"x": [1.0] * 100})
    assert infer_columns(table).time == time


def test_column_of_times_with_gaps_is_not_preferred() -> None:
    """An event time has a value in every row."""
    table = pa.table({"time": [None, *HOURS[1:]], "b": HOURS})
    assert infer_columns(table).time == "b"


def test_counts_since_the_epoch_are_times_if_called_so() -> None:
    """Numbers of our days in a column called like a time are one; small ones are not."""
    epoch = [1_700_000_000 + 60 * i for i in range(10)]
    assert infer_columns(pa.table({"ts": epoch, "x": epoch})).time == "ts"
    assert infer_columns(pa.table({"ts": range(10)})).time is None
    assert infer_columns(pa.table({"ts": list(map(str, epoch))})).time is None


def test_keys_make_a_repeating_time_unique() -> None:
    """The key is one column, or two, that tell apart the rows of one time; a number is none."""
    cells = [(t, site, item) for t in HOURS for site in "ab" for item in (1, 2, 3)]
    time, site, item = (pa.array(column) for column in zip(*cells, strict=True))
    noise = pa.array(np.arange(len(cells)) % 6)
    table = pa.table({"t": time, "x": noise, "site": site, "item_id": item})
    inferred = infer_columns(table)
    assert inferred.keys == ("site", "item_id")
    assert "site" not in inferred.columns
    assert "'site' and 'item_id'" in inferred.notes["site"]
    one = table.filter(pa.compute.equal(item, 1))
    assert infer_columns(one).keys == ("site",)
    assert infer_columns(one.filter(pa.compute.equal(one["site"], "a"))).keys == ()


def test_given_time_and_keys_are_taken() -> None:
    """What the user says is not guessed again."""
    table = pa.table({"time": HOURS, "mine": HOURS, "k": ["a", "b"] * 50})
    inferred = infer_columns(table, "mine", ["k"])
    assert (inferred.time, inferred.keys) == ("mine", ("k",))
    assert inferred.columns["time"].role == "ignore"
    with pytest.raises(SourceError, match="did you mean 'mine'"):
        infer_columns(table, "mines")
    with pytest.raises(SourceError, match="which is no time"):
        infer_columns(table.append_column("l", pa.array([[1]] * 100)), "l")
