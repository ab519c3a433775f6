from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from monitors.catalogue import CATALOGUE
from tests.deploy.deployed import (
    ALERTS,
    BOARDS,
    DEPLOY,
    RECORDS,
    ROOT,
    RUNBOOKS,
    panel_queries,
    rule_queries,
)

#: Labels of each series that a query may name: the catalogue's, a recording's (its level), and
#: those that Prometheus makes or adds.
LABELS = (
    {
        series: {*metric.labels, *(["le"] if series.endswith("_bucket") else []), "job", "instance"}
        for metric in CATALOGUE
        for series in metric.series
    }
    | {record: set(record.partition(":")[0].split("_")) for record in RECORDS}
    | {
        "up": {"job", "instance"},
        "ALERTS": {"alertname", "alertstate", "severity", "stream"},
    }
)
SERIES = {name for metric in CATALOGUE for name in (metric.name, *metric.series)}
VARIABLES = {"$__rate_interval": "5m", "$__range": "1d"}  # Grafana's own, where PromQL has a time

QUERIES = {
    name: re.sub(r"\$__\w+", lambda match: VARIABLES[match[0]], query)
    for name, query in (*panel_queries(), *rule_queries())
}
TEXTS = sorted(
    path
    for folder in (DEPLOY, ROOT / "docs")
    for path in folder.rglob("*")
    if path.suffix in {".md", ".yml", ".yaml", ".json", ".py"}
)


def faults(query: str) -> list[str]:
    """Return what a query names that nothing exports: metrics, and labels of theirs."""
    found: list[str] = []
    known: set[str] = set()
    used: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            labels = LABELS.get(node.name or "")
            if labels is None:
                found.append(f"no metric {node.name}")
            else:
                known.update(labels)
                found.extend(
                    f"{node.name} has no label {matcher.name}"
                    for matcher in node.matchers.matchers
                    if matcher.name not in labels
                )
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            used.update(node.modifier.labels)
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return found + [f"no label {label}" for label in sorted(used - known)]


@pytest.mark.parametrize("name", list(QUERIES))
def test_query_names_only_what_is_exported(name: str) -> None:
    """Every query parses, and its metrics and labels are those of the catalogue."""
    assert faults(QUERIES[name]) == []


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("tidegauge_no_such_metric", "no metric tidegauge_no_such_metric"),
        ("tidegauge_alarm_active{target='x'}", "tidegauge_alarm_active has no label target"),
        ("sum by (feature) (tidegauge_alarm_active)", "no label feature"),
        ("max(tidegauge_feature_drift_score)", "no metric tidegauge_feature_drift_score"),
    ],
)
def test_wrong_query_is_found(query: str, fault: str) -> None:
    """What is tested for is found when it is there."""
    assert fault in faults(query)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_text_names_only_metrics_that_exist(path: Path) -> None:
    """A metric that a rule, dashboard, page or manifest names is in the catalogue."""
    named = set(re.findall(r"\btidegauge_[a-z0-9_]+\b", path.read_text(encoding="utf-8")))
    parts = {part for record in RECORDS for part in record.split(":")}
    assert named - SERIES - parts == set()


def test_every_metric_is_shown_or_alerted_on() -> None:
    """No metric of the catalogue is exported for nobody."""
    text = " ".join(QUERIES.values())
    unused = [m.name for m in CATALOGUE if not any(series in text for series in m.series)]
    assert unused == []


@pytest.mark.parametrize("name", list(QUERIES))
def test_rates_are_taken_of_followed_streams_only(name: str) -> None:
    """Counters of a scheduled run begin again: a rate is taken of the job of followed streams."""
    for argument in re.findall(r"\b(?:i?rate|increase|i?delta)\((.*?\])\)", QUERIES[name]):
        assert 'job="tidegauge-stream"' in argument
    assert len(re.findall(r"\b(?:i?rate|increase|i?delta)\(", QUERIES[name])) == len(
        re.findall(r"\b(?:i?rate|increase|i?delta)\((.*?\])\)", QUERIES[name])
    )


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_alert_says_how_urgent_what_and_where_to_read_on(alert: dict[str, Any]) -> None:
    """An alert has a severity, a summary that names the stream, and a runbook page of its name."""
    assert re.fullmatch(r"Tidegauge([A-Z][a-z]+)+", alert["alert"])
    assert alert["labels"]["severity"] in {"page", "ticket", "info", "none"}
    if re.search(r"by \([^)]*stream|^stream:", alert["expr"]):
        assert alert["annotations"]["summary"].startswith("{{ $labels.stream }}: ")
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
    page = RUNBOOKS / f"{alert['alert']}.md"
    assert page.read_text(encoding="utf-8").startswith(f"# {alert['alert']}\n")


def test_every_runbook_page_has_its_alert() -> None:
    """No page is left of an alert that is gone."""
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_runbook_names_panels_that_exist(page: Path) -> None:
    """What a page has in italics is the title of a panel."""
    titles = {panel["title"] for board in BOARDS.values() for panel in board["panels"]}
    text = page.read_text(encoding="utf-8").replace("**", "")
    assert set(re.findall(r"(?<!\w)\*([^*\n]+)\*", text)) <= titles
