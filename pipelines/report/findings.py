"""What alarmed: findings gathered by window and key, and the verdict in one sentence."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from monitors.budget import FORECAST_MONITORS, false_alarms_allowed
from pipelines.causes import finding_of
from pipelines.report.cause_words import LONGEST_NAME, MONITORS, clause, effect, sentence
from pipelines.report.forecasts import Series
from pipelines.report.timeline import COLUMNS, Bounds, Timeline
from pipelines.report.words import chance, count, key_label, listed, moment, number, shorten
from pipelines.run_folder import Run
from schemas.records import Finding

NAMED_OPEN = 3  # names of a card that are shown; more are folded
MOST_ALARMS = 20  # cards on the page; the table of findings holds the rest


@dataclass(frozen=True, slots=True)
class Named:
    """One subject that a monitor named."""

    finding: Finding
    monitor: str
    sentence: str
    evidence: str
    chance: str
    effect: str
    command: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """All that alarmed in one window of one key."""

    key: str
    place: int
    anchor: str
    when: str
    of: str  #: the key, in words
    named: tuple[Named, ...]
    effects: tuple[
        tuple[str, str, str], ...
    ]  #: target, what its forecasts did, which monitors alarmed
    strength: float  #: largest statistic, in thresholds

    @property
    def lead(self) -> Named:
        """Return what to look at first: the first name, or one whose partner is known.

        Two sensors that read each other's values make every neighbour look wrong.
        """
        swapped = (item for item in self.named if item.finding.kind == "swapped")
        return next(swapped, self.named[0])

    @property
    def title(self) -> str:
        """Name the subjects of the alarm."""
        subjects = dict.fromkeys(item.finding.subject for item in self.named)
        return listed([shorten(subject, LONGEST_NAME) for subject in subjects])


def latest(run: Run) -> pl.DataFrame:
    """Return the findings, each in its last revision, with `ratio`: statistic over threshold."""
    rows = run.table("findings").sort("revision")
    ratio = pl.when(pl.col("threshold") > 0).then(pl.col("statistic") / pl.col("threshold"))
    return (
        rows.unique("id", keep="last", maintain_order=True)
        .with_columns(ratio=ratio)
        .sort(*COLUMNS, "key", "monitor", "rank", "subject", nulls_last=True)
    )


def alarms_of(
    findings: pl.DataFrame, windows: Timeline, series: Sequence[Series], run: Run
) -> list[Alarm]:
    """Return the alarms in order of time, then key."""
    places = windows.positions()
    groups: dict[tuple[Bounds, str], list[dict[str, Any]]] = {}
    for row in findings.filter("alarm").iter_rows(named=True):
        bounds = (row["window_start"], row["window_end"], row["window_index"])
        groups.setdefault((bounds, row["key"]), []).append(row)
    alarms = [
        _alarm(number, key, places[bounds], rows, windows, series, run)
        for number, ((bounds, key), rows) in enumerate(groups.items(), 1)
    ]
    return sorted(alarms, key=lambda alarm: (alarm.place, alarm.key))


def _alarm(
    number: int,
    key: str,
    place: int,
    rows: Sequence[Mapping[str, Any]],
    windows: Timeline,
    series: Sequence[Series],
    run: Run,
) -> Alarm:
    # causes before consequences: features first, then what the forecasts did
    order = list(MONITORS)
    ranked = sorted(
        rows,
        key=lambda row: (
            order.index(row["monitor"]) if row["monitor"] in order else len(order),
            row["rank"] or 0,
        ),
    )
    effects = []
    for item in series:
        if item.key == key:
            raised = [
                row["monitor"]
                for row in ranked
                if row["subject"] == item.target and row["monitor"] in FORECAST_MONITORS
            ]
            says = "alarm: " + listed(raised) if raised else "no alarm"
            effects.append((item.target, item.effect(place), says))
    return Alarm(
        key=key,
        place=place,
        anchor=f"alarm-{number}",
        when=windows.label(place),
        of=key_label(key),
        named=tuple(_named(row, run) for row in ranked),
        effects=tuple(effects),
        strength=max((row["ratio"] or 0.0) for row in rows),
    )


def _named(row: Mapping[str, Any], run: Run) -> Named:
    finding = finding_of(row)
    ratio = row["ratio"]
    times = f", {ratio:.2g} times it" if ratio is not None and ratio < 100 else ""
    return Named(
        finding=finding,
        monitor=MONITORS.get(finding.monitor, finding.monitor),
        sentence=sentence(finding.subject, finding.explanation),
        evidence=f"{number(finding.statistic)} against a threshold of "
        f"{number(finding.threshold)}{times}",
        chance=chance(finding.p_value),
        effect=effect(finding),
        command=f"tidegauge explain {row['id']} --run {shlex.quote(str(run.folder))}",
    )


def verdict(alarms: Sequence[Alarm], findings: pl.DataFrame, run: Run) -> str:
    """Say in one sentence what the run found."""
    of = f"in {count(run.manifest['windows'], 'window')}"
    if not run.manifest["windows"]:
        return "Nothing was tested: the run has no window of rows"
    if not (findings["status"] == "tested").any():
        return f"Nothing was tested {of}"
    if not alarms:
        return f"Nothing alarmed {of}"
    strongest = max(alarms, key=lambda alarm: alarm.strength)
    first = strongest.lead
    says = clause(first.finding.subject, first.finding.explanation, first.finding.since)
    others = len({item.finding.subject for item in strongest.named}) - 1
    more = f" (and {others} more)" if others else ""
    where = f", {shorten(strongest.of, LONGEST_NAME)}" if strongest.of else ""
    since = first.finding.since
    when = strongest.when if since is None else f"since {moment(since)}"
    lead = ":" if len(alarms) == 1 else ". The strongest:"
    return (
        f"{count(len(alarms), 'alarm')} {of}{lead} "
        f"{shorten(first.finding.subject, LONGEST_NAME)}{more}, {when}{where}, {says}"
    )


def expected_false_alarms(run: Run, windows: Timeline, alarms: int) -> str:
    """Say how many false alarms the budget allows in a run of this length with these alarms."""
    allowed = false_alarms_allowed(run.stream, len(windows), alarms)
    if run.stream.alarms.share is not None:
        return f"About {allowed:.2g} of the {count(alarms, 'alarm')} of this run."
    return f"About {allowed:.2g} expected in a run of this length when nothing is wrong."


def untested(findings: pl.DataFrame) -> list[tuple[str, str, int, str]]:
    """Return what was not tested as (monitor, subjects, windows of one key, reason)."""
    rows = findings.filter(pl.col("status") != "tested")
    reasons = (
        rows.group_by("monitor", "explanation")
        .agg(
            subjects=pl.col("subject").unique().sort(),
            windows=pl.struct("key", *COLUMNS).n_unique(),
        )
        .sort("windows", "monitor", "explanation", descending=[True, False, False])
    )
    return [
        (
            MONITORS.get(row["monitor"], row["monitor"]),
            listed(row["subjects"]),
            row["windows"],
            row["explanation"],
        )
        for row in reasons.iter_rows(named=True)
    ]
