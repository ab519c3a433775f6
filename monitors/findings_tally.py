"""Adds findings up, batch by batch, as they are written: what the exporter needs, and no more.

A finding that is revised is judged anew: counters count every verdict, so that they never go down,
and whatever describes the latest window reads the last revision alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from schemas.records import FINDING

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

REMEMBERED = 500_000  # at least so many of the last findings, and of their windows; twice at most
_EXACT = 2**20  # a sum of integers is the same in any order, and so a counter never goes down
WINDOW = ("window_start", "window_end", "window_index")

#: The columns of a finding that are read here.
COLUMNS = (
    "id",
    "revision",
    "key",
    *WINDOW,
    "monitor",
    "subject",
    "status",
    "statistic",
    "threshold",
    "alarm",
    "explanation",
    "kind",
    "since",
)


@dataclass(frozen=True, slots=True)
class FindingsView:
    """Findings, reduced to what is exported."""

    latest: pl.DataFrame  #: `COLUMNS` of the latest window of each monitor, last revisions
    alarms: Mapping[str, int]  #: by monitor: windows of one key with an alarm, in any revision
    windows: int  #: windows with findings; that of several keys counts once
    scores: tuple[int, ...]  #: verdicts of feature_shift up to each of `SCORE_BUCKETS`
    scores_count: int
    scores_sum: float
    revised: int  #: verdicts that revise an earlier one
    watermark: datetime | None  #: end of the latest window


class Recent:
    """Remembers the highest revision of the latest things, in a bounded room.

    At least the last `REMEMBERED` things are known, and at most twice as many, at about 100 bytes
    each. What is older is forgotten, and new when it comes again.
    """

    def __init__(self) -> None:
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def is_new(self, thing: Hashable, revision: int = 0) -> bool:
        """Remember a thing; say whether it was not known, or in lower revisions only."""
        of = hash(thing)  # 64 bits: among a million, one in 10⁷ runs has a collision
        if revision <= self._young.get(of, self._old.get(of, -1)):
            return False
        self._young[of] = revision
        if len(self._young) >= REMEMBERED:
            self._young, self._old = {}, self._young
        return True


class FindingsTally:
    """Findings so far. Each (id, revision) must be added once."""

    def __init__(self) -> None:
        self._latest = pl.DataFrame(FINDING.empty_table()).select(COLUMNS)
        self._alarms: Counter[str] = Counter()
        self._alarmed, self._windows = Recent(), Recent()
        self._window_count = self._revised = self._scores_count = 0
        self._scores = [0] * len(SCORE_BUCKETS)
        self._scores_sum = 0  # times `_EXACT`
        self._watermark: datetime | None = None

    def add(self, findings: pl.DataFrame) -> None:
        """Add rows of `schemas.records.FINDING`, in any order; only `COLUMNS` are read."""
        if findings.is_empty():
            return
        findings = findings.select(COLUMNS)
        for about in findings.filter("alarm").select("monitor", "key", *WINDOW).unique().rows():
            self._alarms[about[0]] += self._alarmed.is_new(about)
        for window in findings.select(WINDOW).unique().rows():
            self._window_count += self._windows.is_new(window)
        self._add_scores(findings)
        self._revised += int((findings["revision"] > 0).sum())
        end = findings["window_end"].max()
        if isinstance(end, datetime):
            self._watermark = max(end, self._watermark or end)
        both = pl.concat([self._latest, findings]).lazy()
        self._latest = latest_findings(both).collect()

    def view(self) -> FindingsView:
        """Return what has been added so far; later additions do not change it."""
        return FindingsView(
            latest=self._latest,
            alarms=dict(self._alarms),
            windows=self._window_count,
            scores=tuple(self._scores),
            scores_count=self._scores_count,
            scores_sum=self._scores_sum / _EXACT,
            revised=self._revised,
            watermark=self._watermark,
        )

    def _add_scores(self, findings: pl.DataFrame) -> None:
        tested = (pl.col("monitor") == "feature_shift") & (pl.col("status") == "tested")
        scores = findings.filter(tested)["statistic"].drop_nulls().drop_nans().clip(0, 1e6)
        for place, edge in enumerate(SCORE_BUCKETS):
            self._scores[place] += int((scores <= edge).sum())
        self._scores_count += len(scores)
        self._scores_sum += int((scores * _EXACT).round().cast(pl.Int64).sum())


def latest_findings(findings: pl.LazyFrame) -> pl.LazyFrame:
    """Return the last revisions of the findings of the latest window of each monitor.

    In event time that is one window for all keys, so that a key which has gone silent does not keep
    its last alarm for ever; windows counted in rows have no common clock, so each key has its own.
    """
    in_time = pl.col("window_end") == pl.col("window_end").max().over("monitor")
    in_rows = pl.col("window_index") == pl.col("window_index").max().over("monitor", "key")
    latest = findings.filter(
        pl.when(pl.col("window_end").is_not_null()).then(in_time).otherwise(in_rows)
    )
    return latest.sort("revision", maintain_order=True).unique("id", keep="last")
