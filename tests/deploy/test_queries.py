from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from ruamel.yaml import YAML

from monitors.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "tidegauge.json"
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
RUNBOOKS = ROOT / "docs" / "runbooks"

#: Labels of each series that a query may name: the catalogue's, and those that Prometheus adds.
LABELS = {
    series: {*metric.labels, *(["le"] if series.endswith("_bucket") else []), "job", "instance"}
    for metric in CATALOGUE
    for series in metric.series
} | {"up": {"job", "instance"}}

BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
GROUPS: list[dict[str, Any]] = YAML(typ="safe").load(RULES)["groups"]
RECORDS = {rule["record"]: rule["expr"] for g in GROUPS for rule in g["rules"] if "record" in rule}
ALERTS: list[dict[str, Any]] = [r for group in GROUPS for r in group["rules"] if "alert" in r]


def queries() -> Iterator[tuple[str, str]]:
    """Yield every query of the dashboard and the rules, with a name."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    yield from RECORDS.items()
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]
        for text in alert["annotations"].values():
            for number, query in enumerate(re.findall(r'printf "([^"]*)"[^|}]*\| query', text)):
                yield f"{alert['alert']} annotation {number}", query


QUERIES = dict(queries())


def faults(query: str) -> list[str]:
    """Return what a query names that nothing exports: metrics, and labels of theirs."""
    found: list[str] = []
    known: set[str] = set()
    used: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            labels = LABELS.get(
                node.name or "", {"stream", "target"} if node.name in RECORDS else None
            )
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


def test_every_metric_is_shown_or_alerted_on() -> None:
    """No metric of the catalogue is exported for nobody."""
    text = " ".join(QUERIES.values())
    unused = [m.name for m in CATALOGUE if not any(series in text for series in m.series)]
    assert unused == []


def test_no_query_takes_a_rate() -> None:
    """The counters begin again with each run: a rate over them says nothing."""
    assert [n for n, q in QUERIES.items() if re.search(r"\b(i?rate|increase|delta)\(", q)] == []


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    """A panel has a title, a description, a unit, the data source, and a legend per query."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert target["legendFormat"]
        assert 'stream="$stream"' in target["expr"]


def test_dashboard_has_its_variables_and_rows() -> None:
    """Data source and stream are chosen above; the rows fill the width of the grid."""
    assert [v["name"] for v in BOARD["templating"]["list"]] == ["datasource", "stream"]
    assert [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"] == [
        "State of the stream",
        "Which features",
        "Forecast calibration",
        "Data quality",
        "Pipeline health",
    ]
    widths: dict[int, int] = {}
    for panel in PANELS:
        place = panel["gridPos"]
        widths[place["y"]] = widths.get(place["y"], 0) + place["w"]
    assert set(widths.values()) == {24}
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_dashboard_is_what_its_script_writes(tmp_path: Path) -> None:
    """The committed JSON is the generated one."""
    script = ROOT / "deploy" / "grafana" / "build.py"
    copy = tmp_path / "build.py"
    copy.write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run([sys.executable, copy], check=True, capture_output=True)
    written = tmp_path / "dashboards" / "tidegauge.json"
    assert written.read_text(encoding="utf-8") == DASHBOARD.read_text(encoding="utf-8")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_alert_says_how_urgent_what_and_where_to_read_on(alert: dict[str, Any]) -> None:
    """An alert has a severity, a summary that names the stream, and a runbook page of its name."""
    assert re.fullmatch(r"Tidegauge([A-Z][a-z]+)+", alert["alert"])
    assert alert["labels"]["severity"] in {"page", "ticket", "info", "none"}
    if re.search(r"by \([^)]*stream", alert["expr"]):
        assert alert["annotations"]["summary"].startswith("{{ $labels.stream }}: ")
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
    page = RUNBOOKS / f"{alert['alert']}.md"
    assert page.read_text(encoding="utf-8").startswith(f"# {alert['alert']}\n")


def test_every_runbook_page_has_its_alert() -> None:
    """No page is left of an alert that is gone."""
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {alert["alert"] for alert in ALERTS}


def test_deploy_imports_nothing_of_ours() -> None:
    """What an operator runs does not need the packages."""
    for script in (ROOT / "deploy").rglob("*.py"):
        text = script.read_text(encoding="utf-8")
        assert not re.search(
            r"^\s*(from|import) (schemas|transforms|monitors|pipelines)\b", text, re.MULTILINE
        )
