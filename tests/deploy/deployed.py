"""What the tests of deploy/ read: dashboards, panels, rules, and every query in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RUNBOOKS = ROOT / "docs" / "runbooks"

BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
}
#: Every panel that draws something, as "uid: title".
PANELS: dict[str, dict[str, Any]] = {
    f"{uid}: {panel['title']}": panel
    for uid, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
}
GROUPS: list[dict[str, Any]] = YAML(typ="safe").load(DEPLOY / "prometheus" / "rules.yml")["groups"]
RECORDS: dict[str, str] = {
    rule["record"]: rule["expr"] for g in GROUPS for rule in g["rules"] if "record" in rule
}
ALERTS: list[dict[str, Any]] = [r for group in GROUPS for r in group["rules"] if "alert" in r]


def documents(path: Path) -> list[Any]:
    """Return the documents of a YAML file."""
    return list(YAML(typ="safe").load_all(path))


def panel_queries() -> Iterator[tuple[str, str]]:
    """Yield every query of the dashboards, with a name."""
    for name, panel in PANELS.items():
        for target in panel["targets"]:
            yield f"{name} {target['refId']}", target["expr"]


def rule_queries() -> Iterator[tuple[str, str]]:
    """Yield every query of the rules and of their annotations, with a name."""
    yield from RECORDS.items()
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]
        for text in alert["annotations"].values():
            for number, query in enumerate(re.findall(r'printf "([^"]*)"[^|}]*\| query', text)):
                yield f"{alert['alert']} annotation {number}", query
