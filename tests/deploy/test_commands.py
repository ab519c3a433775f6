from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
import typer

from pipelines.cli import app
from pipelines.flink.submit import command as submission
from tests.deploy.deployed import DEPLOY, documents
from tests.deploy.test_compose import SERVICES
from tests.deploy.test_kubernetes import PATCH, RESOURCES, pod_specs


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield every command line of tidegauge that a container or a unit runs, with a name."""
    for name, service in SERVICES.items():
        if service["image"].startswith("tidegauge") and not name.endswith("manager"):
            words = [str(word) for word in service["command"]]
            if "sh" in service.get("entrypoint", []):
                words = shlex.split(words[0].partition("exec tidegauge ")[2])
            yield f"compose {name}", words
    for path, resource in (*RESOURCES, (PATCH, *documents(PATCH))):
        for spec in pod_specs(resource):
            for container in spec["containers"]:
                if "args" in container:
                    yield f"{path.parent.name} {container['name']}", container["args"]
    for path in sorted((DEPLOY / "systemd").glob("*.service")):
        for line in re.findall(r"(?m)^ExecStart=\S+/tidegauge (.*)$", path.read_text()):
            yield path.stem, shlex.split(line)


COMMANDS = dict(commands())


def test_commands_are_found() -> None:
    """All ways to start tidegauge are looked at: fit, run, follow and serve, wherever it runs."""
    assert set(COMMANDS) == {
        *("compose fit", "compose follow", "compose exporter", "compose submit"),
        "compose topic-exporter",
        *("base exporter", "batch fit", "batch run", "stream fit", "stream submit"),
        "stream exporter",
        *("tidegauge-run@", "tidegauge-follow@", "tidegauge-serve@"),
    }


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.endswith("submit")])
def test_job_is_submitted_with_options_that_exist(name: str) -> None:
    """By the Flink environment's Python, not by the command of ours."""
    given = submission().parse_args(COMMANDS[name])
    assert given.stream_file.suffix == ".yaml"
    assert given.parallelism > 1


@pytest.mark.parametrize("name", [name for name in COMMANDS if not name.endswith("submit")])
def test_command_exists(name: str) -> None:
    """Each verb and option that is deployed is there, and takes what it is given."""
    verb, *rest = COMMANDS[name]
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    command.make_context(verb, rest)  # reads the arguments, runs nothing
