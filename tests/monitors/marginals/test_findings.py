from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from monitors.budget import level_per_test
from schemas.stream import Stream
from schemas.stream_file import load_stream
from tests.small_streams import (
    CURRENT_WEEKS,
    HOURS,
    MOVED,
    MOVED_WEEK,
    SENSORS,
    current_rows,
    reference_rows,
    stream_file,
    tidegauge,
)

WATCHED = ["psi", "wasserstein", "range", "missing_rate", "new_category"]
DRAGGED, DRAGGED_WEEK = "s5", 6  # a sensor that reads high
GAPS, GAPS_WEEK = "s2", 2  # a sensor that is silent for six hours
NEW_WEEK = 3  # in which a line is seen that the reference does not know
COLUMNS = {name: {"type": "number", "unit": "°C"} for name in SENSORS} | {
    "line": {"type": "category"}
}
MONITORS = {"expectations": False, "marginals": WATCHED}


def with_line(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return rows with a category that depends on nothing."""
    lines = np.random.default_rng(seed).choice(["a", "b", "c"], len(rows))
    return rows.with_columns(line=pl.Series(lines.astype(str)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small stream with its baseline and its run."""
    folder = tmp_path_factory.mktemp("marginals")
    with_line(reference_rows(), 1).write_parquet(folder / "reference.parquet")
    rows = with_line(current_rows(), 2)
    hours = pl.int_range(pl.len())
    week = hours // HOURS
    early = hours % HOURS < 6
    rows.with_columns(
        pl.when(week == DRAGGED_WEEK).then(pl.col(DRAGGED) + 2.5).otherwise(pl.col(DRAGGED)),
        pl.when((week != GAPS_WEEK) | ~early).then(pl.col(GAPS)).alias(GAPS),
        pl.when((week == NEW_WEEK) & early).then(pl.lit("z")).otherwise("line").alias("line"),
    ).write_parquet(folder / "current.parquet")
    file = stream_file(folder, columns=COLUMNS, monitors=MONITORS)
    for command in (("fit", file), ("run", file)):
        said = tidegauge(*command)
        assert said.code == 0, said.err
    return folder


@pytest.fixture(scope="module")
def findings(folder: Path) -> pl.DataFrame:
    """Return the findings of the run, with the number of their week."""
    rows = pl.read_parquet(folder / "stream.run" / "findings" / "*.parquet")
    first = pl.col("window_start").min()
    return rows.with_columns(week=(pl.col("window_start") - first).dt.total_days() // 7)


def test_every_monitor_has_a_finding_per_feature_it_is_of(findings: pl.DataFrame) -> None:
    """Distances and ranges of numbers, shares of all, new values of categories."""
    found = dict(findings.group_by("monitor").len().iter_rows())
    assert {name: found[name] // CURRENT_WEEKS for name in WATCHED} == {
        "psi": 9,
        "wasserstein": 8,
        "range": 8,
        "missing_rate": 9,
        "new_category": 1,
    }
    assert set(findings["status"]) == {"tested"}


@pytest.mark.parametrize(
    ("monitor", "seen", "says"),
    [
        ("psi", [(NEW_WEEK, "line"), (DRAGGED_WEEK, DRAGGED)], " in the reference"),
        ("wasserstein", [(DRAGGED_WEEK, DRAGGED)], " °C in the reference"),
        (
            "missing_rate",
            [(GAPS_WEEK, GAPS)],
            "missing in 6 of 168 rows (95 % interval 1.3 % to 7.6 %)",
        ),
        ("new_category", [(NEW_WEEK, "line")], "6 of 168 rows hold a value new to the reference"),
    ],
)
def test_each_sees_its_own_kind_of_change(
    findings: pl.DataFrame, monitor: str, seen: list[tuple[int, str]], says: str
) -> None:
    """In its week, in its feature, with a sentence that says how; and nothing else."""
    alarms = findings.filter(pl.col("alarm") & (pl.col("monitor") == monitor)).sort("week")
    assert alarms.select("week", "subject").rows() == seen
    assert says in alarms["explanation"][0]


def test_they_are_blind_to_a_change_of_dependence(findings: pl.DataFrame) -> None:
    """A sensor that replays its own values in another order: the conditional test sees it."""
    shuffled = findings.filter("alarm", pl.col("week") == MOVED_WEEK, pl.col("subject") == MOVED)
    assert shuffled["monitor"].to_list() == ["feature_shift"]


def test_the_report_and_explain_tell_of_them(folder: Path, findings: pl.DataFrame) -> None:
    """By their full name, and with the sentence."""
    said = tidegauge("report", folder / "stream.run")
    assert said.code == 0, said.err
    page = (folder / "stream.run" / "report.html").read_text()
    assert "population stability index" in page
    row = findings.filter("alarm", pl.col("monitor") == "psi").row(0, named=True)
    told = tidegauge("explain", row["id"], "--run", folder / "stream.run").out
    assert "ALARM of psi (histogram)" in told
    assert row["explanation"] in told


def test_a_monitor_that_the_baseline_was_not_fitted_for_asks_for_a_fit(folder: Path) -> None:
    """Those that are only counted need none."""
    monitors = MONITORS | {"marginals": ["missing_rate", "energy"]}
    file = stream_file(folder, columns=COLUMNS, monitors=monitors)
    said = tidegauge("run", file, "--out", folder / "other.run")
    assert said.code != 0
    assert "marginal monitors (energy)" in said.err
    assert "run `tidegauge fit` again" in said.err


def test_each_monitor_takes_its_share_of_the_budget(folder: Path) -> None:
    """One test each, beside feature shift."""
    stream = load_stream(stream_file(folder, columns=COLUMNS, monitors=MONITORS))
    assert isinstance(stream, Stream)
    alone = stream.model_copy(
        update={"monitors": stream.monitors.model_copy(update={"marginals": ()})}
    )
    assert level_per_test(alone, 1) == pytest.approx(6 * level_per_test(stream, 1))
