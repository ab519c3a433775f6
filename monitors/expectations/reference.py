"""What a reference must be before a baseline is fitted on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from monitors.expectations.checks import suite
from monitors.expectations.validator import Engine, Validator, Verdict
from monitors.summary import TableSummary
from schemas.errors import ReferenceDataError
from schemas.records import WindowKey
from schemas.stream import Column, Stream

_WHOLE = WindowKey("{}", None, None)
#: Fewer event times than this cannot show how a series moves; no seasonality or lag can be learned.
_EVENT_TIMES = 30

_IS_TYPE = {
    "number": pa.types.is_floating,
    "integer": pa.types.is_integer,
    "boolean": pa.types.is_boolean,
    "timestamp": pa.types.is_timestamp,
    "category": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
}
_ADVICE = {
    "type": "mend the source, or correct `type` or the column's name",
    "not_null": "fill in the values, or let the column be `nullable`",
    "min": "mend the source, or correct `min`",
    "max": "mend the source, or correct `max`",
    "some_value": "mend the source, choose another reference, or give the column `role: ignore`",
    "rows_not_null": "fill in the values, or let the column be `nullable`",
    "rows_in_range": "mend the source, or correct `min` and `max`",
    "rows_in_categories": "mend the source, or correct `categories`",
    "event_times": "choose a longer reference, or check that `time.column` is the event time",
}


def validate_reference(
    sample: pl.DataFrame | pa.Table, summary: TableSummary, stream: Stream
) -> list[dict[str, Any]]:
    """Check a reference: its summary, the types of its columns, and a sample of its rows.

    Parameters
    ----------
    sample : pl.DataFrame or pa.Table
        Rows of the reference, with the declared columns and the event time.
    summary : TableSummary
        Of all rows of the reference.
    stream : Stream

    Returns
    -------
    list of rows of `schemas.records.EXPECTATION`
        With no window. Columns of the wrong type fail `type` and are not looked at further.
    """
    table = sample.to_arrow() if isinstance(sample, pl.DataFrame) else sample
    results = Validator(suite(stream, None)).validate(summary.rows(stream.name, _WHOLE))
    wrong = _wrong_types(table, stream)
    results.append(
        _row(
            stream,
            "type",
            "critical",
            "fail" if wrong else "pass",
            list(wrong),
            "; ".join(wrong.values()),
        )
    )
    kept = [name for name in stream.columns if name not in wrong]
    if stream.time is not None and stream.time.column not in wrong:
        kept.append(stream.time.column)
    # NumPy columns: on Arrow-backed frames Great Expectations is slower, and wrong about types.
    columns = {name: table[name].combine_chunks().to_numpy(zero_copy_only=False) for name in kept}
    engine = Engine()
    verdicts = engine.run(engine.read(_row_suite(stream, kept)), columns)
    return results + [_row_result(stream, verdict) for verdict in verdicts]


def gate(results: Sequence[dict[str, Any]]) -> None:
    """Let a reference through, or say all that is wrong with it.

    Raises
    ------
    ReferenceDataError
        When a critical check failed, or crashed so that nobody knows. Warnings pass.
    """
    critical = [row for row in results if row["severity"] == "critical"]
    lines = [
        f"{row['expectation']}: {row['detail']}. What to do: {_ADVICE[row['expectation']]}"
        for row in critical
        if row["result"] == "fail"
    ]
    lines += [
        f"{row['expectation']}: could not be checked ({row['detail']}). This says nothing about "
        "the data; `monitors: {expectations: false}` switches these checks off"
        for row in critical
        if row["result"] == "error"
    ]
    if lines:
        raise ReferenceDataError("\n  - ".join(["the reference cannot carry a baseline:", *lines]))


def _wrong_types(table: pa.Table, stream: Stream) -> dict[str, str]:
    """Return what is wrong with the Arrow type of each column that has another than declared."""
    declared = {name: column.type for name, column in stream.columns.items()}
    if stream.time is not None:
        declared[stream.time.column] = "timestamp"
    wrong = {}
    for name, kind in declared.items():
        if name not in table.column_names:
            wrong[name] = f"{name}: there is no such column, {kind} is expected"
        elif not _IS_TYPE[kind](table.schema.field(name).type):
            wrong[name] = f"{name}: holds {table.schema.field(name).type}, {kind} is expected"
    return wrong


def _row_suite(stream: Stream, kept: Sequence[str]) -> dict[str, Any]:
    expectations = [
        expectation
        for name, column in stream.columns.items()
        if name in kept
        for expectation in _of_column(name, column)
    ]
    if stream.time is not None and stream.time.column in kept:
        expectations.append(
            _expectation(
                "event_times",
                "expect_column_unique_value_count_to_be_between",
                stream.time.column,
                min_value=_EVENT_TIMES,
            )
        )
    return {"name": f"{stream.name}: rows of the reference", "expectations": expectations}


def _of_column(name: str, column: Column) -> list[dict[str, Any]]:
    found = []
    if column.type == "category" and column.role != "ignore":  # the summary tells it of numbers
        kind = "expect_column_unique_value_count_to_be_between"
        found.append(_expectation("constant", kind, name, severity="warning", min_value=2))
    if not column.nullable:
        found.append(_expectation("rows_not_null", "expect_column_values_to_not_be_null", name))
    if column.min is not None or column.max is not None:
        kind = "expect_column_values_to_be_between"
        found.append(
            _expectation("rows_in_range", kind, name, min_value=column.min, max_value=column.max)
        )
    if column.categories is not None:
        kind, values = "expect_column_values_to_be_in_set", list(column.categories)
        found.append(_expectation("rows_in_categories", kind, name, value_set=values))
    return found


def _expectation(
    check: str, kind: str, column: str, severity: str = "critical", **kwargs: object
) -> dict[str, Any]:
    return {
        "type": kind,
        "kwargs": {"column": column, **kwargs},
        "severity": severity,
        "meta": {"name": check, "owner": "stream file", "column": column},
    }


def _row_result(stream: Stream, verdict: Verdict) -> dict[str, Any]:
    column, name = verdict.meta["column"], verdict.meta["name"]
    failing = [column] if verdict.result == "fail" else []
    detail = ""
    if verdict.result == "error":
        detail = f"{column}: the check crashed: {verdict.crash}"
    elif failing:
        detail = f"{column}: {_says(name, verdict.observed, stream.columns.get(column))}"
    return _row(stream, name, verdict.severity, verdict.result, failing, detail)


def _says(check: str, seen: Mapping[str, Any], column: Column | None) -> str:
    """Return what was seen and what was expected; only the event time is no declared column."""
    if column is None or check == "event_times":
        times = f"{seen['observed_value']:,} different event times"
        return f"{times}, at least {_EVENT_TIMES} are expected"
    if check == "constant":
        return f"{seen['observed_value']:,} different values, at least 2 are expected"
    counts = f"{seen['unexpected_count']:,} of {seen['element_count']:,} sampled rows"
    if check == "rows_not_null":
        return f"{counts} have no value, and none may (`nullable: false`)"
    example = seen["partial_unexpected_list"][0]
    if check == "rows_in_categories":
        return f"{counts} hold a value, such as {example!r}, that is not a declared category"
    low = "-∞" if column.min is None else f"{column.min:g}"
    high = "∞" if column.max is None else f"{column.max:g}"
    return f"{counts} lie outside {low} to {high}, such as {example:g}"


def _row(
    stream: Stream, expectation: str, severity: str, result: str, columns: list[str], detail: str
) -> dict[str, Any]:
    return {
        "stream": stream.name,
        "key": _WHOLE.key,
        "window_start": None,
        "window_end": None,
        "window_index": None,
        "revision": 0,
        "expectation": expectation,
        "severity": severity,
        "result": result,
        "columns": columns,
        "detail": detail,
    }
