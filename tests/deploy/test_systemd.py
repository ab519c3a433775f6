from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.deployed import DEPLOY

FOLDER = DEPLOY / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "CapabilityBoundingSet": "",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "SystemCallArchitectures": "native",
    "User": "tidegauge",
    "StateDirectory": "tidegauge",
}


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Return the sections of a unit, with the values of each key."""
    sections: dict[str, dict[str, list[str]]] = {}
    keys: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            keys = sections.setdefault(header[1], {})
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, line
            assert re.fullmatch(r"[A-Z]\w+", key), line
            keys.setdefault(key, []).append(value)
    return sections


def test_there_is_a_unit_for_each_way_to_run() -> None:
    """Scheduled with a timer, followed, and served."""
    assert {path.name for path in FOLDER.iterdir()} == {
        "tidegauge-run@.service",
        "tidegauge-run@.timer",
        "tidegauge-follow@.service",
        "tidegauge-serve@.service",
        "tidegauge.sysusers.conf",
    }


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_service_is_hardened(path: Path) -> None:
    """A service may write to its state folder only, gains nothing, and has a limit of memory."""
    service = unit(path)["Service"]
    assert {key: service[key][-1] for key in HARDENED} == HARDENED
    assert service["SystemCallFilter"] == ["@system-service", "~@privileged"]
    assert service["MemoryMax"]
    assert "ReadWritePaths" not in service


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_service_is_of_one_stream(path: Path) -> None:
    """It starts with the stream file of its instance, without a shell."""
    sections = unit(path)
    assert sections["Unit"]["ConditionPathExists"] == ["/etc/tidegauge/%i.yaml"]
    (command,) = sections["Service"]["ExecStart"]
    assert command.startswith("/opt/tidegauge/bin/tidegauge ")
    assert "%i" in command


def test_only_the_timer_starts_a_scheduled_run() -> None:
    """The scheduled service is not enabled by itself, and a missed run is made up for."""
    service, timer = unit(FOLDER / "tidegauge-run@.service"), unit(FOLDER / "tidegauge-run@.timer")
    assert service["Service"]["Type"] == ["oneshot"]
    assert "Install" not in service
    assert timer["Timer"]["Persistent"] == ["yes"]
    assert timer["Install"]["WantedBy"] == ["timers.target"]


def test_exporter_is_on_loopback_and_reads_only() -> None:
    """The exporter listens on loopback, and may not write to the run that it reads."""
    service = unit(FOLDER / "tidegauge-serve@.service")["Service"]
    assert "--listen 127.0.0.1:${PORT}" in service["ExecStart"][0]
    assert service["ReadOnlyPaths"] == ["/var/lib/tidegauge"]


def test_a_users_mistake_is_not_tried_again() -> None:
    """A followed stream starts again after a fault, and not after exit code 2."""
    service = unit(FOLDER / "tidegauge-follow@.service")["Service"]
    assert service["Restart"] == ["on-failure"]
    assert service["RestartPreventExitStatus"] == ["2"]


def test_the_user_is_made() -> None:
    """The user of the services is one that systemd-sysusers makes."""
    text = (FOLDER / "tidegauge.sysusers.conf").read_text(encoding="utf-8")
    assert re.search(r'(?m)^u tidegauge - "tidegauge" /var/lib/tidegauge$', text)
