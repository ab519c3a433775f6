"""The wheel holds the four packages with their data, and nothing else."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import pipelines
import schemas

ROOT = Path(__file__).parents[1]
PACKAGES = {"pipelines", "transforms", "monitors", "schemas"}
DATA_SUFFIXES = {".json", ".html", ".css", ".j2"}


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command that has to succeed, and return what it prints."""
    argv = [str(part) for part in command]
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the checkout, without a network."""
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "tests").mkdir()
    (source / "tests" / "stray.py").touch()  # what is not a package of ours must stay out
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    (path,) = out.glob("*.whl")
    return path


def test_wheel_top_level_is_the_four_packages(wheel: Path) -> None:
    """The wheel's top level is the four packages and its own metadata."""
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES
    assert len(top) == len(PACKAGES) + 1


def test_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    """Each module, type marker and data file of the checkout is in the wheel."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in DATA_SUFFIXES | {".py"} or path.name == "py.typed"
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    assert held == expected


def test_wheel_declares_the_console_script(wheel: Path) -> None:
    """Installing the wheel gives the command `tidegauge`, and nothing more."""
    entry_points = configparser.ConfigParser()
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/entry_points.txt"))
        entry_points.read_string(archive.read(name).decode())
    assert entry_points.sections() == ["console_scripts"]
    assert dict(entry_points["console_scripts"]) == {"tidegauge": "pipelines.cli:main"}


@pytest.mark.slow
def test_wheel_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """The command of an installed wheel runs in a folder that has a `schemas/` of its own."""
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    python = venv / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # The dependencies, but not the editable install: .pth files in a folder so named stay unread.
    (site / "dependencies.pth").write_text(f"{metadata.distribution('pytest').locate_file('')}\n")
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "schemas").mkdir(parents=True)
    (elsewhere / "schemas" / "__init__.py").write_text("raise ImportError('the wrong schemas')\n")
    assert "check" in run(venv / "bin" / "tidegauge", "--help", cwd=elsewhere)


def test_the_four_packages_are_ours() -> None:
    """No other installed distribution provides a package of one of the four names."""
    providers = metadata.packages_distributions()
    for name in PACKAGES & providers.keys():  # an editable install lists no packages
        assert providers[name] == ["tidegauge"]
    assert Path(schemas.__file__).parents[1] == Path(pipelines.__file__).parents[1]
