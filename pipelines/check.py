"""`tidegauge check`: two local tables, no Beam, an answer in about a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from monitors.check import Comparison, check, check_method
from schemas.errors import SourceError, did_you_mean
from schemas.stream import Column
from transforms.infer import Inferred, infer_columns
from transforms.lags import LAGGED, lags_of_rows, with_lags
from transforms.tables import HEAD_ROWS, read_table


def check_tables(
    reference: str,
    current: str,
    *,
    method: str,
    false_alarm_rate: float,
    condition_on: Sequence[str],
    seed: int,
    lags: Sequence[int] = (),
) -> Comparison:
    """Compare two files (or globs of files); the reference decides the columns and their types.

    Lags are counted in rows, which are then in order of time.

    Raises
    ------
    StreamFileError
        When there is no such method.
    SourceError
        When a file cannot be read, or the current table lacks a column of the reference.
    """
    check_method(method)
    before, rejected_before = read_table(reference)
    known = infer_columns(before.slice(0, HEAD_ROWS))
    notes = [f"{name!r} {known.notes[name]}; it is not tested" for name in _left_out(known)]
    columns = {name: column for name, column in known.columns.items() if column.role != "ignore"}
    columns |= {name: Column(type="category") for name in known.keys}
    if not columns:
        first = "; ".join(notes[:3])
        message = f"{reference}: no column can be tested ({first}); see what the table holds"
        raise SourceError(message)
    for name in condition_on:
        if name not in columns:
            message = (
                f"--condition-on {name}: {reference} has no such column to condition on"
                f"{did_you_mean(name, columns)}; it has {', '.join(map(repr, list(columns)[:20]))}"
            )
            raise SourceError(message)
    if columns.keys() <= set(condition_on):
        message = "--condition-on: no column is left to test; name fewer of them"
        raise SourceError(message)
    now, rejected_now = read_table(current, columns=columns)
    lagged = lags_of_rows(_numbers(columns, condition_on), sorted(set(lags)))
    for name, table in ((reference, before), (current, now)):
        if lags and max(lags) >= table.num_rows:
            message = f"--lag {max(lags)}: {name} has {table.num_rows:,} rows; give a shorter lag"
            raise SourceError(message)
    result = check(
        _with_lags(before, lagged),
        _with_lags(now, lagged),
        columns | dict.fromkeys(lagged, LAGGED),
        method=method,
        false_alarm_rate=false_alarm_rate,
        condition_on=[*condition_on, *lagged],
        seed=seed,
    )
    rejected = rejected_before.num_rows + rejected_now.num_rows
    return replace(result, rows=result.rows | {"rejected": rejected}, notes=(*notes, *result.notes))


def _numbers(columns: Mapping[str, Column], condition_on: Sequence[str]) -> list[str]:
    return [
        name
        for name, column in columns.items()
        if column.type in ("number", "integer") and name not in condition_on
    ]


def _with_lags(table: pa.Table, lags: Mapping[str, tuple[str, int]]) -> pa.Table:
    """Return a table with lags counted in rows."""
    if not lags:
        return table
    at = np.arange(table.num_rows)
    return with_lags(table, at, table.select(sorted({name for name, _ in lags.values()})), at, lags)


def _left_out(known: Inferred) -> list[str]:
    ignored = [name for name, column in known.columns.items() if column.role == "ignore"]
    return [name for name in ([known.time] if known.time else []) + ignored if name in known.notes]
