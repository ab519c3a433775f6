from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pipelines.serve import open_server
from tests.run_folders import write_run_folder
from tests.servers import read, running

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[2] / "deploy"
BOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "tidegauge.json").read_text())
TARGETS = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in BOARD["panels"]
    for target in panel.get("targets", [])
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


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run Prometheus with our rules on what `serve` says of a run; give its address."""
    folder = tmp_path_factory.mktemp("prometheus")
    run = write_run_folder(folder / "run", weeks=12, shifted_week=-1)
    shutil.copy(DEPLOY / "prometheus" / "rules.yml", folder)
    with open_server(run, "127.0.0.1:0") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / "rules.yml")],
            "scrape_configs": [
                {
                    "job_name": "tidegauge",
                    "sample_limit": 2000,
                    "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}],
                }
            ],
        }
        text = (folder / "rules.yml").read_text().replace("interval: 1m", "interval: 1s")
        (folder / "rules.yml").write_text(text)
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        options = [
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
        ]
        try:
            with running("prometheus", *options, ready="/-/ready") as url:
                give_up = time.monotonic() + 20
                while not ask(url, "query", query="ALERTS{alertname='TidegaugeDriftEvidence'}")[
                    "result"
                ]:
                    assert time.monotonic() < give_up, read(f"{url}/api/v1/targets")
                    time.sleep(0.2)
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


def test_stream_variable_lists_the_stream(prometheus: str) -> None:
    """The metric behind the dashboard's stream variable has the stream."""
    (variable,) = (v for v in BOARD["templating"]["list"] if v["name"] == "stream")
    metric = variable["query"].removeprefix("label_values(").removesuffix(", stream)")
    assert ask(prometheus, "label/stream/values", **{"match[]": metric}) == ["nyc-weather"]


@pytest.mark.parametrize("query", TARGETS)
def test_panel_has_data(prometheus: str, query: str) -> None:
    """Every query of the dashboard answers with numbers on a real scrape of a real exporter."""
    query = query.replace("$stream", "nyc-weather")
    assert "$" not in query
    result = ask(prometheus, "query", query=query)["result"]
    assert result
    assert all(sample["value"][1] != "NaN" for sample in result)
    now = time.time()
    window = {"start": str(now - 60), "end": str(now), "step": "5"}
    assert ask(prometheus, "query_range", query=query, **window)["result"]


def test_alarm_of_the_run_reaches_prometheus_with_its_feature(prometheus: str) -> None:
    """The alert that fires names the stream, the monitor and the shifted feature first."""
    alerts = ask(prometheus, "alerts")["alerts"]
    (drift,) = (a for a in alerts if a["labels"]["alertname"] == "TidegaugeDriftEvidence")
    assert drift["state"] == "firing"
    assert drift["labels"]["stream"] == "nyc-weather"
    assert drift["labels"]["monitor"] == "feature_shift"
    assert "Evidence 41.7, threshold 2.6" in drift["annotations"]["description"]
    assert "drift: LGA.temp 41.7; " in drift["annotations"]["description"]


def test_rules_evaluate_without_error(prometheus: str) -> None:
    """Every rule has been evaluated and none has failed."""
    rules = [rule for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]]
    assert len(rules) == 14
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
