from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy.deployed import BOARDS, DEPLOY, PANELS, documents

GRAFANA = DEPLOY / "grafana"
#: The way an operator goes: uid, and what is chosen above each beside the data source.
WAY = {
    "tidegauge-fleet": [],
    "tidegauge-stream": ["stream"],
    "tidegauge-features": ["stream", "feature"],
    "tidegauge-forecasts": ["stream", "target"],
    "tidegauge-pipeline": ["stream"],
}


def variables(board: dict[str, Any]) -> list[str]:
    """Return the names of a dashboard's variables, without the data source's."""
    return [v["name"] for v in board["templating"]["list"] if v["name"] != "datasource"]


def data_links(uid: str) -> list[tuple[dict[str, Any], str]]:
    """Return the dashboards that a dashboard's panels lead to, with the panel."""
    return [
        (panel, link["url"])
        for name, panel in PANELS.items()
        if name.startswith(f"{uid}:")
        for link in panel["fieldConfig"]["defaults"].get("links", [])
        if link["url"].startswith("/d/")
    ]


def test_dashboards_are_what_their_script_writes(tmp_path: Path) -> None:
    """The committed JSON is the generated one, file by file."""
    copy = tmp_path / "grafana"
    shutil.copytree(GRAFANA, copy, ignore=shutil.ignore_patterns("dashboards", "__pycache__"))
    subprocess.run([sys.executable, copy / "build.py"], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in (copy / "dashboards").iterdir()} == {
        path.name: path.read_text() for path in (GRAFANA / "dashboards").iterdir()
    }


@pytest.mark.parametrize("uid", list(WAY))
def test_dashboard_is_one_to_grafana(uid: str) -> None:
    """The JSON holds no key that Grafana's model of a dashboard lacks."""
    board = BOARDS[uid]
    assert json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder)) == board


@pytest.mark.parametrize("uid", list(WAY))
def test_dashboard_has_its_variables(uid: str) -> None:
    """The data source and what narrows the panels are chosen above; each is used."""
    assert set(BOARDS) == set(WAY)
    board = BOARDS[uid]
    assert board["uid"] == uid
    assert [v["name"] for v in board["templating"]["list"]] == ["datasource", *WAY[uid]]
    queries = [
        target["expr"]
        for name, panel in PANELS.items()
        if name.startswith(f"{uid}:")
        for target in panel["targets"]
    ]
    for name in WAY[uid]:
        assert any(f"${name}" in query for query in queries)
    for query in queries:
        assert set(re.findall(r"\$([a-z]\w*)", query)) <= set(WAY[uid])
        assert uid == "tidegauge-fleet" or 'stream="$stream"' in query
    for variable in board["templating"]["list"]:
        if variable.get("multi"):  # several values: matched as a pattern
            assert not any(f'="${variable["name"]}"' in query for query in queries)


@pytest.mark.parametrize("uid", list(WAY))
def test_dashboard_leads_to_all_others(uid: str) -> None:
    """The links above lead to every dashboard of the tag, with variables and time."""
    (link,) = BOARDS[uid]["links"]
    assert link["type"] == "dashboards"
    assert link["tags"] == BOARDS[uid]["tags"] == ["tidegauge"]
    assert link["includeVars"]
    assert link["keepTime"]


@pytest.mark.parametrize(
    ("uid", "to"),
    [
        ("tidegauge-fleet", {"tidegauge-stream"}),
        ("tidegauge-stream", {"tidegauge-features", "tidegauge-forecasts", "tidegauge-pipeline"}),
    ],
)
def test_a_click_leads_on(uid: str, to: set[str]) -> None:
    """From all streams a value leads to its stream, and from there to what is behind it."""
    assert {urlsplit(url).path.removeprefix("/d/") for _, url in data_links(uid)} == to


@pytest.mark.parametrize("uid", list(WAY))
def test_links_carry_what_the_next_dashboard_asks_for(uid: str) -> None:
    """A link names a dashboard, keeps time and data source, and sets or carries its variables."""
    for panel, url in data_links(uid):
        path, query = urlsplit(url).path, urlsplit(url).query
        to = path.removeprefix("/d/")
        assert to in BOARDS
        carried = set(re.findall(r"\$\{(\w+):queryparam\}", query))
        picked = {name.removeprefix("var-") for name, _ in parse_qsl(query)}
        assert "${__url_time_range}" in query
        assert carried <= {"datasource", *variables(BOARDS[uid])}
        assert "stream" in carried | picked
        assert carried | picked <= {"datasource", *variables(BOARDS[to])}
        for name in picked:  # the clicked series has the label
            assert all(
                re.search(rf"by \([^)]*\b{name}\b|\b{name}:", target["expr"])
                or "stream:" in target["expr"]
                for target in panel["targets"]
            )


def test_alarm_in_words_leads_to_the_page_of_its_finding() -> None:
    """The address is the one that the exporter gives, and the query keeps it."""
    panel = PANELS["tidegauge-stream: Alarms in words"]
    (link,) = panel["fieldConfig"]["defaults"]["links"]
    assert link["url"] == "${__data.fields.page}"
    (target,) = panel["targets"]
    assert re.search(r"by \([^)]*\bpage\b", target["expr"])


@pytest.mark.parametrize("name", list(PANELS))
def test_panel_says_what_it_shows(name: str) -> None:
    """A panel has a title, a description, a unit, the data source, and a legend per query."""
    panel = PANELS[name]
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert target["legendFormat"]
        assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("uid", list(WAY))
def test_rows_fill_the_width(uid: str) -> None:
    """Panels stand in titled rows that fill the 24 columns of the grid; ids are unique."""
    panels = BOARDS[uid]["panels"]
    assert panels[0]["type"] == "row"
    widths: dict[int, int] = {}
    for panel in panels:
        place = panel["gridPos"]
        widths[place["y"]] = widths.get(place["y"], 0) + place["w"]
    assert set(widths.values()) == {24}
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_provisioning_finds_source_and_dashboards() -> None:
    """Grafana is given one Prometheus as the default source, and the folder of the dashboards."""
    (sources,) = documents(GRAFANA / "provisioning" / "datasources" / "prometheus.yaml")
    (source,) = sources["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (providers,) = documents(GRAFANA / "provisioning" / "dashboards" / "tidegauge.yaml")
    (provider,) = providers["providers"]
    assert provider["type"] == "file"
    assert not provider["allowUiUpdates"]
