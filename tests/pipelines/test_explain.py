"""`tidegauge explain`: all that is known of one finding."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.explain import explain_finding
from pipelines.run_folder import Run, open_run
from schemas.errors import OutputError
from tests.run_folders import write_run_folder
from tests.small_streams import MOVED, Outcome, Watched, tidegauge


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
    assert "  How bad    An effect of 0.92 conditional standard deviations." in rest
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
    assert {"Did the target itself move?", "What to check"} <= set(titles)
    assert f"{MOVED} " in text.split("The map from the reference to this window")[1]
    assert "Not shown" not in titles


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
