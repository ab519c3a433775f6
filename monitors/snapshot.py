"""What the exporter needs of a run, reduced from its tables without holding them in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

SCORE_BUCKETS = (
    0.5,
    1.0,
    1.5,
    2.0,
    3.0,
    4.0,
    5.0,
    6.0,
    8.0,
    10.0,
    15.0,
    20.0,
    50.0,
)  # log10 evidence

_WINDOW = ("window_start", "window_end", "window_index")


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """One run, reduced to what is exported."""

    manifest: Mapping[str, Any]
    latest: pl.DataFrame  #: findings of the latest window of each monitor
    alarms: pl.DataFrame  #: monitor, alarms: windows of one key with an alarm
    scores: pl.DataFrame  #: feature, by bucket: `le` (null is +Inf), rows (cumulative), sum
    windows: int  #: windows with findings; that of several keys counts once
    watermark: datetime | None  #: end of the latest closed window
    forecasts: pl.DataFrame  #: target, scored, below, above, width (sum)
    expectations: pl.DataFrame  #: severity, result, checks
    rejects: pl.DataFrame  #: reason, rows
    episodes: pl.DataFrame  #: monitor, episodes, open
    sentinel: pl.DataFrame  #: tests, alarms (of different stretches of the reference), level


def take_snapshot(manifest: Mapping[str, Any], scan: Callable[[str], pl.LazyFrame]) -> RunSnapshot:
    """Reduce a run.

    Parameters
    ----------
    manifest : the document run.json.
    scan : gives a table of `schemas.records.RECORDS`, unread, by name.
    """
    findings = scan("findings").sort("revision").unique("id", keep="last", maintain_order=True)
    ends = [scan(name).select(pl.col("window_end").max()) for name in ("findings", "summaries")]
    windows, watermark, *tables = pl.collect_all(
        [
            findings.select(pl.struct(_WINDOW).n_unique()),
            pl.concat(ends).select(pl.col("window_end").max()),
            latest_findings(findings),
            _alarms(findings),
            _scores(findings),
            score_intervals(scan("forecasts")),
            _count(scan("expectations"), "severity", "result", name="checks"),
            _count(scan("rejects"), "reason", name="rows"),
            _episodes(scan("episodes")),
            _sentinel(scan("sentinels")),
        ]
    )
    latest, alarms, scores, forecasts, expectations, rejects, episodes, sentinel = tables
    return RunSnapshot(
        manifest=manifest,
        latest=latest,
        alarms=alarms,
        scores=scores,
        windows=windows.item(),
        watermark=watermark.item(),
        forecasts=forecasts,
        expectations=expectations,
        rejects=rejects,
        episodes=episodes,
        sentinel=sentinel,
    )


def score_intervals(forecasts: pl.LazyFrame) -> pl.LazyFrame:
    """Count, per target, the forecasts whose outcome is known and how they missed.

    Parameters
    ----------
    forecasts : rows of `schemas.records.FORECAST`; a null or NaN outcome has not come yet.

    Returns
    -------
    columns target, scored, below, above (counts) and width (sum over the scored, target's unit)
    """
    scored = forecasts.filter(pl.col("outcome").is_not_null() & pl.col("outcome").is_not_nan())
    return (
        scored.group_by("target")
        .agg(
            scored=pl.len(),
            below=(pl.col("outcome") < pl.col("lower")).sum(),
            above=(pl.col("outcome") > pl.col("upper")).sum(),
            width=(pl.col("upper") - pl.col("lower")).sum(),
        )
        .sort("target")
    )


def latest_findings(findings: pl.LazyFrame) -> pl.LazyFrame:
    """Return the findings of the latest window of each monitor.

    In event time that is one window for all keys, so that a key which has gone silent does not keep
    its last alarm for ever; windows counted in rows have no common clock, so each key has its own.
    """
    in_time = pl.col("window_end") == pl.col("window_end").max().over("monitor")
    in_rows = pl.col("window_index") == pl.col("window_index").max().over("monitor", "key")
    return findings.filter(
        pl.when(pl.col("window_end").is_not_null()).then(in_time).otherwise(in_rows)
    ).select("monitor", "key", "subject", "status", "statistic", "threshold", "alarm")


def _alarms(findings: pl.LazyFrame) -> pl.LazyFrame:
    return (
        findings.filter("alarm")
        .select("monitor", "key", *_WINDOW)
        .unique()
        .group_by("monitor")
        .agg(alarms=pl.len())
        .sort("monitor")
    )


def _scores(findings: pl.LazyFrame) -> pl.LazyFrame:
    score = pl.col("statistic").clip(lower_bound=0)
    return findings.filter(
        pl.col("monitor") == "feature_shift", pl.col("status") == "tested"
    ).select(
        **{str(le): (score <= le).sum() for le in SCORE_BUCKETS},
        count=pl.col("statistic").count(),
        sum=score.sum(),
    )


def _episodes(episodes: pl.LazyFrame) -> pl.LazyFrame:
    return (
        episodes.group_by("monitor")
        .agg(episodes=pl.len(), open=pl.col("open").sum())
        .sort("monitor")
    )


def _sentinel(sentinels: pl.LazyFrame) -> pl.LazyFrame:
    different = sentinels.group_by("key", "monitor", "block", "blocks").agg(
        pl.col("alarm").any(), pl.col("level").max()
    )
    return different.select(
        tests=pl.len(), alarms=pl.col("alarm").sum(), level=pl.col("level").max()
    )


def _count(table: pl.LazyFrame, *by: str, name: str) -> pl.LazyFrame:
    return table.group_by(by).agg(pl.len().alias(name)).sort(by)
