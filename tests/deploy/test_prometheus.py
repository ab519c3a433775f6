from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pipelines.serve import open_server
from tests.deploy.deployed import BOARDS, DEPLOY, panel_queries
from tests.run_folders import write_run_folder
from tests.servers import read, running, wait_until

pytestmark = pytest.mark.integration

#: What Grafana would put in the place of its variables.
CHOSEN = {
    "$__rate_interval": "1m",
    "$__range": "1h",
    "$stream": "nyc-weather",
    "$feature": ".*",
    "$target": ".*",
}
PANEL_QUERIES = [pytest.param(query, id=name) for name, query in panel_queries()]
LABELS = [
    pytest.param(variable["query"], id=f"{uid} {variable['name']}")
    for uid, board in BOARDS.items()
    for variable in board["templating"]["list"]
    if variable["type"] == "query"
]


def promtool(*arguments: str) -> None:
    """Run promtool where the rules are; it must find nothing wrong."""
    done = subprocess.run(
        ["promtool", *arguments],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def ask(url: str, path: str, **query: str) -> Any:
    """Return the data of an answer of Prometheus's API."""
    answer = json.loads(read(f"{url}/api/v1/{path}?{urlencode(query)}"))
    assert answer["status"] == "success"
    return answer["data"]


def rename_parts(run: Path, to: str) -> None:
    """Give the parts of a run other names: a part that an exporter has read is not read again."""
    manifest = json.loads((run / "run.json").read_text())
    for name, paths in manifest["files"].items():
        manifest["files"][name] = [path.replace("part", to) for path in paths]
        for path in paths:
            (run / path).rename(run / path.replace("part", to))
    (run / "run.json").write_text(json.dumps(manifest))


def filled(query: str) -> str:
    """Return a query of a dashboard with its variables filled in."""
    for name, value in CHOSEN.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run Prometheus with our rules on what `serve` says of a run; give its address.

    Half the run is there at first and the rest comes while Prometheus looks on, as when a stream
    is followed; so the exporter is scraped as a scheduled and as a followed stream.
    """
    folder = tmp_path_factory.mktemp("prometheus")
    run = write_run_folder(folder / "run", weeks=6, shifted_week=None)
    whole = write_run_folder(folder / "whole", weeks=12, shifted_week=-1)
    rename_parts(whole, "later")
    with open_server(run, "127.0.0.1:0") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / "rules.yml")],
            "scrape_configs": [
                {
                    "job_name": job,
                    "honor_labels": True,
                    "sample_limit": 2000,
                    "static_configs": [
                        {
                            "targets": [f"127.0.0.1:{server.server_port}"],
                            "labels": {"stream": "nyc-weather"},
                        }
                    ],
                }
                for job in ("tidegauge", "tidegauge-stream")
            ],
        }
        text = (DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8")
        (folder / "rules.yml").write_text(text.replace("interval: 1m", "interval: 1s"))
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        options = [
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
        ]
        try:
            with running("prometheus", *options, ready="/-/ready") as url:

                def has(query: str) -> bool:
                    return bool(ask(url, "query", query=query)["result"])

                both = "count(tidegauge_windows_closed_total == 6) == 2"
                wait_until(lambda: has(both), what="a scrape of both jobs")
                run.rename(folder / "first")
                whole.rename(run)
                wait_until(
                    lambda: has("ALERTS{alertname='TidegaugeDriftEvidence'}"), what="the alert"
                )
                late = "stream:tidegauge_records_late_per_read:ratio_increase1h"
                wait_until(lambda: has(late), what="the recording of an increase")
                yield url
        finally:
            server.shutdown()
            thread.join()


def test_rules_pass_promtool() -> None:
    """The rules and the example configuration are valid, with all lints on."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yml")
    promtool("check", "config", "prometheus.yml")


def test_alerts_fire_when_they_should_and_not_before() -> None:
    """The unit tests of the rules pass."""
    promtool("test", "rules", "rules_test.yml")


@pytest.mark.parametrize("query", LABELS)
def test_variable_lists_its_values(prometheus: str, query: str) -> None:
    """What is chosen above a dashboard has values to choose from."""
    metric, _, label = filled(query).removeprefix("label_values(").removesuffix(")").partition(", ")
    values = ask(prometheus, f"label/{label}/values", **{"match[]": metric})
    assert values
    assert {"stream": "nyc-weather", "feature": "LGA.temp", "target": "delay"}[label] in values


@pytest.mark.parametrize("query", PANEL_QUERIES)
def test_panel_has_data(prometheus: str, query: str) -> None:
    """Every query of a dashboard answers with numbers on a real scrape of a real exporter."""
    query = filled(query)
    result = ask(prometheus, "query", query=query)["result"]
    assert result
    assert all(sample["value"][1] != "NaN" for sample in result)
    now = time.time()
    window = {"start": str(now - 60), "end": str(now), "step": "5"}
    assert ask(prometheus, "query_range", query=query, **window)["result"]


@pytest.mark.parametrize("title", ["Rows per second", "Windows closed per hour"])
def test_a_followed_stream_has_a_rate(prometheus: str, title: str) -> None:
    """Windows that closed while Prometheus looked on are a rate above 0."""
    (query,) = (query for name, query in panel_queries() if f" {title} " in name)
    result = ask(prometheus, "query", query=filled(query))["result"]
    assert max(float(sample["value"][1]) for sample in result) > 0


def test_alarm_of_the_run_reaches_prometheus_with_its_feature(prometheus: str) -> None:
    """The alert names stream, monitor and shifted feature, says how, and links to its page."""
    alerts = ask(prometheus, "alerts")["alerts"]
    (drift,) = (a for a in alerts if a["labels"]["alertname"] == "TidegaugeDriftEvidence")
    assert drift["state"] == "firing"
    assert drift["labels"]["stream"] == "nyc-weather"
    assert drift["labels"]["monitor"] == "feature_shift"
    assert "Evidence 41.7, threshold 2.6" in drift["annotations"]["description"]
    assert "drift: LGA.temp 41.7; " in drift["annotations"]["description"]
    summary = drift["annotations"]["summary"]
    assert summary.startswith("nyc-weather: LGA.temp reads 3.1 °F high given the other columns")
    finding = re.fullmatch(r".*/findings/([0-9a-f]{20})", drift["annotations"]["finding_url"])
    assert finding is not None
    assert f"tidegauge explain {finding[1]} --run" in drift["annotations"]["description"]


def test_rules_evaluate_without_error(prometheus: str) -> None:
    """Every rule has been evaluated and none has failed."""
    rules = [rule for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]]
    assert len(rules) == 19
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
