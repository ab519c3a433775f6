"""Outcomes that come in files of their own, and what waits for them from one tick to the next.

The state: forecasts that await an outcome or a later one, outcomes that wait for their forecast,
and the online calibrators. A tick that brings rows or outcomes writes all three anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from monitors.baseline_folder import Version
from monitors.beam.verify import ARRIVE, AWAIT, COUNTS, NULLS, STATES, TOLD
from monitors.verification import ARRIVED, AWAITING, CALIBRATORS, FROM_ROWS
from pipelines.progress import Progress
from pipelines.run_folder import OutcomeCounts
from pipelines.sinks import write_part
from pipelines.sources import check_files, list_files, read_tallies, row_counts
from schemas.duration import parse_duration
from schemas.errors import SourceError
from schemas.records import REJECT
from schemas.stream import Column, Stream
from transforms.beam import REJECTS
from transforms.lateness import lateness

if TYPE_CHECKING:
    from pipelines.window_state import Clock

_FROM_ROWS = pl.col("path") == FROM_ROWS
OUTCOME_TALLIES, SETTLED = "outcome tallies", "settled"  # folders of a tick
STATE_TABLES = {AWAIT: AWAITING, ARRIVE: ARRIVED, STATES: CALIBRATORS}


NO_COUNTS: OutcomeCounts = {
    "rows": 0,
    "rejected": 0,
    "used": 0,
    "repeated": 0,
    "unmatched": 0,
    "waiting": 0,
    "null": 0,
    "after_final": 0,
}


def outcome_stream(stream: Stream) -> Stream:
    """Return the stream with the columns that files of outcomes have."""
    assert stream.outcomes is not None  # noqa: S101 (the caller looked)
    columns = {
        spec.target: stream.columns[spec.target].model_copy(update={"nullable": True})
        for spec in stream.forecasts
    }
    known_at = stream.outcomes.known_at
    if known_at is not None and stream.time is not None and known_at != stream.time.column:
        columns[known_at] = Column(type="timestamp", role="ignore", nullable=False)
    return stream.model_copy(update={"columns": columns, "lags": ()})


def new_outcomes(stream: Stream, progress: Progress) -> dict[str, list[float]]:
    """Return the files of outcomes that have not been read, with size and time of change.

    Raises
    ------
    SourceError
        When one lacks a column, or one that was read has changed.
    """
    if stream.outcomes is None:
        return {}
    there = list_files(stream.outcomes, none_yet=True)
    known = progress.outcomes
    changed = [path for path, about in there.items() if known.get(path, about) != about]
    if changed:
        message = (
            f"{changed[0]}: has changed since its outcomes were read; write new ones to a new "
            f"file, under another name until it is whole, or begin again with `run --anew`"
        )
        raise SourceError(message)
    new = {path: about for path, about in there.items() if path not in known}
    check_files(list(new), stream.outcomes, outcome_stream(stream))
    return new


def settle(
    stream: Stream,
    staging: Path,
    before: OutcomeCounts,
    then: Clock,
    watermark: int | None,
    until: Mapping[str, int],
    versions: Sequence[Version],
) -> OutcomeCounts:
    """Let go of what has waited long enough, write what stays, and return the counts.

    A forecast is let go `within` after its valid time, once the calibrator has learnt its outcome
    or will learn no more; so is an outcome without forecast, which becomes a reject. Without
    `outcomes`, a forecast of a series' own future is let go when its windows are final.

    Parameters
    ----------
    before : the counts of earlier ticks.
    then : before this tick's rows.
    watermark : after them, in µs since 1970.
    until : by target that is forecast `ahead`: up to when, in µs since 1970.
    versions : of the baselines.
    """
    tables = {name: _table(staging / name, name) for name in STATE_TABLES}
    counts: OutcomeCounts = {**before}
    tables[ARRIVE] = _still_awaited(tables[ARRIVE], until)
    closed = pl.col("baseline_id").is_in(baselines_over(stream, versions, watermark))
    tables[STATES] = tables[STATES].filter(~closed)
    taught, times = pl.col("learnt") | pl.col("outcome").is_null() | closed, lateness(stream)
    if stream.outcomes is None and watermark is not None and times is not None:
        final = pl.col("span") * times.every + times.length + times.allowed <= watermark
        tables[AWAIT] = tables[AWAIT].filter(~(final & taught))
    if stream.outcomes is not None and watermark is not None:
        within = round(parse_duration(stream.outcomes.within) * 1e6)
        past = pl.col("valid_time").dt.timestamp("us") + within <= watermark
        tables[AWAIT] = tables[AWAIT].filter(~(past & taught))
        gone = tables[ARRIVE].filter(past & ~_FROM_ROWS)
        tables[ARRIVE] = tables[ARRIVE].filter(~past | _FROM_ROWS)
        counts["unmatched"] += gone.height
        if gone.height:
            rejects = _rejects(stream, gone, stream.outcomes.within)
            write_part(rejects.to_arrow().cast(REJECT), staging / REJECTS)
    rows = row_counts(read_tallies(staging / OUTCOME_TALLIES))
    counts["rows"] += rows["in"]
    counts["rejected"] += rows["rejected"]
    counts["waiting"] = tables[ARRIVE].filter(~_FROM_ROWS).height
    for part in (p for name in (COUNTS, NULLS) for p in (staging / name).glob("*.parquet")):
        for name, total in pl.read_parquet(part).sum().row(0, named=True).items():
            counts[name] += total  # type: ignore[literal-required]
    counts["after_final"] += _after_final(staging / TOLD, then)
    for name, table in tables.items():
        order = [column for column in _ORDER if column in table.columns]
        own = table.sort(order).to_arrow().cast(STATE_TABLES[name])
        write_part(own, staging / SETTLED / name)
    return counts


_ORDER = ("key", "target", "baseline_id", "valid_time", "known_at", "path", "row")


def baselines_over(stream: Stream, versions: Sequence[Version], watermark: int | None) -> list[str]:
    """Return the ids of the baselines all of whose windows are final: they forecast no more."""
    times = lateness(stream)
    if times is None or watermark is None:
        return []
    return [
        old.id
        for old, new in pairwise(versions)
        if new.since is not None and times.final(round(new.since.timestamp() * 1e6), watermark)
    ]


def _still_awaited(arrived: pl.DataFrame, until: Mapping[str, int]) -> pl.DataFrame:
    """Leave out values of rows whose time has been forecast by now: no forecast awaits them."""
    passed = pl.lit(value=False)
    for target, time in until.items():
        own = pl.col("target") == target
        passed |= own & (pl.col("valid_time").dt.timestamp("us") <= time)
    return arrived.filter(~(_FROM_ROWS & passed))


def _table(folder: Path, name: str) -> pl.DataFrame:
    parts = sorted(folder.glob("*.parquet"))
    empty = pl.DataFrame(STATE_TABLES[name].empty_table())
    return pl.concat([empty, *map(pl.read_parquet, parts)])


def _after_final(folder: Path, then: Clock) -> int:
    """Return how many outcomes came for forecasts all of whose windows were final."""
    times, parts = lateness(then.stream), sorted(folder.glob("*.parquet"))
    if times is None or not parts:
        return 0
    span = pl.col("valid_time").dt.timestamp("us") // times.every
    told = pl.scan_parquet(parts, hive_partitioning=False, glob=False)
    return int(told.filter(then.final(then.last_window(span))).select(pl.len()).collect().item())


def _rejects(stream: Stream, gone: pl.DataFrame, within: str) -> pl.DataFrame:
    detail = (
        f"no forecast of this key and time awaited it: there was none, or it was waited for "
        f"no longer than {within}"
    )
    raw = gone.select("key", "valid_time", "target", "outcome", "known_at")
    return gone.select(
        pl.lit(stream.name).alias("stream"),
        "path",
        "row",
        pl.lit("no_forecast").alias("reason"),
        pl.col("target").alias("column"),
        pl.lit(detail).alias("detail"),
        pl.Series("raw", [json.dumps(row, default=str) for row in raw.iter_rows(named=True)]),
    )
