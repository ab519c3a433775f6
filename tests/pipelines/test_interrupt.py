"""A command that is stopped or killed in the middle leaves what was there before, whole."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from pipelines.run_folder import open_run
from tests.small_streams import CURRENT_WEEKS, Watched, current_rows, start, tidegauge


def slow_source(watched: Watched) -> str:
    """Write rows that take some ten seconds to score: eighty windows, cut across in ten files."""
    folder = watched.folder / "many"
    folder.mkdir()
    week = pl.duration(weeks=CURRENT_WEEKS)
    rows = pl.concat([current_rows().with_columns(pl.col("time") + week * n) for n in range(10)])
    for number in range(10):
        rows.gather_every(10, number).write_parquet(folder / f"{number}.parquet")
    return str(folder / "*.parquet")


def with_source(watched: Watched, path: str) -> None:
    """Point the stream file at other rows."""
    stream = json.loads(watched.file.read_text())
    watched.file.write_text(json.dumps({**stream, "source": {"path": path}}))


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a process has made a file or folder."""
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def tree(folder: Path) -> dict[str, bytes]:
    """Return what the files of a folder hold, but for the lock and what a killed run left."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".staging" not in path.parts and path.name != ".lock"
    }


@pytest.mark.parametrize("seconds", [0.0, 1.0], ids=["at once", "within the graph"])
def test_interrupted_run_leaves_the_old_one(small: Watched, seconds: float) -> None:
    """Ctrl-C: exit code 130, one sentence; the old run is readable, and the next run is whole."""
    assert tidegauge("run", small.file).code == 0
    before = tree(small.run)
    with_source(small, slow_source(small))
    with start("run", small.file) as process:
        wait_for(small.run / ".staging", process)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] + "\n" == "tidegauge: stopped; what was there before is as it was\n"
    assert tree(small.run) == before
    assert not (small.run / ".staging").exists()
    assert open_run(small.run).table("findings")["alarm"].sum() == 1
    with_source(small, str(small.current))
    assert tidegauge("run", small.file).code == 0
    assert set(tree(small.run)) == set(before)


def test_interrupted_first_run_leaves_no_folder(small: Watched) -> None:
    """Ctrl-C in the first run: where there was no run folder there is none."""
    with_source(small, slow_source(small))
    with start("run", small.file) as process:
        wait_for(small.run / ".staging", process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not small.run.exists()


def test_killed_run_leaves_the_old_one(small: Watched) -> None:
    """SIGKILL in the middle: the old run is readable; the next run is whole and clears the rest."""
    assert tidegauge("run", small.file).code == 0
    before = tree(small.run)
    with_source(small, slow_source(small))
    with start("run", small.file) as process:
        wait_for(small.run / ".staging", process)
        time.sleep(0.5)
        process.kill()
        process.communicate()
    assert tree(small.run) == before
    assert (small.run / ".staging").exists()
    assert open_run(small.run).table("findings")["alarm"].sum() == 1
    with_source(small, str(small.current))
    assert tidegauge("run", small.file).code == 0
    assert not (small.run / ".staging").exists()
    assert set(tree(small.run)) == set(before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["stopped", "killed"])
def test_stopped_fit_leaves_the_old_baseline(small: Watched, number: signal.Signals) -> None:
    """A fit that ends in the middle leaves the old baseline whole, for a run; then fit works."""
    before = tree(small.baseline)
    with start("fit", small.file) as process:
        wait_for(small.baseline / ".staging", process)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -9)
    assert tree(small.baseline) == before
    assert tidegauge("run", small.file).code == 0
    assert tidegauge("fit", small.file).code == 0
    assert not (small.baseline / ".staging").exists()
    assert before.items() - {("CURRENT", before["CURRENT"])} <= tree(small.baseline).items()


def test_death_between_the_parts_and_the_manifest_keeps_the_old_run(
    small: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the manifest is renamed over, readers see the old run, though new parts lie there."""
    assert tidegauge("run", small.file).code == 0
    old = open_run(small.run).table("findings").sort("id")
    current_rows().head(500).write_parquet(small.current)

    def die(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.commit.write_text", die)
        assert tidegauge("run", small.file).code == 130
    assert open_run(small.run).table("findings").sort("id").equals(old)
    stale = set(tree(small.run)) - open_run(small.run).listed
    assert len(stale) > 1
    assert tidegauge("run", small.file).code == 0
    run = open_run(small.run)
    assert run.manifest["windows"] == 3
    assert set(tree(small.run)) == run.listed | {"run.json"}
