from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.run_folder import open_run
from pipelines.serve.run_source import RunSource
from pipelines.sinks import write_part
from schemas.errors import OutputError
from tests.run_folders import write_run_folder

Sample = tuple[str, tuple[tuple[str, str], ...]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a run folder with one alarm."""
    return write_run_folder(tmp_path / "run", weeks=3, shifted_week=1)


def values(source: RunSource) -> dict[Sample, float]:
    """Return every sample of a source."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in source.families()
        for sample in family.samples
    }


def value(source: RunSource, name: str) -> float:
    """Return the sum of the samples of one name."""
    return sum(v for (n, _), v in values(source).items() if n == "tidegauge_" + name)


def named_by_content(folder: Path) -> Path:
    """Give the parts of a run folder the names that `tidegauge run` gives them."""
    manifest = json.loads((folder / "run.json").read_text())
    for name, parts in manifest["files"].items():
        made = [write_part(pq.read_table(folder / part), folder / name) for part in parts]
        for part in parts:
            (folder / part).unlink()
        manifest["files"][name] = [f"{name}/{part.name}" for part in made]
    (folder / "run.json").write_text(json.dumps(manifest))
    return folder


def commit(folder: Path, **changes: Any) -> None:
    """Replace the manifest in one rename."""
    manifest = json.loads((folder / "run.json").read_text()) | changes
    (folder / "new.json").write_text(json.dumps(manifest))
    (folder / "new.json").replace(folder / "run.json")


def test_replaced_run_is_read_again(folder: Path, tmp_path: Path) -> None:
    """A new run in the folder's place is served from the next scrape on, without a restart."""
    source = RunSource(named_by_content(folder))
    assert value(source, "alarms_total") == 1
    shutil.rmtree(folder)
    assert value(source, "alarms_total") == 1  # the last good run, meanwhile
    named_by_content(write_run_folder(tmp_path / "new", weeks=5, shifted_week=None)).rename(folder)
    assert value(source, "alarms_total") == 0
    assert value(source, "windows_closed_total") == 5


def test_unchanged_run_is_not_read_again(folder: Path) -> None:
    """A scrape reads no table while run.json stays as it was."""
    source = RunSource(folder)
    shutil.rmtree(folder / "findings")
    assert value(source, "alarms_total") == 1
    assert source.missing() == ""


def test_damaged_replacement_leaves_the_last_good_run(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What cannot be read is told once on stderr, and does not take the metrics away."""
    source = RunSource(folder)
    version = json.loads((folder / "run.json").read_text())["version"]
    commit(folder, version=99)
    for _ in range(3):
        assert value(source, "alarms_total") == 1
    assert source.missing() == ""
    commit(folder, version=version, windows=77)
    assert value(source, "windows_closed_total") == 77
    complaints = capfd.readouterr().err.splitlines()
    assert len(complaints) == 1
    assert complaints[0].endswith("upgrade tidegauge; still serving the last good run")


def test_folder_that_is_no_run_is_an_output_error(tmp_path: Path) -> None:
    """Unless it is to wait for one."""
    with pytest.raises(OutputError, match="not a finished run"):
        RunSource(tmp_path)


def test_source_that_waits_is_ready_with_the_first_run(tmp_path: Path) -> None:
    """Before, it has no metric at all and says what is missing; a run may also be damaged first."""
    source = RunSource(tmp_path / "run", wait=True)
    assert source.families() == []
    assert "run: not a finished run: there is no such folder" in source.missing()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{")
    assert "cannot be read as the manifest" in source.missing()
    assert source.families() == []
    write_run_folder(tmp_path / "run", weeks=3, shifted_week=1)
    assert source.missing() == ""
    assert value(source, "alarms_total") == 1


def test_parts_put_together_while_they_are_read_are_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The manifest that named the parts is gone, too: the new one is read in the same scrape."""
    source = RunSource(folder)
    before = values(source)
    commit(folder, ticks=2)
    compacted: list[Path] = []

    def open_then_compact(name: Path) -> Any:
        run = open_run(name)
        if not compacted:
            files = run.manifest["files"]
            whole = pa.concat_tables(pq.read_table(folder / part) for part in files["findings"])
            part = write_part(whole, folder / "findings")
            commit(folder, files={**files, "findings": [f"findings/{part.name}"]}, ticks=3)
            for old in files["findings"]:
                (folder / old).unlink()
            compacted.append(part)
            run.manifest["files"]["forecasts"].append("forecasts/gone.parquet")
        return run

    monkeypatch.setattr("pipelines.serve.run_source.open_run", open_then_compact)
    after = values(source)
    assert value(source, "ticks_total") == 3
    changed = {name for (name, _), v in after.items() if before.get((name, _)) != v}
    assert changed == {"tidegauge_ticks_total"}
    assert capfd.readouterr().err == ""


def test_missing_part_of_an_unchanged_manifest_is_damage(folder: Path) -> None:
    """It is not looked for again and again."""
    (folder / "findings" / "part-00000.parquet").unlink()
    with pytest.raises(OutputError, match=r"findings/part-00000\.parquet is missing; run again"):
        RunSource(folder)


def test_counters_do_not_go_down_while_a_run_grows_and_is_compacted(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Read as fast as can be while parts come and go: no error, no step back, all at the end."""
    tables = {name: pq.read_table(folder / name) for name in ("findings", "forecasts", "rejects")}
    done = threading.Event()

    def follow() -> None:
        try:
            files = json.loads((folder / "run.json").read_text())["files"]
            for tick in range(2, 60):
                olds = []
                for name, table in tables.items():
                    slot = table.slice(tick % 5, 3).replace_schema_metadata(
                        {**table.schema.metadata, "tick": str(tick)}  # no two parts alike
                    )
                    files[name].append(f"{name}/{write_part(slot, folder / name).name}")
                    if tick % 4 == 0:
                        parts = [folder / part for part in files[name]]
                        whole = pa.concat_tables(
                            pq.read_table(part).replace_schema_metadata(None) for part in parts
                        )
                        files[name] = [f"{name}/{write_part(whole, folder / name).name}"]
                        olds += parts
                commit(folder, files=files, ticks=tick)
                for old in olds:
                    old.unlink()
        finally:
            done.set()

    source = RunSource(folder)
    writer = threading.Thread(target=follow)
    writer.start()
    seen = values(source)
    while not done.is_set():
        now = values(source)
        counters = ("_total", "_bucket", "_count", "_sum")
        fallen = {key for key in seen if key[0].endswith(counters) and now.get(key, 0) < seen[key]}
        assert not fallen
        seen = now
    writer.join()
    assert value(source, "ticks_total") == 59
    assert values(source) == values(RunSource(folder))
    assert capfd.readouterr().err == ""
