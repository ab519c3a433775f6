"""`tidegauge check`: two local tables, no Beam, an answer in about a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from monitors.check import Comparison, check, check_method
from schemas.errors import SourceError, did_you_mean
from schemas.stream import Column
from transforms.infer import Inferred, infer_columns
from transforms.tables import HEAD_ROWS, read_table


def check_tables(
    reference: str,
    current: str,
    *,
    method: str,
    false_alarm_rate: float,
    condition_on: Sequence[str],
    seed: int,
) -> Comparison:
    """Compare two files (or globs of files); the reference decides the columns and their types.

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
    result = check(
        before,
        now,
        columns,
        method=method,
        false_alarm_rate=false_alarm_rate,
        condition_on=condition_on,
        seed=seed,
    )
    rejected = rejected_before.num_rows + rejected_now.num_rows
    return replace(result, rows=result.rows | {"rejected": rejected}, notes=(*notes, *result.notes))


def _left_out(known: Inferred) -> list[str]:
    ignored = [name for name, column in known.columns.items() if column.role == "ignore"]
    return [name for name in ([known.time] if known.time else []) + ignored if name in known.notes]
