"""The page of one finding, as the exporter serves it: the same as in the report, by itself."""

from __future__ import annotations

from pathlib import Path

from monitors.cause.record import Cause
from pipelines.causes import Causes
from pipelines.report.cause_view import view
from pipelines.report.cause_words import LONGEST_NAME, MONITORS, clause, effect, subject_of
from pipelines.report.template import template
from pipelines.report.words import chance, key_label, moment, number, shorten, window_label
from pipelines.run_folder import Run
from schemas.records import Finding


def render_finding(run: Run, finding_id: str, baseline: Path | None = None) -> str:
    """Return the page of a finding as one HTML document.

    Parameters
    ----------
    finding_id : the whole of it, or a beginning that no other has.
    baseline : folder of the run's baselines; None: where it was when the run was made.

    Raises
    ------
    OutputError
        When the run has no such finding, or a part of it is damaged.
    """
    causes = Causes(run, baseline)
    finding = causes.find(finding_id)
    cause = causes.cause(finding)
    return template("finding.html.j2").render(
        stream=run.stream.name,
        headline=_headline(cause),
        of_key=key_label(finding.key),
        when=window_label(finding.window_start, finding.window_end, finding.window_index),
        alarm=finding.alarm,
        tested=finding.status == "tested",
        of=view("finding", cause, run.folder),
        facts=_facts(finding, run),
        beside=[
            (
                other.id,
                subject_of(other, cause),
                MONITORS.get(other.monitor, other.monitor),
                clause(other.subject, other.explanation),
            )
            for other in cause.beside
        ],
    )


def _headline(cause: Cause) -> str:
    finding = cause.finding
    since = "" if cause.since is None else f", since {moment(cause.since)}"
    says = clause(finding.subject, finding.explanation, finding.since)
    return f"{shorten(finding.subject, LONGEST_NAME)} {says}{since}"


def _facts(finding: Finding, run: Run) -> list[tuple[str, str]]:
    facts = [("Monitor", MONITORS.get(finding.monitor, finding.monitor))]
    if finding.statistic is not None:
        evidence = f"{number(finding.statistic)}, alarm above {number(finding.threshold)}"
        facts += [("Evidence", evidence), ("By chance", chance(finding.p_value))]
        facts += [("Effect", effect(finding))]
    return [
        *facts,
        ("Rows", f"{finding.rows:,}"),
        ("Baseline", finding.baseline_id),
        ("Run", str(run.folder)),
        ("Id", finding.id),
    ]
