from __future__ import annotations

import json
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.deploy.deployed import ALERTS, DEPLOY, documents
from tests.servers import read, running, wait_until

pytestmark = pytest.mark.integration

CONFIG = DEPLOY / "alertmanager" / "alertmanager.yml"
BY_SEVERITY = {"page": "pages", "ticket": "tickets", "info": "nobody", "none": "watchdog"}


def amtool(*arguments: str) -> str:
    """Run amtool on the configuration; it must find nothing wrong."""
    done = subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_configuration_is_valid() -> None:
    """Amtool accepts the configuration, and finds its inhibitions and receivers."""
    said = amtool("check-config", str(CONFIG))
    assert "2 inhibit rules" in said
    assert "4 receivers" in said
    assert "1 templates" in said


def test_text_for_people_has_the_sentence_and_the_links(tmp_path: Path) -> None:
    """Chat and mail get the summary, the finding's page where there is one, and the runbook."""
    annotations = {"summary": "s: x is stuck", "description": "Evidence", "runbook_url": "R"}
    alerts = [
        {"status": "firing", "labels": {}, "annotations": annotations | more}
        for more in ({"finding_url": "https://e/findings/1"}, {"finding_url": ""})
    ]
    data = {"status": "firing", "alerts": alerts, "groupLabels": {"stream": "s"}}
    (tmp_path / "data.json").write_text(json.dumps(data))
    text, title = (
        amtool(
            *("template", "render", f"--template.glob={CONFIG.parent / 'tidegauge.tmpl'}"),
            f'--template.text={{{{ template "tidegauge.{name}" . }}}}',
            f"--template.data={tmp_path / 'data.json'}",
        )
        for name in ("text", "title")
    )
    assert title.startswith("2 firing: ")
    assert text.count("s: x is stuck") == text.count("Runbook: R") == 2
    assert text.count("what to check: https://e/findings/1") == text.count("what to check") == 1


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_alert_goes_to_the_receiver_of_its_severity(alert: dict[str, Any]) -> None:
    """Pages, tickets and what nobody has to hear go their own ways."""
    severity = alert["labels"]["severity"]
    labels = f"alertname={alert['alert']}", f"severity={severity}", "stream=s"
    said = amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels)
    assert said == BY_SEVERITY[severity]


def test_inhibition_names_alerts_that_exist() -> None:
    """Every alert that an inhibition or a route names is one of the rules."""
    (config,) = documents(CONFIG)
    matchers = [
        matcher
        for rule in config["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
    ] + [matcher for route in config["route"]["routes"] for matcher in route["matchers"]]
    named = {
        name
        for matcher in matchers
        if matcher.startswith("alertname")
        for name in matcher.split('"')[1].split("|")
    }
    assert named
    assert named <= {alert["alert"] for alert in ALERTS}


def test_receivers_are_on_this_machine() -> None:
    """The placeholders send nothing away, and nothing in the file is a secret."""
    (config,) = documents(CONFIG)
    urls = [hook["url"] for who in config["receivers"] for hook in who.get("webhook_configs", [])]
    assert len(urls) == 3
    assert all(url.startswith("http://127.0.0.1:9095/") for url in urls)


class Told(BaseHTTPRequestHandler):
    """A webhook that keeps what it is sent."""

    heard: list[tuple[str, dict[str, Any]]]

    def do_POST(self) -> None:
        """Keep the message."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """Run Alertmanager with our routes, in seconds and to a webhook; give its address and mail."""
    heard: list[tuple[str, dict[str, Any]]] = []
    handler = type("Hook", (Told,), {"heard": heard})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as hook:
        thread = threading.Thread(target=hook.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        (config,) = documents(CONFIG)
        for route in (config["route"], *config["route"]["routes"]):
            route |= {"group_wait": "1s", "group_interval": "1s"}
        for who in config["receivers"]:
            for target in who.get("webhook_configs", []):
                target["url"] = target["url"].replace(":9095", f":{hook.server_port}")
        YAML(typ="safe").dump(config, tmp_path / "alertmanager.yml")
        options = [
            f"--config.file={tmp_path / 'alertmanager.yml'}",
            f"--storage.path={tmp_path / 'data'}",
            "--cluster.listen-address=",
        ]
        try:
            with running("prometheus-alertmanager", *options, ready="/-/ready") as url:
                yield url, heard
        finally:
            hook.shutdown()
            thread.join()


def post(url: str, *alerts: dict[str, str], lasts: timedelta = timedelta(hours=1)) -> None:
    """Send alerts to Alertmanager, as Prometheus does."""
    now = datetime.now(UTC)
    body = [{"labels": labels, "endsAt": (now + lasts).isoformat()} for labels in alerts]
    request = urllib.request.Request(  # noqa: S310 (loopback)
        f"{url}/api/v2/alerts",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 (loopback)
        assert answer.status == 200


def suppressed(url: str) -> set[tuple[str, str]]:
    """Return the alerts that Alertmanager keeps to itself: name and stream."""
    alerts = json.loads(read(f"{url}/api/v2/alerts?active=false"))
    return {(a["labels"]["alertname"], a["labels"].get("stream", "")) for a in alerts}


def test_a_stalled_stream_mutes_its_own_drift_only(
    alertmanager: tuple[str, list[tuple[str, dict[str, Any]]]],
) -> None:
    """A stall is told and drift of its stream is not; that of another stream is, in one message."""
    url, heard = alertmanager
    post(
        url,
        {"alertname": "TidegaugeWatermarkStalled", "stream": "a", "severity": "page"},
        {"alertname": "TidegaugeTargetDown", "instance": "x", "severity": "page"},  # of no stream
    )
    wait_until(lambda: len(heard) >= 2, what="the pages")
    drift = {"alertname": "TidegaugeDriftEvidence", "severity": "ticket", "monitor": "coverage"}
    under = {"alertname": "TidegaugeUndercoverage", "severity": "ticket", "target": "t"}
    post(url, *({**alert, "stream": name} for alert in (drift, under) for name in ("a", "b")))
    wait_until(lambda: any(path == "/tickets" for path, _ in heard), what="the ticket")
    assert suppressed(url) == {("TidegaugeDriftEvidence", "a"), ("TidegaugeUndercoverage", "a")}
    (ticket,) = (message for path, message in heard if path == "/tickets")
    assert ticket["groupLabels"] == {"stream": "b"}
    assert len(ticket["alerts"]) == 2
    pages = [message["groupLabels"] for path, message in heard if path == "/pages"]
    assert {"stream": "a"} in pages


def test_a_target_that_is_down_mutes_what_it_would_say(
    alertmanager: tuple[str, list[tuple[str, dict[str, Any]]]],
) -> None:
    """With a stream on the target, only that the target is down is told; and its end, too."""
    url, heard = alertmanager
    down = {"alertname": "TidegaugeTargetDown", "stream": "a", "severity": "page"}
    late = {"alertname": "TidegaugeBatchLate", "stream": "a", "severity": "page"}
    info = {"alertname": "TidegaugeEarlierAlarm", "stream": "a", "severity": "info"}
    post(url, down)
    post(url, late, info)
    wait_until(lambda: bool(heard), what="the page")
    assert suppressed(url) == {("TidegaugeBatchLate", "a"), ("TidegaugeEarlierAlarm", "a")}
    post(url, down, lasts=timedelta(seconds=-1))

    def ended() -> set[str]:
        told = [alert for _, message in heard for alert in message["alerts"]]
        return {a["labels"]["alertname"] for a in told if a["status"] == "resolved"}

    wait_until(lambda: ended() == {"TidegaugeTargetDown"}, what="the end")
    assert {path for path, _ in heard} == {"/pages"}
