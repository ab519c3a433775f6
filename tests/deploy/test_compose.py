"""There is no container engine here: what can be read of the compose file is read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from schemas.kafka import Topic
from schemas.stream_file import parse_stream
from tests.deploy.deployed import DEPLOY, ROOT, documents

FOLDER = DEPLOY / "compose"
(STACK,) = documents(FOLDER / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
ONCE = {"topics", "fit", "submit"}  # they end


def test_stack_is_whole() -> None:
    """Kafka, tidegauge in both ways, Flink with its workers, and all of alerting are there."""
    assert set(SERVICES) == {
        *("kafka", "topics", "fit", "follow", "exporter"),
        *("jobmanager", "taskmanager", "submit", "topic-exporter"),
        *("prometheus", "alertmanager", "grafana"),
    }
    assert {name for name, s in SERVICES.items() if s.get("profiles") == ["embedded"]} == {
        "follow",
        "exporter",
    }


@pytest.mark.parametrize("name", list(SERVICES))
def test_image_is_pinned_and_short(name: str) -> None:
    """An image has a version, and no registry but Docker's own."""
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"([\w-]+/)?[\w-]+:v?\d[\w.-]*", image)
    if image.startswith("tidegauge"):
        assert image.endswith(f":{VERSION}")
        assert SERVICES[name]["build"]["target"] in image


@pytest.mark.parametrize("name", list(SERVICES))
def test_ports_are_on_loopback(name: str) -> None:
    """What is published is published to this machine only."""
    assert all(
        re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in SERVICES[name].get("ports", [])
    )


@pytest.mark.parametrize("name", list(SERVICES))
def test_service_has_limits_and_no_privileges(name: str) -> None:
    """A service drops all capabilities, and has a limit of memory, unless it ends at once."""
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert name == "topics" or service["mem_limit"]
    assert "user" not in service
    if service["image"].startswith("tidegauge:"):
        assert service["read_only"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONCE - {"follow"}))
def test_server_has_a_health_check(name: str) -> None:
    """A server that others wait for, or that an operator looks at, says whether it is well."""
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", list(SERVICES))
def test_what_a_service_waits_for_can_come(name: str) -> None:
    """It waits for services of its own profile, by a condition that they can meet."""
    service = SERVICES[name]
    for other, how in service.get("depends_on", {}).items():
        awaited = SERVICES[other]
        assert not awaited.get("profiles") or awaited["profiles"] == service.get("profiles")
        if how["condition"] == "service_healthy":
            assert "test" in awaited["healthcheck"]
        assert (how["condition"] == "service_completed_successfully") == (other in ONCE)


@pytest.mark.parametrize("name", list(SERVICES))
def test_mounts_are_there(name: str) -> None:
    """A mounted file is in the checkout, but for the user's data; a volume is declared."""
    for mount in SERVICES[name].get("volumes", []):
        source = mount.split(":")[0]
        if source.startswith("."):
            assert source == "./data" or (FOLDER / source).exists()
            assert mount.endswith(":ro")
        else:
            assert source in STACK["volumes"]


def test_no_password_is_in_the_file() -> None:
    """Grafana's password is a file of the user's, which is not in the checkout."""
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    assert not re.search(r"(?i)password(?!__FILE|\b|$)[^\n]*[:=] *\S", text)
    assert SERVICES["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert not (FOLDER / "grafana-admin-password").exists()


@pytest.mark.parametrize(
    "path",
    [FOLDER / "stream.yaml", *sorted((DEPLOY / "kubernetes").rglob("stream.yaml"))],
    ids=lambda path: path.parent.name,
)
def test_stream_file_is_valid(path: Path) -> None:
    """The example stream file is one."""
    parse_stream(path.read_text(encoding="utf-8"), str(path))


def test_topics_are_made_and_scrapes_have_targets() -> None:
    """The topics of the stream file are those that are made; what is scraped are services."""
    stream = parse_stream((FOLDER / "stream.yaml").read_text(encoding="utf-8"), "stream.yaml")
    assert isinstance(stream.source, Topic)
    assert stream.sinks.kafka
    made = re.findall(r"for topic in ([\w ]+);", SERVICES["topics"]["command"][0])[0].split()
    told = stream.sinks.kafka
    assert set(made) == {stream.source.topic, told.findings, told.forecasts, told.rejects}
    scrapes = YAML(typ="safe").load(FOLDER / "prometheus.yml")["scrape_configs"]
    targets = [t for job in scrapes for config in job["static_configs"] for t in config["targets"]]
    assert {target.partition(":")[0] for target in targets} <= set(SERVICES)
    (followed,) = (job for job in scrapes if job["job_name"] == "tidegauge-stream")
    assert followed["static_configs"][0]["labels"] == {"stream": stream.name}
