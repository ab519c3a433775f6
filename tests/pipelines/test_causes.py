"""The causes of a run's findings, read from its folder and its baseline's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.causes import Causes
from pipelines.run_folder import Run, open_run
from schemas.errors import OutputError
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
