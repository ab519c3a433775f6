"""Puts the report together: reads the run once, and fills the template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.causes import Causes
from pipelines.report.cause_view import CauseView, view
from pipelines.report.cause_words import MONITORS
from pipelines.report.episodes import episode_rows
from pipelines.report.findings import (
    MOST_ALARMS,
    NAMED_OPEN,
    Alarm,
    alarms_of,
    expected_false_alarms,
    latest,
    untested,
    verdict,
)
from pipelines.report.forecast_figures import forecast_plots
from pipelines.report.forecasts import Series, read_series
from pipelines.report.heatmap import heat_map, keys_shown, legend
from pipelines.report.keys import key_rows, number_of_keys, subject_rows
from pipelines.report.quality import MOST_COLUMNS, column_rows, expectations, reject_reasons
from pipelines.report.template import template
from pipelines.report.timeline import COLUMNS, Timeline, timeline
from pipelines.report.words import (
    NBSP,
    NONE,
    count,
    key_label,
    moment,
    number,
    span,
    window_label,
)
from pipelines.run_folder import Run
from schemas.errors import OutputError
from schemas.monitors import FeatureShift

MOST_FINDINGS = 500
MOST_CAUSES = 10  # alarms whose cause is drawn; a command tells those of the others
OPEN_FINDINGS = 60  # a longer table is folded

_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One row of the table of findings: what is shown, and what it is sorted by."""

    place: int
    when: str
    key: str
    monitor: str
    subject: str
    status: str  #: alarm, tested or not tested
    ratio: float | None
    evidence: str
    threshold: str
    effect: str
    effect_sort: float | None
    rows: int
    explanation: str
    id: str


def render(run: Run, baseline: Path | None = None) -> str:
    """Return the report of a run as one HTML document.

    Parameters
    ----------
    baseline : folder of the run's baselines; None: where it was.

    Raises
    ------
    OutputError
        When a part of the run is damaged.
    """
    try:
        return _render(run, baseline)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).partition("\n")[0]
        message = f"{run.folder}: a part of this run cannot be read: {reason}; run again"
        raise OutputError(message) from error


def _render(run: Run, baseline: Path | None) -> str:
    findings = latest(run)
    summaries = run.table("summaries")
    windows = timeline([findings, summaries])
    series = read_series(run, windows)
    alarms = alarms_of(findings, windows, series, run)
    return template("report.html.j2").render(
        run=run,
        rows=run.manifest["rows"],
        findings_folder=str(run.folder / "findings"),
        **_header(run, findings, windows, alarms),
        **_alarms(findings, alarms, run, baseline),
        **_keys(findings),
        **_time_axis(findings, windows, alarms, run),
        **_forecasts(series, windows, alarms, findings),
        **_quality(run, summaries, windows),
        **_table(findings, windows),
    )


def _header(
    run: Run, findings: pl.DataFrame, windows: Timeline, alarms: list[Alarm]
) -> dict[str, Any]:
    manifest, rows = run.manifest, run.manifest["rows"]
    reference = manifest["reference"]
    start, end = reference.get("start"), reference.get("end")
    when = "times not known"
    if start and end:
        when = span(_utc(start), _utc(end))
    return {
        "verdict": verdict(alarms, findings, run),
        "period": _period(windows),
        "balanced": rows["in"] == rows["used"] + rows["rejected"] + rows["late"],
        "budget": budget_words(run.stream.alarms.false),
        "expected": expected_false_alarms(run, windows, len(alarms)),
        "keys": number_of_keys(findings),
        "reference": f"{count(reference.get('rows', 0), 'row')}, {when}",
        "started": moment(_utc(manifest["started"])),
        "seconds": number(manifest["duration_seconds"]),
    }


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _period(windows: Timeline) -> str:
    starts = [start for start, _, _ in windows.windows if start is not None]
    ends = [end for _, end, _ in windows.windows if end is not None]
    if starts and ends:
        return span(min(starts), max(ends))
    return (
        f"{windows.label(0)} to {windows.label(len(windows) - 1)}" if len(windows) else "no window"
    )


def budget_words(text: str) -> str:
    """Return an alarm budget in words: ``1 per 30d`` as ``1 false alarm per 30 days``."""
    share, of, _ = text.partition("%")
    if of:
        return f"{share.strip()}{NBSP}% of the alarms may be false"
    amount, per, *rest = re.split(r"\s+per\s+|\s+", text.strip())
    noun = "false alarm" if float(amount) == 1 else "false alarms"
    found = re.fullmatch(r"([\d.]+)([smhdw])", per)
    if found is not None and not rest:
        unit = _UNITS[found[2]]
        per = unit if float(found[1]) == 1 else f"{found[1]} {unit}s"
    return f"{amount} {noun} per {' '.join([per, *rest])}"


def _alarms(
    findings: pl.DataFrame, alarms: list[Alarm], run: Run, baseline: Path | None
) -> dict[str, Any]:
    strongest = sorted(alarms, key=lambda alarm: -alarm.strength)[:MOST_ALARMS]
    causes = _causes(strongest[:MOST_CAUSES], run, baseline)
    shift = run.stream.monitors.feature_shift
    return {
        "alarms": [alarm for alarm in alarms if alarm in strongest],
        "alarms_total": len(alarms),
        "causes": causes,
        "strongest": strongest[0].anchor if strongest else None,
        "episodes": episode_rows(run),
        "named_open": NAMED_OPEN,
        "tested": (findings["status"] == "tested").any(),
        "untested": untested(findings),
        "ignore_below": shift.ignore_below if isinstance(shift, FeatureShift) else None,
    }


def _causes(alarms: Sequence[Alarm], run: Run, baseline: Path | None) -> dict[str, CauseView]:
    """Return the cause of each alarm's lead, by the alarm's anchor."""
    causes = Causes(run, baseline)
    return {
        alarm.anchor: view(alarm.anchor, causes.cause(alarm.lead.finding), run.folder)
        for alarm in alarms
    }


def _keys(findings: pl.DataFrame) -> dict[str, Any]:
    rows, total = key_rows(findings)
    return {"key_rows": rows, "keys_alarmed": total, "subject_rows": subject_rows(findings)}


def _time_axis(
    findings: pl.DataFrame, windows: Timeline, alarms: list[Alarm], run: Run
) -> dict[str, Any]:
    keys, total = keys_shown(findings, alarms)
    maps = [
        (key_label(key), heat_map(ordinal, key, findings, windows, run.stream))
        for ordinal, key in enumerate(keys)
    ]
    return {"maps": maps, "keys_total": total, "legend": legend(), "keys_shown": keys}


def _forecasts(
    series: list[Series], windows: Timeline, alarms: list[Alarm], findings: pl.DataFrame
) -> dict[str, Any]:
    keys, _ = keys_shown(findings, alarms)
    shown = [item for item in series if item.key in keys] or series[:1]
    return {"forecasts": forecast_plots(shown, windows, alarms), "series_total": len(series)}


def _quality(run: Run, summaries: pl.DataFrame, windows: Timeline) -> dict[str, Any]:
    columns, several = column_rows(summaries, windows, run.stream)
    sentence, failed = expectations(run.table("expectations"))
    return {
        "columns": columns[:MOST_COLUMNS],
        "columns_total": len(columns),
        "several": several,
        "expectations": sentence,
        "failed": failed,
        "reasons": reject_reasons(run),
    }


def _table(findings: pl.DataFrame, windows: Timeline) -> dict[str, Any]:
    shown = findings.sort(
        "alarm", "ratio", *COLUMNS, descending=[True, True, False, False, False], nulls_last=True,
        maintain_order=True,
    ).head(MOST_FINDINGS)  # fmt: skip
    places = windows.positions()
    rows = [_finding_row(row, places) for row in shown.iter_rows(named=True)]
    return {
        "findings": rows,
        "findings_total": len(findings),
        "findings_open": len(findings) <= OPEN_FINDINGS,
        "several_keys": findings["key"].n_unique() > 1,
    }


def _finding_row(row: dict[str, Any], places: dict[Any, int]) -> FindingRow:
    bounds = (row["window_start"], row["window_end"], row["window_index"])
    status = "alarm" if row["alarm"] else row["status"].replace("_", " ")
    return FindingRow(
        place=places[bounds],
        when=window_label(*bounds),
        key=key_label(row["key"]) or NONE,
        monitor=row["monitor"].replace("_", " ") if row["monitor"] in MONITORS else row["monitor"],
        subject=row["subject"],
        status=status,
        ratio=row["ratio"],
        evidence=number(row["statistic"]),
        threshold=number(row["threshold"]),
        effect=number(row["effect"]),
        effect_sort=row["effect"],
        rows=row["rows"],
        explanation=row["explanation"],
        id=row["id"],
    )
