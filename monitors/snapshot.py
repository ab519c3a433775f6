"""What the exporter needs of a run, reduced from its tables without holding them in memory.

The parts of a run never change, and a run that goes on gains some: each is read once, and reduced
to a few rows that are kept. When parts have been put together into one, that one is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from monitors.findings_tally import COLUMNS, FindingsTally, FindingsView
from schemas.records import RECORDS

_PART = "part"  # the column with the path of a row's part
# Sums of floats depend on their order: the same rows in other parts would let a counter go down.
_EXACT = pl.Decimal(38, 15)


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """One run, reduced to what is exported."""

    manifest: Mapping[str, Any]
    found: FindingsView
    watermark: datetime | None  #: of the run, else the end of the latest closed window
    forecasts: pl.DataFrame  #: target, scored, below, above, width (sum)
    expectations: pl.DataFrame  #: severity, result, checks
    rejects: pl.DataFrame  #: reason, rows
    episodes: pl.DataFrame  #: monitor, episodes, open
    sentinel: pl.DataFrame  #: tests, alarms (of different stretches of the reference), level


class RunReader:
    """Reduces a run, and again while it goes on."""

    def __init__(self) -> None:
        self._tally = FindingsTally()
        self._seen: dict[str, frozenset[str]] = {name: frozenset() for name in RECORDS}
        self._kept = [
            table.part(_empty(name)).collect() for name, table in _TABLES
        ]  # reduced parts, in the order of `_TABLES`

    def read(self, manifest: Mapping[str, Any], folder: Path) -> RunSnapshot:
        """Reduce the run as it is now; parts that were read before are not read again.

        Raises
        ------
        polars.exceptions.PolarsError, OSError
            When a part cannot be read; the next call begins where this one did.
        """
        files = manifest["files"]
        parts = {
            name: frozenset(f"{folder}/{part}" for part in files.get(name, [])) for name in RECORDS
        }
        anew = not self._seen["findings"] <= parts["findings"]
        found = parts["findings"] if anew else parts["findings"] - self._seen["findings"]
        scans = [_scan("findings", found).select(COLUMNS)]
        scans += [
            table.part(_scan(name, parts[name] - self._seen[name])) for name, table in _TABLES
        ]
        findings, *fresh = pl.collect_all(scans)
        tally = FindingsTally() if anew else self._tally
        tally.add(findings)
        for place, (name, _) in enumerate(_TABLES):
            kept = self._kept[place]
            if not self._seen[name] <= parts[name]:
                kept = kept.filter(pl.col(_PART).is_in(list(parts[name])))
            self._kept[place] = pl.concat([kept, fresh[place]])
        self._tally, self._seen = tally, parts
        return _snapshot(manifest, tally, self._kept)


def score_intervals(forecasts: pl.LazyFrame) -> pl.LazyFrame:
    """Count, per part and target, the forecasts whose outcome is known and how they missed.

    Parameters
    ----------
    forecasts : rows of `schemas.records.FORECAST`, and `part`; a null or NaN outcome has not come
        yet.

    Returns
    -------
    columns part, target, scored, below, above (counts) and width (sum over the scored, target's
    unit)
    """
    scored = forecasts.filter(pl.col("outcome").is_not_null() & pl.col("outcome").is_not_nan())
    return scored.group_by(_PART, "target").agg(
        scored=pl.len().cast(pl.Int64),  # the sum over all parts may need more than 32 bits
        below=(pl.col("outcome") < pl.col("lower")).sum().cast(pl.Int64),
        above=(pl.col("outcome") > pl.col("upper")).sum().cast(pl.Int64),
        width=(pl.col("upper") - pl.col("lower")).clip(0, 1e15).fill_nan(None).cast(_EXACT).sum(),
    )


def _score_first(outcomes: pl.LazyFrame) -> pl.LazyFrame:
    """Score the outcomes that came later: a counter has no way back, so the first one counts."""
    return score_intervals(outcomes.filter(pl.col("revision") == 0))


@dataclass(frozen=True, slots=True)
class _Table:
    """How a table is reduced."""

    part: Callable[[pl.LazyFrame], pl.LazyFrame]  #: rows with `part`, to fewer rows with it
    whole: Callable[[pl.LazyFrame], pl.LazyFrame]  #: those of all parts, to what is exported


def _summed(*by: str) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    return lambda kept: kept.group_by(by).agg(pl.exclude(_PART, *by).sum()).sort(by)


def _counted(*by: str, name: str) -> _Table:
    def count(table: pl.LazyFrame) -> pl.LazyFrame:
        return table.group_by(_PART, *by).agg(pl.len().cast(pl.Int64).alias(name))

    return _Table(count, _summed(*by))


def _latest_end(summaries: pl.LazyFrame) -> pl.LazyFrame:
    return summaries.group_by(_PART).agg(pl.col("window_end").max())


def _shifts(episodes: pl.LazyFrame) -> pl.LazyFrame:
    return episodes.select(_PART, "id", "monitor", "open", "windows")


def _count_shifts(shifts: pl.LazyFrame) -> pl.LazyFrame:
    # An episode that went on is longer, or closed: that row counts.
    closed = ~pl.col("open")
    return (
        shifts.sort("windows", closed)
        .unique("id", keep="last")
        .group_by("monitor")
        .agg(episodes=pl.len(), open=pl.col("open").sum())
        .sort("monitor")
    )


_STRETCH = ("key", "monitor", "block", "blocks")


def _stretches(sentinels: pl.LazyFrame) -> pl.LazyFrame:
    return sentinels.group_by(_PART, *_STRETCH).agg(pl.col("alarm").any(), pl.col("level").max())


def _count_stretches(stretches: pl.LazyFrame) -> pl.LazyFrame:
    different = stretches.group_by(_STRETCH).agg(pl.col("alarm").any(), pl.col("level").max())
    return different.select(
        tests=pl.len(), alarms=pl.col("alarm").sum(), level=pl.col("level").max()
    )


_TABLES: tuple[tuple[str, _Table], ...] = (
    ("forecasts", _Table(score_intervals, _summed("target"))),
    ("outcomes", _Table(_score_first, _summed("target"))),
    ("expectations", _counted("severity", "result", name="checks")),
    ("rejects", _counted("reason", name="rows")),
    ("episodes", _Table(_shifts, _count_shifts)),
    ("sentinels", _Table(_stretches, _count_stretches)),
    ("summaries", _Table(_latest_end, lambda ends: ends.select(pl.col("window_end").max()))),
)


def _empty(name: str) -> pl.LazyFrame:
    return pl.DataFrame(RECORDS[name].empty_table()).lazy().with_columns(pl.lit("").alias(_PART))


def _scan(name: str, parts: Sequence[str] | frozenset[str]) -> pl.LazyFrame:
    if not parts:
        return _empty(name)
    return pl.scan_parquet(
        sorted(parts), glob=False, hive_partitioning=False, include_file_paths=_PART
    )


def _snapshot(
    manifest: Mapping[str, Any], tally: FindingsTally, kept: Sequence[pl.DataFrame]
) -> RunSnapshot:
    wholes = [table.whole(rows.lazy()) for (_, table), rows in zip(_TABLES, kept, strict=True)]
    own, late, expectations, rejects, episodes, sentinel, summaries = pl.collect_all(wholes)
    forecasts = pl.concat([own, late]).group_by("target").sum().sort("target")
    found = tally.view()
    ends = [end for end in (found.watermark, summaries.item()) if end is not None]
    stated = manifest.get("watermark")
    return RunSnapshot(
        manifest=manifest,
        found=found,
        watermark=max(ends, default=None) if stated is None else datetime.fromisoformat(stated),
        forecasts=forecasts.with_columns(pl.col("width").cast(pl.Float64)),
        expectations=expectations,
        rejects=rejects,
        episodes=episodes,
        sentinel=sentinel,
    )
