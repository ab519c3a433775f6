"""The contract of a stream: rows of the declared types come out, the others are rejected."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.errors import SourceError, did_you_mean
from schemas.records import Batch
from schemas.stream import Column, ColumnType, Time
from transforms.rejects import ROW, Reject, reject_table
from transforms.timestamps import is_numeric, is_text, is_time_like, to_utc

__all__ = ["ROW", "Checked", "can_hold", "check_rows", "parse_numbers", "to_type"]

_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
_SAYS: dict[ColumnType, str] = {
    "number": "is not a number",
    "integer": "is not a whole number",
    "category": "is no text",
    "boolean": "is not one of true, false, yes, no, 1, 0",
    "timestamp": "is not a time",
}


#: Event times outside these years have windows that no calendar can write.
_FIRST, _LAST = datetime(100, 1, 1, tzinfo=UTC), datetime(9900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Checked:
    """The rows that keep the contract, and those that do not (schema `REJECT`)."""

    batch: Batch
    rejects: pa.Table


@dataclass(frozen=True, slots=True)
class _Fault:
    """Rows that break one rule of one column."""

    column: str
    reason: str
    says: str
    rows: NDArray[np.int64]  # indices into the batch


def check_rows(
    batch: Batch,
    columns: Mapping[str, Column],
    time: Time | None,
    key: Sequence[str],
    stream_name: str,
) -> Checked:
    """Cast a batch to the declared types, and reject the rows that break the contract.

    Parameters
    ----------
    batch
        Rows as decoded; more columns than are declared are left behind.
    time
        The event time; its rules of reading are those of `transforms.timestamps.to_utc`.

    Returns
    -------
    Checked
        The batch has exactly the event time (timestamp[us, UTC], no nulls), the key columns
        (string, no nulls), the columns (number float64, integer int64, category string, boolean
        bool, timestamp timestamp[us, UTC]; NaN is null) and `ROW` (int64). A rejected row goes
        once, with the first rule that it breaks: event time, key, then the columns in order.

    Notes
    -----
    Texts are read leniently: blanks around them do not count, a blank text is no value (but a
    category keeps its text as it is), ``1e3`` and ``3.0`` are integers. Columns that already have
    their type are passed on without a copy; one pass looks whether there is anything but finite
    numbers, and only then a copy with nulls for NaN is made.

    Raises
    ------
    SourceError
        When a column is missing, or its Arrow type cannot hold the declared type at all.
    """
    batch = replace(batch, table=_without_views(batch.table))
    table, faults = batch.table, list[_Fault]()
    arrays: dict[str, pa.ChunkedArray] = {}
    if time is not None:
        given = _given(batch, time.column, "timestamp")
        arrays[time.column] = to_utc(given, time.zone)
        faults += _fault(
            time.column,
            "time",
            "is no event time, or one that the zone skips, or not of the years 100 to 9900",
            _where(_no_time(arrays[time.column])),
        )
    for name in key:
        arrays[name], _ = to_type(_given(batch, name, "category"), "category")
        faults += _fault(
            name, "null", "is a key and has no value", _where(pc.is_null(arrays[name]))
        )
    zone = "UTC" if time is None else time.zone
    for name, column in columns.items():
        values = _given(batch, name, column.type)
        arrays[name], failed = to_type(values, column.type, zone)
        faults += _fault(name, "type", _SAYS[column.type], failed)
        faults += _rules(name, column, arrays, values)
    arrays[ROW] = table[ROW] if ROW in table.column_names else _counted(batch)
    checked = pa.table(arrays)
    if not faults:
        return Checked(Batch(checked, batch.path, batch.first_row), reject_table([], "", ""))

    verdict = np.full(table.num_rows, -1)
    for index, fault in reversed(list(enumerate(faults))):
        verdict[fault.rows] = index
    bad = np.flatnonzero(verdict >= 0)
    positions = arrays[ROW].take(pa.array(bad)).to_pylist()
    rejects = [
        Reject(position, faults[index].reason, faults[index].column, detail, raw)
        for position, index, (detail, raw) in zip(
            positions,
            verdict[bad],
            _told(table, bad, [faults[i] for i in verdict[bad]]),
            strict=True,
        )
    ]
    kept = checked.filter(pa.array(verdict < 0))
    return Checked(
        Batch(kept, batch.path, batch.first_row), reject_table(rejects, stream_name, batch.path)
    )


def _without_views(table: pa.Table) -> pa.Table:
    """Return a table with texts for views of texts, which few of Arrow's functions take."""
    fields = [
        field.with_type(pa.string()) if pa.types.is_string_view(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields)) if fields != list(table.schema) else table


def can_hold(kind: pa.DataType, wanted: ColumnType) -> bool:
    """Tell whether values of an Arrow type can be read as a declared type."""
    if pa.types.is_null(kind) or is_text(kind):
        return True
    if wanted == "timestamp":
        return is_time_like(kind)
    if is_numeric(kind) or pa.types.is_boolean(kind):
        return True
    return wanted == "category" and bool(
        pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind)
    )


def to_type(
    values: pa.ChunkedArray, wanted: ColumnType, zone: str = "UTC"
) -> tuple[pa.ChunkedArray, NDArray[np.int64]]:
    """Return values as the declared type, and the indices of those that have no such value.

    Infinities stay: whether they are allowed is the contract's business.
    """
    if pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    if wanted == "timestamp":
        times = to_utc(values, zone)
        return times, _lost(values, times)
    if wanted == "category":
        texts = values.cast(pa.string())
        if pa.types.is_floating(values.type):
            texts = pc.if_else(pc.is_nan(values), None, texts)
        return texts, _nothing()
    if wanted == "boolean":
        return _to_boolean(values)
    if wanted == "integer":
        return _to_integer(values)
    numbers = parse_numbers(values, pl.Float64()) if is_text(values.type) else values
    floats = numbers.cast(pa.float64(), safe=False)
    lost = _lost(values, floats)
    if pc.all(pc.is_finite(floats)).as_py() is False:
        floats = pc.if_else(pc.is_nan(floats), None, floats)
    return floats, lost


def _to_integer(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, NDArray[np.int64]]:
    kind = values.type
    if pa.types.is_boolean(kind) or (pa.types.is_integer(kind) and kind != pa.uint64()):
        return values.cast(pa.int64()), _nothing()
    exact = parse_numbers(values, pl.Int64()) if is_text(kind) else None
    if exact is not None and exact.null_count == values.null_count:
        return exact, _nothing()
    floats, lost = to_type(values, "number")
    # 2.0**63 is the first float that no int64 holds
    whole = pc.and_(pc.equal(pc.floor(floats), floats), pc.less(pc.abs(floats), 2.0**63))
    integers = pc.if_else(whole, floats, None).cast(pa.int64(), safe=False)
    integers = integers if exact is None else pc.coalesce(exact, integers)
    odd = _where(pc.and_(pc.is_null(integers), pc.is_valid(floats)))
    infinite = _where(pc.is_inf(floats))
    return integers, np.union1d(lost, np.setdiff1d(odd, infinite))


def _to_boolean(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, NDArray[np.int64]]:
    if pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
        return values.cast(pa.bool_()), _nothing()
    if is_text(values.type):
        texts = pc.utf8_lower(pc.utf8_trim_whitespace(values.cast(pa.string())))
    else:
        texts = to_type(values, "category")[0]
    true = pc.is_in(texts, value_set=pa.array(_TRUE))
    false = pc.is_in(texts, value_set=pa.array(_FALSE))
    flags = pc.if_else(pc.or_(true, false), true, None)
    return flags, _lost(texts, flags)


def parse_numbers(values: pa.ChunkedArray, kind: pl.DataType) -> pa.ChunkedArray:
    """Return the numbers that texts spell, null where they spell none."""
    texts = pl.Series(pl.from_arrow(values))
    numbers = texts.cast(kind, strict=False)
    if numbers.null_count() > texts.null_count():
        numbers = texts.str.strip_chars().cast(kind, strict=False)
    return pa.chunked_array([numbers.to_arrow()])


def _lost(before: pa.ChunkedArray, after: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return where there was a value and is none: NaN and blank texts are not values."""
    if after.null_count == before.null_count:
        return _nothing()
    lost = pc.and_(pc.is_valid(before), pc.is_null(after))
    if is_text(before.type):
        lost = pc.and_(lost, pc.not_equal(pc.utf8_trim_whitespace(before), ""))
    elif pa.types.is_floating(before.type):
        lost = pc.and_(lost, pc.invert(pc.is_nan(before)))
    return _where(lost)


def _rules(
    name: str, column: Column, arrays: Mapping[str, pa.ChunkedArray], given: pa.ChunkedArray
) -> list[_Fault]:
    """Return the faults of a column whose values have their type."""
    values, faults = arrays[name], list[_Fault]()
    if column.type == "number" and pc.all(pc.is_finite(values)).as_py() is False:
        faults += _fault(name, "infinite", "is not finite", _where(pc.is_inf(values)))
    if column.type == "integer" and values.null_count > given.null_count:
        infinite = pc.is_inf(to_type(given, "number")[0])
        faults += _fault(name, "infinite", "is not finite", _where(infinite))
    if column.min is not None:
        faults += _fault(
            name, "range", f"is below min {column.min:g}", _where(pc.less(values, column.min))
        )
    if column.max is not None:
        faults += _fault(
            name, "range", f"is above max {column.max:g}", _where(pc.greater(values, column.max))
        )
    if column.categories is not None:
        known = pc.is_in(values, value_set=pa.array(column.categories, pa.string()))
        unknown = _where(pc.and_(pc.is_valid(values), pc.invert(known)))
        faults += _fault(name, "category", "is not one of the declared categories", unknown)
    if not column.nullable:
        faults += _fault(name, "null", "has no value", _where(pc.is_null(values)))
    return faults


def _given(batch: Batch, name: str, wanted: ColumnType) -> pa.ChunkedArray:
    table = batch.table
    at = table.schema.get_field_index(name)  # a search of the names is slow in wide tables
    if at < 0:
        raise SourceError(
            f"{batch.path}: there is no column {name!r}{did_you_mean(name, table.column_names)}; "
            f"correct the stream file, or leave the column out"
        )
    values = table.column(at)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not can_hold(values.type, wanted):
        raise SourceError(
            f"{batch.path}: column {name!r} holds {values.type}, which cannot be read as "
            f"{wanted}; correct its type in the stream file, or leave the column out"
        )
    return values


def _counted(batch: Batch) -> pa.ChunkedArray:
    last = batch.first_row + batch.table.num_rows
    return pa.chunked_array([pa.array(np.arange(batch.first_row, last, dtype=np.int64))])


def _no_time(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Say which event times are missing, or in no year that a window may have."""
    first, last = (pa.scalar(end, times.type) for end in (_FIRST, _LAST))
    within = pc.and_(pc.greater(times, first), pc.less(times, last))
    return pc.invert(pc.fill_null(within, fill_value=False))


def _fault(name: str, reason: str, says: str, rows: NDArray[np.int64]) -> list[_Fault]:
    return [_Fault(name, reason, says, rows)] if len(rows) else []


def _where(mask: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the indices of true values; null is false."""
    if not pc.any(mask).as_py():
        return _nothing()
    return np.asarray(pc.indices_nonzero(mask)).astype(np.int64)


def _nothing() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


def _told(
    table: pa.Table, rows: NDArray[np.int64], faults: Sequence[_Fault]
) -> list[tuple[str, str]]:
    """Return for each bad row what is wrong with it, and the row as JSON, values as they came."""
    origin = table.drop_columns([ROW]) if ROW in table.column_names else table
    origin = origin.take(pa.array(rows))
    for index, field in enumerate(origin.schema):
        if pa.types.is_temporal(field.type):  # Python has no nanoseconds
            origin = origin.set_column(index, field.name, origin.column(index).cast(pa.string()))
    told = []
    for row, fault in zip(origin.to_pylist(), faults, strict=True):
        value = row[fault.column]
        detail = fault.says if value is None else f"{value!r} {fault.says}"
        told.append((detail, json.dumps(_plain(row), ensure_ascii=False, default=str)))
    return told


def _plain(row: Mapping[str, object]) -> dict[str, object]:
    """JSON has no infinities: they are spelt as texts."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
