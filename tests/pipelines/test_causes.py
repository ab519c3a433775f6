"""The causes of a run's findings, read from its folder and its baseline's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from monitors.cause.explain_window import OF_ALL_KEYS
from monitors.rollup import ALL_KEYS
from pipelines.causes import Causes
from pipelines.explain import explain_finding
from pipelines.run_folder import Run, open_run
from schemas.errors import OutputError
from tests.pipelines.report.small_runs import ALARM, finding, row_stream, write_small_run
from tests.small_streams import MOVED, Outcome, Watched


@pytest.fixture(scope="module")
def run(finished: tuple[Watched, Outcome]) -> Run:
    """Return a run in which one sensor's week is shuffled."""
    return open_run(finished[0].run)


def identity(run: Run) -> str:
    """Return the id of the alarm about the shuffled sensor."""
    found = run.table("findings").filter("alarm", monitor="feature_shift", subject=MOVED)
    return str(found["id"][0])


def test_baseline_may_have_moved(run: Run, tmp_path: Path) -> None:
    """Where the baseline is gone the note names the option; with its new folder all is there."""
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    manifest = folder / "run.json"
    before = str(run.manifest["baseline_folder"])
    manifest.write_text(manifest.read_text().replace(before, str(tmp_path / "gone")))
    lost = Causes(open_run(folder))
    cause = lost.cause(lost.find(identity(run)))
    assert cause.course is None
    (note,) = cause.notes
    assert "--baseline" in note
    found = Causes(open_run(folder), Path(before))
    assert found.cause(found.find(identity(run))).course is not None


def test_finding_of_a_quiet_window_is_told_without_its_rows(run: Run) -> None:
    """Rows are kept of alarmed windows only, and that is said."""
    causes = Causes(run)
    quiet = run.table("findings").filter(~run.table("findings")["alarm"])["id"][0]
    cause = causes.cause(causes.find(quiet))
    assert cause.course is None
    assert "only windows with an alarm are" in cause.notes[0]


def test_other_alarms_of_the_window_are_beside_it(run: Run) -> None:
    """A finding has the alarms of its own window beside it, and not itself."""
    causes = Causes(run)
    finding = causes.find(identity(run))
    alarms = run.table("findings").filter("alarm", window_start=finding.window_start)
    beside = {other.id for other in causes.cause(finding).beside}
    assert beside == set(alarms["id"]) - {finding.id}


def test_beginning_of_an_id_is_enough(run: Run) -> None:
    """An id may be cut where no other begins alike; else that is said."""
    causes, wanted = Causes(run), identity(run)
    assert causes.find(wanted[:12]).id == wanted
    with pytest.raises(OutputError, match="no finding has the id 'zz'"):
        causes.find("zz")
    with pytest.raises(OutputError, match="more than one finding has the id ''"):
        causes.find("")


def test_finding_of_all_keys_has_the_alarms_of_each_beside_it(tmp_path: Path) -> None:
    """Its own window keeps no rows: the alarms of single keys lead on, and are told with theirs."""
    stream = row_stream(key=["site"])
    keys = [ALL_KEYS, '{"site": "north"}', '{"site": "south"}']
    rows = [finding(stream, 0, "a", **(ALARM | {"key": key})) for key in keys]
    rows += [
        finding(stream, 0, "b", key=keys[1]),
        finding(stream, 1, "a", **(ALARM | {"key": keys[2]})),
    ]
    run = write_small_run(tmp_path / "run", stream, {"findings": rows}, windows=2)
    causes = Causes(run)
    cause = causes.cause(causes.find(str(run.table("findings").filter(key=ALL_KEYS)["id"][0])))
    assert sorted(other.key for other in cause.beside) == keys[1:]
    assert {other.window_index for other in cause.beside} == {0}
    assert cause.notes == (OF_ALL_KEYS,)
    assert "  - a, site = north (feature shift): " in explain_finding(run, cause.finding.id)
