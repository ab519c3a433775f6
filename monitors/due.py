"""Which windows a bounded run judges, and what earlier runs said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import polars as pl

#: Windows by (key, start in µs since 1970 or ordinal).
Window: TypeAlias = tuple[str, int]

#: Columns of a plan. `named` is null where nothing was tested, or nothing is known yet.
PLAN = pl.Schema(
    {
        "key": pl.String(),
        "window": pl.Int64(),
        "judge": pl.Boolean(),
        "revision": pl.Int64(),
        "named": pl.List(pl.String),
    }
)


@dataclass(frozen=True, slots=True)
class Due:
    """What to do with one window."""

    judge: bool  #: or only take it into the test of all keys together
    revision: int  #: of the findings that are made now
    named: tuple[str, ...] | None  #: features named when it was last tested; None: it never was


def read_plan(path: Path) -> Mapping[Window, Due]:
    """Read a plan: a Parquet file with the columns of `PLAN`."""
    return {
        (key, window): Due(judge, revision, None if named is None else tuple(named))
        for key, window, judge, revision, named in pl.read_parquet(path)
        .select(PLAN.names())
        .iter_rows()
    }
