"""Rows that could not be used, and where in its file a row stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from schemas.records import REJECT

#: Column with the position of each row in its file, counting data rows from 0, rejected ones too.
ROW = "__row"


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that could not be used, and why."""

    row: int
    reason: str  #: a code; docs/stream-file.md says what each means
    column: str | None
    detail: str
    raw: str  #: the row as JSON, or the raw line


def reject_table(rejects: Sequence[Reject], stream_name: str, path: str) -> pa.Table:
    """Return rejects as a table of schema `REJECT`."""
    rows = [{"stream": stream_name, "path": path, **asdict(reject)} for reject in rejects]
    return pa.Table.from_pylist(rows, schema=REJECT)
