"""What a run keeps of the windows in which something alarmed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitors.distinct import distinct_times
from monitors.due import Due
from monitors.judging import MAY_ALARM, WindowJudge
from monitors.rollup import ALL_KEYS
from monitors.window_codec import encode_part
from pipelines import evidence
from pipelines.evidence import NAME, choose_evidence, newest_evidence
from pipelines.run_folder import Run, open_run
from pipelines.sinks import write_part
from schemas.errors import BaselineError, OutputError
from schemas.records import EVIDENCE, RECORDS, WindowKey
from tests.conftest import FORECASTS
from tests.pipelines.report.small_runs import ALARM, finding, row_stream, write_small_run
from tests.small_streams import (
    HOURS,
    MOVED_WEEK,
    SENSORS,
    START,
    Outcome,
    Watched,
    current_rows,
    reference_rows,
    stream_file,
    tidegauge,
)

FIRST = START + timedelta(weeks=30 + MOVED_WEEK)  #: of the week that moved
STREAM = row_stream()


@pytest.fixture(scope="module")
def run(finished: tuple[Watched, Outcome]) -> Run:
    """Return the run of the small stream."""
    return open_run(finished[0].run)


def moved(run: Run) -> dict[str, Any]:
    """Return the strongest finding of a run."""
    return run.table("findings").filter("alarm").sort("statistic").row(-1, named=True)


def test_evidence_is_of_the_windows_that_alarm(run: Run) -> None:
    """And of no others; by the baseline that judged them."""
    alarmed = run.table("findings").filter("alarm")["window_start"].unique().sort()
    kept = run.table(NAME).sort("window_start")
    assert kept["window_start"].to_list() == alarmed.to_list()
    assert set(kept["baseline_id"]) == {run.manifest["baseline_id"]}


def test_the_window_of_a_finding_comes_with_its_rows(run: Run) -> None:
    """All of them, for a week of hours is fewer than are kept."""
    part = run.evidence_of(moved(run))
    assert part is not None
    assert part.profile.rows == HOURS
    expected = current_rows()[MOVED_WEEK * HOURS : (MOVED_WEEK + 1) * HOURS]
    rows = pl.DataFrame(pl.from_arrow(part.rows.table))
    assert rows.columns == ["time", *SENSORS]
    assert rows.equals(expected)


def test_a_window_is_found_by_what_it_is_too(run: Run) -> None:
    """One that did not alarm has no evidence."""
    window = WindowKey("{}", FIRST, FIRST + timedelta(weeks=1))
    found, other = run.evidence_of(window), run.evidence_of(moved(run))
    assert found is not None
    assert other is not None
    assert encode_part(found) == encode_part(other)
    earlier = WindowKey("{}", FIRST - timedelta(weeks=1), FIRST)
    assert run.evidence_of(earlier) is None


def test_the_baseline_of_a_run_is_where_it_was(run: Run, finished: tuple[Watched, Outcome]) -> None:
    """Its folder is in run.json; its rows are some of the reference's, in stretches."""
    assert Path(run.manifest["baseline_folder"]) == finished[0].baseline
    baseline = run.baseline(run.manifest["baseline_id"])
    rows = baseline.rows_of("{}")
    assert baseline.step == 3_600_000_000
    assert rows.num_rows == 2000
    assert rows.column_names == ["time", *SENSORS]
    assert baseline.rows_of("another").num_rows == 0
    assert baseline.rows_of("another").schema == rows.schema


def test_a_baseline_that_was_moved_is_asked_for(
    run: Run, finished: tuple[Watched, Outcome], tmp_path: Path
) -> None:
    """In a sentence that names the folder; given another, that one is read."""
    identity = run.manifest["baseline_id"]
    elsewhere = tmp_path / "moved.baseline"
    with pytest.raises(BaselineError, match=f"{elsewhere}: .* is not there; give .*--baseline"):
        run.baseline(identity, elsewhere)
    shutil.copytree(finished[0].baseline, elsewhere)
    assert run.baseline(identity, elsewhere).id == identity


def test_no_rows_are_kept_anywhere_when_none_are_asked_for(tmp_path: Path) -> None:
    """Neither of the reference nor of windows; their profiles are."""
    watched = Watched(tmp_path)
    rows = current_rows()
    rows.head(4 * HOURS).write_parquet(tmp_path / "reference.parquet")
    rows[MOVED_WEEK * HOURS : (MOVED_WEEK + 1) * HOURS].with_columns(
        pl.col("s1") + 5
    ).write_parquet(watched.current)
    stream_file(tmp_path, explain={"rows": 0})
    for command in ("fit", "run"):
        said = tidegauge(command, watched.file)
        assert said.code == 0, said.err
    run = open_run(watched.run)
    part = run.evidence_of(moved(run))
    assert part is not None
    assert part.profile.rows == HOURS
    assert part.rows.table.num_rows == 0
    baseline = run.baseline(run.manifest["baseline_id"])
    assert baseline.rows_of("{}").num_rows == 0
    assert b"s1" not in (watched.baseline / baseline.id / "rows.arrow").read_bytes()


def test_the_number_of_rows_kept_may_change_at_any_time(small: Watched) -> None:
    """It asks for no new baseline, and an earlier run goes on."""
    assert tidegauge("run", small.file).code == 0
    stream_file(small.folder, explain={"rows": 100}, forecasts=[{"target": "s1"}])
    assert tidegauge("run", small.file).code != 0  # the forecasts have changed
    stream_file(small.folder, explain={"rows": 100}, forecasts=FORECASTS)
    said = tidegauge("run", small.file)
    assert said.code == 0, said.err
    assert open_run(small.run).manifest["ticks"] == 2


def rows_of(*windows: int, revision: int = 0, text: bytes = b"part") -> pa.Table:
    """Return rows of evidence of windows counted in rows."""
    about = {"stream": "small", "key": "{}", "baseline_id": "b", "revision": revision}
    return pa.Table.from_pylist(
        [about | {"window_index": at, "part": text + str(at).encode()} for at in windows], EVIDENCE
    )


def found(folder: Path, **statistics: float) -> list[Path]:
    """Write findings, one a window: the statistic of each, which alarms when it is above 4."""
    rows = [
        finding(STREAM, int(name[1:]), "a", **(ALARM | {"statistic": value, "alarm": value > 4}))
        for name, value in statistics.items()
    ]
    return [write_part(pa.Table.from_pylist(rows, RECORDS["findings"]), folder / "findings")]


def chosen(folder: Path) -> list[int]:
    """Return the windows of staged evidence."""
    parts = sorted((folder / NAME).glob("*.parquet"))
    return [at for part in parts for at in pq.read_table(part)["window_index"].to_pylist()]


def test_what_did_not_alarm_in_the_end_leaves_no_evidence(tmp_path: Path) -> None:
    """Where alarms are decided over many windows, it was kept until they were."""
    write_part(rows_of(1, 2), tmp_path / NAME)
    write_part(rows_of(3), tmp_path / NAME)
    choose_evidence(tmp_path, found(tmp_path, w1=3, w2=12, w3=2))
    assert chosen(tmp_path) == [2]


def test_when_everything_alarms_the_strongest_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of ten thousand keys must not fill the disk."""
    monkeypatch.setattr(evidence, "MOST_AT_ONCE", 2)
    for at in range(1, 5):
        write_part(rows_of(at), tmp_path / NAME)
    choose_evidence(tmp_path, found(tmp_path, w1=7, w2=50, w3=6, w4=9))
    assert chosen(tmp_path) == [2, 4]
    assert len(list((tmp_path / NAME).iterdir())) == 1


def test_all_keys_together_take_the_place_of_no_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their alarms are the strongest of all, and they have no rows of their own."""
    monkeypatch.setattr(evidence, "MOST_AT_ONCE", 2)
    write_part(rows_of(1, 2), tmp_path / NAME)
    about = ALARM | {"key": ALL_KEYS, "statistic": 90.0}
    together = [finding(STREAM, at, "a", **about) for at in (1, 2)]
    parts = found(tmp_path, w1=7, w2=9)
    parts.append(write_part(pa.Table.from_pylist(together, RECORDS["findings"]), tmp_path / "all"))
    choose_evidence(tmp_path, parts)
    assert chosen(tmp_path) == [1, 2]


@pytest.mark.parametrize(
    ("control", "share", "revision", "kept"),
    [
        ("e-detector", "1 per 9 windows", 0, 1),
        ("fdr", "5 % of alarms", 0, 0),
        ("fdr", "5 % of alarms", 1, 1),
    ],
)
def test_a_window_that_says_little_may_alarm_yet(
    run: Run, control: str, share: str, revision: int, kept: int
) -> None:
    """An e-detector adds up windows; and of a revised one the first decision stays."""
    alarms = run.stream.alarms.model_copy(update={"control": control, "false": share})
    stream = run.stream.model_copy(update={"alarms": alarms})
    judge = WindowJudge(stream, Path(run.manifest["baseline_folder"]))
    baseline_id = run.manifest["baseline_id"]
    part = run.evidence_of(moved(run))
    assert part is not None
    times = distinct_times(pa.chunked_array([reference_rows()["time"].to_arrow()]))
    whole = judge.baselines.load(baseline_id).references["{}"].total
    quiet = replace(part, profile=whole, times=times)
    window = WindowKey("{}", FIRST, FIRST + timedelta(weeks=1))
    told = judge.judge(window, baseline_id, quiet, Due(judge=True, revision=revision, named=None))
    assert min(f.p_adjusted for f in told.findings if f.p_adjusted is not None) > MAY_ALARM
    assert len(told.evidence) == kept


def test_the_newest_evidence_stays_in_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sensor that alarms for years must not fill it either."""
    monkeypatch.setattr(evidence, "MOST", 3)
    paths = [write_part(rows_of(*windows), tmp_path / NAME) for windows in ((7, 1, 4), (2, 5, 3))]
    files = [f"{NAME}/{path.name}" for path in paths]
    assert newest_evidence(tmp_path, tmp_path / "staging", files) == files
    path = write_part(rows_of(6), tmp_path / NAME)
    more = newest_evidence(tmp_path, tmp_path / "staging", [*files, f"{NAME}/{path.name}"])
    (left,) = more
    assert sorted(pq.read_table(tmp_path / left)["window_index"].to_pylist()) == [5, 6, 7]


def test_a_revised_window_has_the_evidence_of_its_last_revision(tmp_path: Path) -> None:
    """A finding that was told before has that of its own."""
    own = finding(STREAM, 1, "a", **ALARM)
    tables = {
        NAME: [
            row | {"baseline_id": own["baseline_id"]}
            for revision, text in ((0, b"old"), (1, b"new"))
            for row in rows_of(1, revision=revision, text=text).to_pylist()
        ],
        "findings": [own],
    }
    run = write_small_run(tmp_path, STREAM, tables, windows=1)
    (row,) = run.table(NAME).to_dicts()
    assert (row["revision"], row["part"]) == (1, b"new1")
    with pytest.raises(OutputError, match="state of a window cannot be read"):  # it is found
        run.evidence_of(own | {"revision": 1})
    assert run.evidence_of(own | {"revision": 2}) is None
    assert run.evidence_of(own | {"baseline_id": "other"}) is None
    assert run.evidence_of(WindowKey("{}", datetime(2026, 1, 1, tzinfo=UTC), None, 1)) is None
