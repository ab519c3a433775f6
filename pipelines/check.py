"""`tidegauge check`: two local tables, no Beam, an answer in about a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transforms.tables import read_table

from monitors.check import Comparison, check
from schemas.errors import SourceError, did_you_mean


def check_tables(
    reference: str, current: str, *, false_alarm_rate: float, condition_on: Sequence[str], seed: int
) -> Comparison:
    """Compare two files (or globs of files); the reference decides the columns and their types.

    Raises
    ------
    SourceError
        When a file cannot be read, or the current table lacks a column of the reference.
    """
    before, rejected_before = read_table(reference)
    columns, notes = _columns(before, condition_on, reference)
    now, rejected_now = read_table(current, columns)
    for name in columns:
        if name not in now.column_names:
            message = f"{current}: has no column {name!r}{did_you_mean(name, now.column_names)}"
            raise SourceError(message)
    result = check(
        before,
        now,
        columns,
        false_alarm_rate=false_alarm_rate,
        condition_on=condition_on,
        seed=seed,
    )
    rejected = rejected_before.num_rows + rejected_now.num_rows
    return replace(result, rows=result.rows | {"rejected": rejected}, notes=(*notes, *result.notes))
