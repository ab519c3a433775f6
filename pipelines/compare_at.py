"""`tidegauge compare-at TIME`: what a release or a recalibration at a known time changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.text import Text

from monitors.jump.columns import LEVELS, ColumnJump, compare_columns
from monitors.jump.periods import Periods, cut_periods, nearest, without_season
from pipelines.compare_periods import duration, said, season_of, untestable, usual_length
from pipelines.compare_rows import Rows, is_number, of_keys, read_rows
from schemas.errors import SourceError, StreamFileError, did_you_mean
from transforms.timestamps import to_utc

_MICRO = 10**6


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """What `compare-at` found."""

    at: datetime
    level: float  #: of all tests together
    every: float  #: seconds
    season: float | None  #: seconds; None where nothing was taken out
    rows: dict[str, int]  #: ``before``, ``after``, ``rejected``
    columns: Sequence[ColumnJump]
    notes: Sequence[str]

    @property
    def alarm(self) -> bool:
        """Whether any column jumped."""
        return any(one.jumped for one in self.columns)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-serialisable data."""
        return {
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "alarm": self.alarm,
            "false_alarm_rate": self.level,
            "every_seconds": self.every,
            "season_seconds": self.season,
            "rows": self.rows,
            "columns": [one.to_json(self.every) for one in self.columns],
        }


def compare_at(  # noqa: PLR0913 (all but two by keyword)
    when: str,
    source: str,
    *,
    time: str | None = None,
    columns: Sequence[str] = (),
    every: str | None = None,
    season: str | None = None,
    keys: Sequence[str] = (),
    level: float = 0.05,
    seed: int = 0,
) -> BeforeAfter:
    """Compare the distributions of columns just before and just after a time.

    Parameters
    ----------
    when : ISO 8601; without an offset it is of the stream's zone, or UTC for a table.
    source : a table (file or glob), or a stream file, whose source is read.
    time : the event-time column of a table; guessed when left out.
    columns : to compare; all numbers when empty.
    every : length of a period; chosen when left out.
    season : length of the cycle that is taken out, or ``none``; a day when left out, if periods are
        shorter and there are `LEAST_SEASONS` days before.
    keys : ``column=value``; only such rows are compared.
    level : probability that any column is named in which nothing jumped.
    seed : of the bootstrap.

    Raises
    ------
    StreamFileError
        When an option cannot be read, or the stream has no files or no event time.
    SourceError
        When the rows cannot be read or compared.
    """
    if not 0.0 < level < 1.0:
        message = f"--false-alarm-rate {level:g}: give a number between 0 and 1"
        raise StreamFileError(message)
    rows = of_keys(read_rows(source, time), keys)
    cutoff = _parse_time(when, rows.zone)
    _check_inside(when, cutoff, rows)
    chosen = _chosen(rows, columns)
    length = duration("--every", every) if every else usual_length(rows.times, cutoff)
    cycle = season_of(season, length, (cutoff - int(rows.times.min())) / _MICRO)
    cut: dict[str, Periods] = {}
    notes = list(rows.notes)
    pooled = [name for name in rows.keys if name not in {key.partition("=")[0] for key in keys}]
    if pooled:
        words = " and ".join(map(repr, pooled))
        notes.append(f"rows of every {words} are compared together; choose one with --key")
    short: list[str] = []
    for name in chosen:
        values = rows.table[name].cast(pa.float64(), safe=False).to_numpy()
        periods = cut_periods(rows.times, values, cutoff, round(length * _MICRO), LEVELS)
        if why := untestable(periods, length):
            short.append(f"{name!r} {why}")
            continue
        if cycle is not None:
            periods = without_season(periods, round(cycle / length))
        cut[name] = nearest(periods)
    if not cut:
        raise SourceError(f"{rows.name}: {short[0]}")
    notes += [f"{what}; it is not tested" for what in short]
    if all(np.median(periods.rows) == 1 for periods in cut.values()):
        notes.append(
            f"a period of {said(length)} has one row: levels are compared, and not quantiles; "
            f"a longer --every compares those"
        )
    if cycle is not None:
        notes.append(f"what is usual within {said(cycle)}, as the time before tells, is taken out")
    at = datetime.fromtimestamp(cutoff / _MICRO, UTC)
    units = {name: rows.columns[name].unit for name in cut}
    found = compare_columns(cut, units, f"{at:%Y-%m-%d %H:%M} UTC", level=level, seed=seed)
    before = int(np.count_nonzero(rows.times < cutoff))
    counts = {"before": before, "after": len(rows.times) - before, "rejected": rows.rejected}
    return BeforeAfter(at, level, length, cycle, counts, found, notes)


def print_before_after(result: BeforeAfter, out: Console) -> None:
    """Print a sentence per column, those that jumped first."""
    rows, jumped = result.rows, sum(one.jumped for one in result.columns)
    season = "" if result.season is None else f", without the cycle of {said(result.season)}"
    out.print(
        Text(
            f"{rows['before']:,} rows before, {rows['after']:,} after, {rows['rejected']:,} "
            f"rejected; periods of {said(result.every)}{season}; "
            f"{jumped} of {len(result.columns)} columns jumped"
        )
    )
    for one in result.columns:
        out.print(Text(("JUMPED: " if one.jumped else "  ") + one.sentence))


def _parse_time(when: str, zone: str) -> int:
    parsed = to_utc(pa.chunked_array([[when]]), zone).cast(pa.int64())[0].as_py()
    if parsed is None:
        skips = "" if zone == "UTC" else f", or one that {zone} skips"
        message = f"TIME {when!r}: is not a time{skips}; write it such as 2026-03-01T14:00Z"
        raise StreamFileError(message)
    return int(parsed)


def _check_inside(when: str, cutoff: int, rows: Rows) -> None:
    first, last = int(rows.times.min()), int(rows.times.max())
    if not first < cutoff <= last:
        side = "before" if cutoff <= first else "after"
        span = f"{_moment(first)} to {_moment(last)}"
        message = f"TIME {when}: no row is {side} it; the rows of {rows.name} are of {span}"
        raise SourceError(message)


def _chosen(rows: Rows, columns: Sequence[str]) -> list[str]:
    for name in columns:
        if name not in rows.columns:
            message = (
                f"--column {name}: {rows.name} has no such column"
                f"{did_you_mean(name, rows.columns)}; its numbers are "
                f"{', '.join(map(repr, rows.default[:20]))}"
            )
            raise StreamFileError(message)
        if not is_number(rows.columns[name]):
            message = (
                f"--column {name}: holds {rows.columns[name].type}; only numbers can be compared"
            )
            raise StreamFileError(message)
    if not columns and not rows.default:
        message = f"{rows.name}: no column holds numbers; there is nothing to compare"
        raise SourceError(message)
    return list(dict.fromkeys(columns)) or rows.default


def _moment(micros: int) -> str:
    return f"{datetime.fromtimestamp(micros / _MICRO, UTC):%Y-%m-%d %H:%M} UTC"
