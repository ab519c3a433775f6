"""There is no container engine here: what can be read of the Dockerfile is read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.deployed import DEPLOY, ROOT

TEXT = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
#: Instructions of each stage, with continued lines joined: [("FROM", "python:... AS build"), ...]
STAGES = [
    [(word, rest) for word, _, rest in (line.partition(" ") for line in stage) if word]
    for stage in (
        re.sub(r"(?m)^#.*\n|\\\n\s*", "", part).strip().splitlines()
        for part in re.split(r"(?m)^(?=FROM )", TEXT)[1:]
    )
]
BUILD, FINAL, BUILD_PYFLINK, JARS, DISTRIBUTION, FLINK = STAGES


def of(stage: list[tuple[str, str]], instruction: str) -> list[str]:
    """Return what a stage says with an instruction."""
    return [rest for word, rest in stage if word == instruction]


def test_base_is_pinned_and_short() -> None:
    """Stages are of each other or of an image with a version and Docker's short name."""
    images = [of(stage, "FROM")[0].split(" ")[0] for stage in STAGES]
    assert images[0] == images[1] == "python:3.11-slim-bookworm"
    assert images[2:] == [
        "build",
        "maven:3.9-eclipse-temurin-17",
        "flink:2.2.1-java17",
        "tidegauge",
    ]
    assert not re.search(r":latest\b", TEXT)


def test_nothing_is_fetched_but_by_a_lock() -> None:
    """Packages come from a lock with their hashes; no address, no ADD, no other installation."""
    assert "://" not in re.sub(r"http://127\.0\.0\.1", "", TEXT)
    assert not [word for stage in STAGES for word, _ in stage if word == "ADD"]
    said = " && ".join(command for stage in (BUILD, BUILD_PYFLINK) for command in of(stage, "RUN"))
    commands = re.findall(r"pip (?:--python \S+ )?(?:install|wheel)[^&]*", said)
    assert len(commands) == 6
    for command in commands:
        if not re.search(r" --no-index | \. $", command):  # our own, or what was built before
            assert "--require-hashes" in command
    for stage in (FINAL, FLINK):
        assert not re.search(r"\bpip\b", " ".join(of(stage, "RUN")))


def test_final_stage_holds_no_build_tools() -> None:
    """Only the environment is copied from the first stage, and it was made without pip."""
    assert of(FINAL, "COPY") == ["--from=build /opt/tidegauge /opt/tidegauge"]
    assert "venv --without-pip /opt/tidegauge" in " ".join(of(BUILD, "RUN"))
    (installed,) = re.findall(r"apt-get install ([^&]*)", " ".join(of(FINAL, "RUN")))
    packages = [word for word in installed.split() if not word.startswith("--")]
    assert packages == ["libgomp1", "tini"]


@pytest.mark.parametrize("stage", [FINAL, FLINK], ids=["tidegauge", "flink"])
def test_user_is_a_number_other_than_root(stage: list[tuple[str, str]]) -> None:
    """The last user is a number, so that a cluster can see that it is not root."""
    assert of(stage, "USER")[-1] == "10001:10001"


def test_flink_is_of_the_versions_that_are_tested() -> None:
    """Flink, its Kafka connector and PyFlink are those of the workers' lock."""
    version = of(DISTRIBUTION, "FROM")[0].partition(":")[2].partition("-")[0]
    lock = (DEPLOY / "flink" / "requirements.txt").read_text(encoding="utf-8")
    assert f"\napache-flink=={version} " in lock
    (connector,) = re.findall(r"flink-sql-connector-kafka:([\d.-]+)", of(JARS, "RUN")[0])
    assert connector.endswith("-" + version.rpartition(".")[0])


def test_signals_and_health() -> None:
    """The entry point is in exec form under tini, and health is asked of `serve` on loopback."""
    assert json.loads(of(FINAL, "ENTRYPOINT")[0]) == ["tini", "--", "tidegauge"]
    (health,) = of(FINAL, "HEALTHCHECK")
    command = json.loads(health[health.index("[") :])
    assert command[:2] == ["python", "-c"]
    assert "http://127.0.0.1:9464/-/healthy" in command[2]
    compile(command[2], "health check", "exec")


def test_context_is_what_the_stages_copy() -> None:
    """All but what is copied is kept out of the build, and what is copied is there."""
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line[1:] for line in rules if line.startswith("!")}
    copies = [*of(BUILD, "COPY"), *of(BUILD_PYFLINK, "COPY")]
    copied = {name for line in copies for name in line.split()[:-1]}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def chosen(*options: str) -> str:
    """Return the part of the lock that the image takes."""
    command = [sys.executable, str(DEPLOY / "runtime_lock.py"), *options]
    return subprocess.check_output(command, cwd=ROOT, text=True)


def needed() -> set[str]:
    """Return what the project needs at run time, as the installed packages say themselves."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    wanted = project["dependencies"] + project["optional-dependencies"]["kafka"]
    waiting = [Requirement(text) for text in wanted]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or []:
            further = Requirement(text)
            extras = {"", *requirement.extras}
            if further.marker is None or any(
                further.marker.evaluate({"extra": extra}) for extra in extras
            ):
                waiting.append(further)
    return found


def test_image_takes_what_is_needed_and_no_more() -> None:
    """The chosen pins are the dependencies' closure; those beside it are for other systems only."""
    pins = dict(re.findall(r"^([a-z0-9][\w.-]*)==[^;\s]+(?: ; (.*?))? \\$", chosen(), re.MULTILINE))
    assert needed() <= set(pins)
    assert all("win32" in pins[name] for name in set(pins) - needed())


@pytest.mark.parametrize("options", [(), ("--tools",)], ids=["runtime", "tools"])
def test_chosen_lines_are_the_locks(options: tuple[str, ...]) -> None:
    """Every pin is taken with its hashes, as it is in the lock."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    text = chosen(*options)
    blocks = re.split(r"(?m)^(?=[a-z0-9])", text)[1:]
    assert blocks
    assert all("--hash=sha256:" in block and block in lock for block in blocks)
