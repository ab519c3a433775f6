"""Guesses what the columns of a table are, and says why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import SourceError, did_you_mean
from schemas.stream import Column, ColumnType
from transforms.contract import can_hold, parse_numbers, to_type
from transforms.rejects import ROW
from transforms.timestamps import is_numeric, is_text, to_utc

MOST_PARSE = 0.9  # the share of texts that must read as numbers or times
MANY_VALUES = 1_000  # more distinct texts than these are no categories
_FIRST = 1_000  # texts that are tried before all of them are
UNIQUE = 0.99  # the share of rows with a time, or a key and a time, of their own
_KEY_CANDIDATES = 8

_TIME_NAMES = ("event_time", "timestamp", "datetime", "date_time", "time", "ts", "date")
_CALENDAR_NAMES = frozenset(
    {"year", "month", "day", "hour", "minute", "second", "week", "weekday", "dayofweek"}
    | {"day_of_week", "dayofyear", "day_of_year", "hour_of_day", "quarter"}
)
_KEY_NAME = re.compile(
    r"(\b|_)(id|key|code|no|nr|num|number|station|sensor|site|device|store|item)$"
)

_Types = dict[str, ColumnType]


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a table seems to hold."""

    columns: dict[str, Column]  #: without the event time and the keys
    time: str | None
    keys: tuple[str, ...]
    notes: dict[str, str]  #: the reason, in words, for whatever was guessed about a column


def infer_columns(table: pa.Table, time: str | None = None, keys: Sequence[str] = ()) -> Inferred:
    """Guess types and roles of the columns, the event time and the keys.

    Parameters
    ----------
    table
        Rows as decoded; the texts of a CSV file may turn out to be numbers or times.
    time, keys
        What is known already, and not guessed.

    Raises
    ------
    SourceError
        When `time` or one of `keys` is not in the table, or cannot be one.
    """
    table = table.drop_columns([ROW]) if ROW in table.column_names else table
    notes: dict[str, str] = {}
    for name in [*([] if time is None else [time]), *keys]:
        if name not in table.column_names:
            raise SourceError(
                f"there is no column {name!r}{did_you_mean(name, table.column_names)}; "
                f"it has {', '.join(map(repr, table.column_names[:20]))}"
            )
    types: _Types = {}
    for name in table.column_names:
        kind = infer_type(table[name])
        if kind is None:
            notes[name] = f"holds {table[name].type}, which no column type can hold: left out"
        else:
            types[name] = kind
    if time is None:
        time = _guess_time(table, types, notes)
    elif time not in types or not can_hold(_value_type(table[time]), "timestamp"):
        raise SourceError(f"column {time!r} holds {table[time].type}, which is no time")
    if not keys and time is not None:
        keys = _guess_keys(table, types, time, notes)
    columns = {
        name: _column(name, table[name], kind, timed=time is not None, notes=notes)
        for name, kind in types.items()
        if name != time and name not in keys
    }
    return Inferred(columns, time, tuple(keys), notes)


def infer_type(values: pa.ChunkedArray) -> ColumnType | None:
    """Return the type of a column; None when no declared type can hold it.

    Texts are numbers, or times, when at least nine in ten of them read as such. Digits of one
    width, some with a leading zero, are codes and stay texts.
    """
    kind = _value_type(values)
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        # hashes, such as ids: an int64 holds only half of them
        wide = kind == pa.uint64() and (pc.max(_plain(values)).as_py() or 0) >= 2**63
        return "number" if wide else "integer"
    if is_numeric(kind) or pa.types.is_null(kind):
        return "number"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "timestamp"
    if not is_text(kind):
        return "category" if can_hold(kind, "category") else None
    return _text_type(_plain(values).drop_null())


def _text_type(texts: pa.ChunkedArray) -> ColumnType:
    if len(texts) == 0:
        return "category"
    if _mostly(texts, "number"):
        for part in (texts.slice(0, _FIRST), texts):
            integers, numbers = (parse_numbers(part, kind) for kind in (pl.Int64(), pl.Float64()))
            if integers.null_count > numbers.null_count:
                return "number"
        return "category" if _are_codes(texts) else "integer"
    if len(to_type(texts, "boolean")[1]) == 0:
        return "boolean"
    return "timestamp" if _mostly(texts, "timestamp") else "category"


def _value_type(values: pa.ChunkedArray) -> pa.DataType:
    return values.type.value_type if pa.types.is_dictionary(values.type) else values.type


def _mostly(texts: pa.ChunkedArray, kind: ColumnType) -> bool:
    """Tell whether nine in ten texts read as a type; most columns show it in their first ones."""
    for part, share in ((texts.slice(0, _FIRST), MOST_PARSE / 2), (texts, MOST_PARSE)):
        read = to_type(part, kind)[0]
        if len(read) - read.null_count < share * len(part):
            return False
    return True


def _are_codes(texts: pa.ChunkedArray) -> bool:
    """Tell whether all texts are digits of one width, some with a leading zero."""
    lengths = pc.min_max(pc.binary_length(texts)).as_py()
    return bool(
        lengths["min"] == lengths["max"] > 1
        and pc.any(pc.starts_with(texts, "0")).as_py()
        and pc.all(pc.match_substring_regex(texts, "^[0-9]+$")).as_py()
    )


def _guess_time(table: pa.Table, types: _Types, notes: dict[str, str]) -> str | None:
    """Return the fullest column of times, by preference one with the name of a time."""
    times = [
        name
        for name, kind in types.items()
        if kind == "timestamp" or (kind in ("integer", "number") and _is_epoch(name, table[name]))
    ]
    if not times:
        return None
    best = min(times, key=lambda name: (table[name].null_count > 0, _name_rank(name)))
    others = ", ".join(repr(name) for name in times if name != best)
    reason = f"its name suits best ({others} hold times, too)" if others else "no other has times"
    notes[best] = f"guessed to be the event time: {reason}"
    return best


def _name_rank(name: str) -> int:
    """Return how little a name sounds like an event time's; 10 and above: not at all."""
    word = name.strip().lower()
    if word in _TIME_NAMES:
        return _TIME_NAMES.index(word)
    return 8 if "time" in word else 9 if "date" in word else 10


def _is_epoch(name: str, values: pa.ChunkedArray) -> bool:
    """Tell whether numbers named like a time are counts since 1970 of the years 1990 to 2100."""
    if _name_rank(name) >= 10 or not is_numeric(_value_type(values)):
        return False
    years = pc.min_max(pc.year(to_utc(values, "UTC"))).as_py()
    return years["min"] is not None and years["min"] >= 1990 and years["max"] <= 2100


def _guess_keys(
    table: pa.Table, types: _Types, time: str, notes: dict[str, str]
) -> tuple[str, ...]:
    """Return the one or two columns that make nearly every row unique where times repeat."""
    frame = pl.DataFrame({time: pl.Series(pl.from_arrow(table[time]))})
    if frame[time].n_unique() > UNIQUE * len(frame):
        return ()
    for name, kind in types.items():
        values = table[name]
        if name == time or values.null_count or frame.width > _KEY_CANDIDATES:
            continue
        if kind == "category" or (kind == "integer" and _KEY_NAME.search(name.lower())):
            column = pl.Series(pl.from_arrow(values)).alias(name)
            if 2 <= column.n_unique() <= len(frame) // 5:
                frame = frame.with_columns(column)
    for count in (1, 2):
        for keys in combinations(frame.columns[1:], count):
            if frame.select(time, *keys).n_unique() > UNIQUE * len(frame):
                words = " and ".join(map(repr, keys))
                for name in keys:
                    notes[name] = f"guessed to be a key: a time repeats, but not for one {words}"
                return keys
    return ()


def _column(
    name: str, values: pa.ChunkedArray, kind: ColumnType, notes: dict[str, str], *, timed: bool
) -> Column:
    """Return type and role of a column that is neither event time nor key."""
    typed, lost = to_type(_plain(values), kind)
    present = len(typed) - typed.null_count
    distinct = pc.count_distinct(typed, mode="only_valid").as_py() if kind == "category" else 0
    ignored = None
    if present == 0:
        ignored = "has no value in any row"
    elif kind == "timestamp":
        ignored = "a time that is not the event time cannot be watched"
    elif kind == "category" and (distinct > MANY_VALUES or distinct > present / 2):
        ignored = f"{distinct} distinct texts in {present} rows are no categories"
    elif kind == "integer" and _counts_rows(typed):
        ignored = "counts the rows"
    elif kind == "integer" and timed and name.strip().lower() in _CALENDAR_NAMES:
        ignored = "the event time says it already, and it moves by itself"
    if ignored is not None:
        notes[name] = ignored
        return Column(type=kind, role="ignore")
    if len(lost):
        notes[name] = f"{len(lost)} values are no {kind}: their rows will be rejected"
    elif len(set(pc.min_max(typed).as_py().values())) == 1:
        notes[name] = "has the same value in every row"
    return Column(type=kind)


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(_value_type(values))


def _counts_rows(numbers: pa.ChunkedArray) -> bool:
    if numbers.null_count or len(numbers) < 3:
        return False
    return bool(np.all(np.diff(numbers.to_numpy()) == 1))
