"""The house rules that no other tool holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "transforms", "monitors", "pipelines")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_LINES = 400  # a module is one idea
GENERIC_NAMES = {"util", "utils", "helper", "helpers", "misc", "common"}
HEAVY = {
    "apache_beam",
    "arch",
    "great_expectations",
    "jax",
    "lightgbm",
    "matplotlib",
    "scipy.optimize",
    "scipy.stats",
    "statsmodels",
}

# A home folder, or an address to download packages from, ties the project to one machine.
HOME_PATH = re.compile(r"(?<![\w.~-])/(?:home|Users)/\w+|(?<![\w.~-])/root/\w|\b[A-Z]:\\Users\\")
REGISTRY = re.compile(
    r"https?://\S*(?:pypi|pythonhosted|artifactory|nexus|devpi|wheelhouse|/simple\b)"
    r"|--(?:extra-)?index-url[ =]|--find-links[ =]|--trusted-host[ =]|\bindex-url\s*=\s*\S+:",
    re.IGNORECASE,
)


def name_of(path: Path) -> str:
    """Return a path as a test's id."""
    return path.relative_to(ROOT).as_posix()


def text_files() -> list[Path]:
    """Return the checkout's text files: what git tracks, or would."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.check_output(command, cwd=ROOT, text=True).split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_one_idea(path: Path) -> None:
    """A module has a docstring, a name that says something, and at most 400 lines."""
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "has no docstring"
    assert len(text.splitlines()) <= MAX_LINES
    assert path.stem not in GENERIC_NAMES


def test_text_files_name_no_machine() -> None:
    """No file names a home folder, a package index or a download address of packages."""
    found = [
        f"{name_of(path)}:{number}: {line.strip()[:100]}"
        for path in text_files()
        if path != Path(__file__)
        for number, line in enumerate(
            path.read_text(encoding="utf-8", errors="replace").splitlines(), 1
        )
        if HOME_PATH.search(line) or REGISTRY.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "cd /home/someone/tidegauge",
        "open('/root/x.csv')",
        "--index-url https://example.org/simple",
        "pip install --find-links=/wheels",
        "see https://pypi.example.org/project",
    ],
)
def test_machine_patterns_match(line: str) -> None:
    """The patterns find what they are written for."""
    assert HOME_PATH.search(line) or REGISTRY.search(line)


def test_lock_holds_hashes_and_no_address() -> None:
    """Every pin of the lock has a hash, and no line an address or an option other than a hash."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or re.match(r"\s*-(?!-hash=sha256:)", line)]
    pins = [number for number, line in enumerate(lines) if re.match(r"[a-z0-9]", line)]
    assert pins
    assert all("--hash=sha256:" in lines[number + 1] for number in pins)


def test_lock_satisfies_pyproject() -> None:
    """Each requirement of pyproject.toml is pinned by the lock, within its range."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    pins: dict[str, list[str]] = {}
    for name, version in re.findall(
        r"^([a-z0-9][\w.-]*)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    ):
        pins.setdefault(name, []).append(version)
    for requirement in (Requirement(text) for group in groups for text in group):
        versions = pins[canonicalize_name(requirement.name)]
        assert all(version in requirement.specifier for version in versions), str(requirement)


@pytest.mark.parametrize(
    "package", ["schemas", "transforms", "transforms.forecast.kinds", "monitors"]
)
def test_import_of_a_package_loads_nothing_heavy(package: str) -> None:
    """Importing a package leaves Beam, JAX, LightGBM, GX, matplotlib and the like unloaded."""
    probe = f"import sys, {package}; print(*(set(sys.modules) & {HEAVY!r}))"
    loaded = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []
