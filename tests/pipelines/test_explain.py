"""`tidegauge explain`: all that is known of one finding."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from monitors.kept_rows import KeptRows
from monitors.window import WindowPart
from pipelines.causes import Causes
from pipelines.explain import explain_finding
from pipelines.run_folder import Run, open_run
from schemas.errors import OutputError
from schemas.records import Finding
from tests.run_folders import write_run_folder
from tests.small_streams import MOVED, ROOT, Outcome, Watched, tidegauge


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run with one alarm and, in another week, a finding that was not tested."""
    folder = tmp_path_factory.mktemp("explain")
    return open_run(write_run_folder(folder / "run", weeks=6, shifted_week=5))


def identity(run: Run, *predicates: pl.Expr, **equal: object) -> str:
    """Return the id of the first finding that fits."""
    return str(run.table("findings").filter(*predicates, **equal)["id"][0])


def test_alarm_is_told_with_its_figures(run: Run) -> None:
    """Subject with unit, sentence, monitor, window, evidence against threshold, baseline, id."""
    found = identity(run, pl.col("alarm"))
    text = explain_finding(run, found)
    first, *rest = text.splitlines()
    assert first.startswith("LGA.temp [°F]: reads 3.1 °F high")
    assert "  ALARM of feature_shift (moments)" in rest
    assert "  Which      LGA.temp (°F)" in rest
    assert "  Since      in the window 11–18 Feb 2013, or before" in rest
    assert "  How bad    The change is 0.92 times the spread that the other features leave" in rest
    assert "  evidence   41.70 (−log10 p), alarm above 2.60" in rest
    assert "  effect     0.92, rank 1" in rest
    assert "  rows       168" in rest
    assert f"  baseline   {run.manifest['baseline_id']}" in rest
    assert f"  id         {found}" in rest


def test_neighbour_is_told_what_alarmed_beside_it(run: Run) -> None:
    """A finding without an alarm says so, and lists the alarms of its window, none of others."""
    week = run.table("findings").filter(pl.col("alarm"))["window_start"][0]
    beside = identity(run, window_start=week, subject="EWR.temp")
    text = explain_finding(run, beside)
    assert "no alarm of feature_shift" in text
    assert "Also alarmed in this window\n  - LGA.temp (feature shift): reads 3.1 °F" in text
    elsewhere = identity(run, pl.col("window_start") != week, subject="EWR.temp")
    assert "Also alarmed" not in explain_finding(run, elsewhere)


def test_finding_that_was_not_tested_has_no_figures(run: Run) -> None:
    """The reason stands where the sentence does; no evidence is made up."""
    text = explain_finding(run, identity(run, status="not_tested"))
    assert text.startswith("JFK.visib [mi]: one value in the whole window")
    assert "evidence" not in text
    assert "rows       168" in text


def test_beginning_of_an_id_is_enough_where_it_is_the_only_one(run: Run) -> None:
    """Eight digits name the finding; one digit names several, and is refused."""
    found = identity(run, pl.col("alarm"))
    assert explain_finding(run, found[:8]) == explain_finding(run, found)
    with pytest.raises(OutputError, match="more than one finding has the id"):
        explain_finding(run, found[:1])


def test_unknown_id_is_refused_with_the_nearest(run: Run) -> None:
    """A mistyped id is answered with the one that was meant."""
    found = identity(run, pl.col("alarm"))
    wrong = found[:-1] + ("0" if found[-1] != "0" else "1")
    with pytest.raises(OutputError, match=f"no finding has the id '{wrong}'.*{found}"):
        explain_finding(run, wrong)


@pytest.fixture(scope="module")
def real(finished: tuple[Watched, Outcome]) -> tuple[Run, str]:
    """Return a run whose windows' rows are kept, and the text of its alarm."""
    whole = open_run(finished[0].run)
    found = identity(whole, pl.col("alarm"), monitor="feature_shift", subject=MOVED)
    return whole, explain_finding(whole, found)


def test_cause_is_told_in_tables(real: tuple[Run, str]) -> None:
    """Read and expected over time, quantiles, cost, map and advice are there, each with a title."""
    _, text = real
    titles = [part.split("\n")[0] for part in text.split("\n\n")]
    assert titles[2:7] == [
        "  evidence " + text.split("  evidence ")[1].split("\n")[0],
        "Read and expected",
        "Quantiles of what it read less what was expected",
        "Its own quantiles",
        "What moved the pinball loss of the forecast of s1",
    ]
    assert "What to check" in titles
    assert "Did the target itself move?" not in titles  # too few independent rows to tell
    assert f"{MOVED} " in text.split("What tells this window from the reference")[1]
    assert "Not shown" not in titles


def test_sensor_that_read_nothing_has_no_course(
    real: tuple[Run, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its values are missing: there is nothing to put beside what was due."""
    run, _ = real
    evidence = run.evidence_of

    def silent(_: Run, finding: Mapping[str, object]) -> WindowPart | None:
        part = evidence(finding)
        assert part is not None
        rows = part.rows.table
        place = rows.column_names.index(MOVED)
        nothing = pa.nulls(rows.num_rows, rows.schema.field(place).type)
        rows = rows.set_column(place, MOVED, nothing)
        return dataclasses.replace(part, rows=KeptRows(rows.num_rows, rows))

    monkeypatch.setattr(Run, "evidence_of", silent)
    found = identity(run, pl.col("alarm"), monitor="feature_shift", subject=MOVED)
    text = explain_finding(run, found)
    assert "Read and expected" not in text
    assert "What to check" in text


def test_values_of_the_data_do_not_reach_the_terminal_as_commands(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An escape sequence in a name, a key or a category is shown as a sign that stands for it."""
    find = Causes.find

    def harmful(causes: Causes, beginning: str) -> Finding:
        return dataclasses.replace(find(causes, beginning), explanation="reads \x1b[2J\x9b31m 3")

    monkeypatch.setattr(Causes, "find", harmful)
    text = explain_finding(run, identity(run, pl.col("alarm")))
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "reads \ufffd[2J" in text


def test_columns_of_numbers_have_the_same_decimals(real: tuple[Run, str]) -> None:
    """A power of ten among plain numbers would be read as a large one."""
    _, text = real
    for table in ("Read and expected", "What moved the pinball loss of the forecast of s1"):
        rows = text.split(f"{table}\n")[1].split("\n\n")[0]
        numbers = re.findall(r"(?<= )[+−]\d+\.(\d+)", rows)
        assert len(numbers) > 3
        assert len(set(map(len, numbers))) == 1
        assert "×" not in rows


def test_text_fits_a_terminal_of_80_columns(real: tuple[Run, str]) -> None:
    """No line is wider, but for a path that cannot be broken."""
    run, text = real
    assert [
        line for line in text.splitlines() if len(line) > 80 and str(run.folder) not in line
    ] == []


def test_numbers_of_the_course_are_those_of_the_rows(real: tuple[Run, str]) -> None:
    """Read less expected is off, in every line of the table."""
    _, text = real
    rows = text.split("Read and expected\n")[1].split("\n\n")[0].replace("−", "-").splitlines()
    assert len(rows) == 15
    for row in rows[1:]:
        read, expected, off = (float(part) for part in row[22:50].split()[:3])
        assert read - expected == pytest.approx(off, abs=0.02)


def test_verb_prints_it(run: Run, tmp_path: Path) -> None:
    """The verb prints the text to stdout; an id that is none exits with 2."""
    found = identity(run, pl.col("alarm"))
    done = tidegauge("explain", found, "--run", run.folder)
    assert (done.code, done.out) == (0, explain_finding(run, found) + "\n")
    done = tidegauge("explain", "zzz", "--run", run.folder)
    assert (done.code, done.out) == (2, "")
    assert "no finding has the id 'zzz'" in done.err


@pytest.mark.slow
def test_verb_loads_no_library_that_it_has_no_use_for(finished: tuple[Watched, Outcome]) -> None:
    """Each would add half a second for who waits for the answer."""
    folder = finished[0].run
    found = identity(open_run(folder), pl.col("alarm"), monitor="feature_shift", subject=MOVED)
    script = (
        "import sys\nfrom pipelines.cli import main\ntry:\n    main()\nexcept SystemExit:\n"
        "    pass\nprint('|'.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "explain", found, "--run", str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    loaded = set(done.stdout.splitlines()[-1].split("|"))
    assert "What to check" in done.stdout
    assert "lightgbm" in loaded
    heavy = {"apache_beam", "great_expectations", "matplotlib", "pandas", "sklearn", "scipy.stats"}
    assert not heavy & loaded
