"""Episodes: one shift is one alarm, with a start, an end and a running estimate of its effect.

An episode opens with the first alarm about a subject, and stays open while windows alarm again or
stay above a lower release threshold (a Schmitt trigger): some evidence of the subject alone, and at
least half the effect so far. After two quiet windows in a row it
closes. Windows that were not tested, or that are not there, neither prolong nor close it, unless
there are many of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from monitors.alarms.control import WINDOW
from schemas.records import EPISODE

QUIET = 2  # windows in a row that close an episode
LONGEST_GAP = 8  # window lengths without a test, after which nothing is known any more
RELEASE_P = 0.02  # p-value of the subject alone, above which a window is quiet
RELEASE_EFFECT = 0.5  # of the effect so far, below which it is


@dataclass(frozen=True, slots=True)
class Episode:
    """One shift so far."""

    stream: str
    key: str
    monitor: str
    subject: str
    start: datetime | None  #: of the first alarm's window; None for windows counted in rows
    end: datetime | None  #: of the last window above the release threshold
    start_index: int | None
    end_index: int | None
    open: bool
    windows: int  #: above the release threshold
    alarms: int  #: windows among them with an alarm
    peak: float  #: largest statistic
    effect: float | None  #: mean so far, weighted by the statistic
    latest_effect: float | None
    finding_id: str  #: of the peak
    explanation: str  #: of the peak
    baseline_id: str
    kind: str | None  #: of the first alarm
    since: datetime | None  #: of the first alarm
    weight: float  #: sum of the effects' weights
    quiet: int  #: quiet windows since the last one above the release threshold
    seen: float  #: end of the last tested window: seconds since 1970, or its index

    @property
    def id(self) -> str:
        """Twenty hex digits of the hash of what the episode is about and when it began."""
        start = None if self.start is None else self.start.isoformat()
        about = [self.stream, self.key, self.monitor, self.subject, start, self.start_index]
        return hashlib.blake2b(json.dumps(about).encode(), digest_size=10).hexdigest()

    def as_row(self) -> dict[str, object]:
        """Return the episode as a row of `EPISODE`."""
        values = {"id": self.id, **asdict(self)}
        return {name: values[name] for name in EPISODE.names}


def follow(episode: Episode | None, finding: Mapping[str, Any]) -> tuple[Episode | None, bool]:
    """Take in the next finding about a subject, in order of event time.

    Parameters
    ----------
    episode : the open one; None when there is none.
    finding : a row of `schemas.records.FINDING`.

    Returns
    -------
    episode : as it is now; None when there is none.
    anew : whether it is another one than before: then the one before has ended.
    """
    if finding["status"] != "tested":
        return episode, False
    if episode is None or _unseen(episode, finding) > LONGEST_GAP:
        begun = _begin(finding) if finding["alarm"] else None
        return begun, episode is not None or begun is not None
    if finding["alarm"] or _above_release(episode, finding):
        return _extend(episode, finding), False
    if episode.quiet + 1 < QUIET:
        return replace(episode, quiet=episode.quiet + 1, seen=_end(finding)), False
    return None, True


def trace(findings: Iterable[Mapping[str, Any]]) -> Iterator[Episode]:
    """Yield the episodes in the findings about one subject, which are in order of event time."""
    episode: Episode | None = None
    for finding in findings:
        before = episode
        episode, anew = follow(before, finding)
        if anew and before is not None:
            yield replace(before, open=False)
    if episode is not None:
        yield episode


def episodes(findings: pl.LazyFrame) -> pl.DataFrame:
    """Return the episodes of a run, one row of `EPISODE` each, in order of their start.

    Parameters
    ----------
    findings : rows of `schemas.records.FINDING`, in any order; the last revision of each counts.
    """
    about = ["key", "monitor", "subject"]
    alarmed = findings.filter("alarm").select(about).unique()  # revised or not: most never did
    groups = (
        findings.join(alarmed, on=about, how="semi")
        .sort("revision")
        .unique("id", keep="last")
        .sort(*about, *WINDOW)
        .collect()
        .partition_by(about, maintain_order=True)
    )
    rows = [found.as_row() for group in groups for found in trace(group.iter_rows(named=True))]
    empty = pl.DataFrame(EPISODE.empty_table())
    return pl.DataFrame(rows, schema=empty.schema).sort("start", "start_index", *about)


def _begin(finding: Mapping[str, Any]) -> Episode:
    fields = (
        "stream",
        "key",
        "monitor",
        "subject",
        "explanation",
        "baseline_id",
        "kind",
        "since",
    )
    return Episode(
        **{name: finding[name] for name in fields},
        start=finding["window_start"],
        end=finding["window_end"],
        start_index=finding["window_index"],
        end_index=finding["window_index"],
        open=True,
        windows=1,
        alarms=1,
        peak=finding["statistic"],
        effect=finding["effect"],
        latest_effect=finding["effect"],
        finding_id=finding["id"],
        weight=_weight(finding),
        quiet=0,
        seen=_end(finding),
    )


def _extend(episode: Episode, finding: Mapping[str, Any]) -> Episode:
    weight, effect = episode.weight, episode.effect
    if finding["effect"] is not None:
        weight += _weight(finding)
        effect = (effect or 0.0) + (finding["effect"] - (effect or 0.0)) * _weight(finding) / weight
    higher = finding["statistic"] > episode.peak
    peak = finding if higher else {"explanation": episode.explanation, "id": episode.finding_id}
    return replace(
        episode,
        end=finding["window_end"],
        end_index=finding["window_index"],
        windows=episode.windows + 1,
        alarms=episode.alarms + bool(finding["alarm"]),
        peak=max(episode.peak, finding["statistic"]),
        effect=effect,
        latest_effect=finding["effect"],
        finding_id=peak["id"],
        explanation=peak["explanation"],
        weight=weight,
        quiet=0,
        seen=_end(finding),
    )


def _above_release(episode: Episode, finding: Mapping[str, Any]) -> bool:
    if finding["p_value"] is None or finding["p_value"] > RELEASE_P:
        return False
    if not episode.effect or finding["effect"] is None:
        return True
    return bool(finding["effect"] / episode.effect >= RELEASE_EFFECT)


def _weight(finding: Mapping[str, Any]) -> float:
    return max(float(finding["statistic"]), 1e-9)


def _end(finding: Mapping[str, Any]) -> float:
    """Return where a window ends, in seconds since 1970 or counted in windows."""
    end = finding["window_end"]
    return float(finding["window_index"] + 1) if end is None else float(end.timestamp())


def _unseen(episode: Episode, finding: Mapping[str, Any]) -> float:
    """Return the window lengths between the last tested window and this one."""
    start, end = finding["window_start"], finding["window_end"]
    if start is None:
        return float(finding["window_index"]) - episode.seen
    return float((start.timestamp() - episode.seen) / (end - start).total_seconds())
