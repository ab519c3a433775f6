"""The servers that the integration tests start are there."""

from __future__ import annotations

import subprocess

import pytest

SERVICES = [
    "prometheus",
    "promtool",
    "prometheus-alertmanager",
    "prometheus-pushgateway",
    "chromium",
    "java",
    "mvn",
]


@pytest.mark.integration
@pytest.mark.parametrize("service", SERVICES)
def test_service_answers(service: str) -> None:
    """The command is installed and says its version."""
    answer = subprocess.run([service, "--version"], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
