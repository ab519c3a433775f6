from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitors.snapshot import RunReader, RunSnapshot
from schemas.records import RECORDS, Finding

T0 = datetime(2013, 1, 7, tzinfo=UTC)
DAY = timedelta(days=1)
Row = dict[str, object]


def day(number: int) -> dict[str, datetime]:
    """Return the window of a day, counted from 0."""
    return {"window_start": T0 + number * DAY, "window_end": T0 + (number + 1) * DAY}


def finding(**changes: Any) -> Row:
    """Return a finding of feature_shift on x in the first day, with changes."""
    values: dict[str, Any] = {
        "stream": "s",
        "key": "{}",
        "window_index": None,
        "monitor": "feature_shift",
        "method": "moments",
        "subject": "x",
        "status": "tested",
        "statistic": 1.2,
        "threshold": 3.0,
        "p_value": 0.06,
        "effect": 0.1,
        "alarm": False,
        "rank": 1,
        "explanation": "",
        "rows": 24,
        "baseline_id": "b",
        **day(0),
    }
    return Finding(**(values | changes)).as_row()


def forecast(outcome: float | None, **changes: Any) -> Row:
    """Return a forecast of y, with an interval from 1 to 3."""
    return {
        "stream": "s",
        "key": "{}",
        "target": "y",
        "levels": [],
        "quantiles": [],
        "lower": 1.0,
        "upper": 3.0,
        "outcome": outcome,
        "model_id": "m",
        "calibration": "c",
        "path": "p",
        "row": 0,
        **changes,
    }


def reject(reason: str) -> Row:
    """Return a rejected row."""
    return {"stream": "s", "path": "p", "detail": "", "raw": "", "reason": reason}


class RunFolder:
    """A run folder that grows part by part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, list[str]] = {}

    def add(self, **rows: list[Row]) -> RunFolder:
        """Add a part to each of some tables."""
        for name, part in rows.items():
            path = f"{name}/{len(list(self.folder.rglob('*.parquet')))}.parquet"
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(part, schema=RECORDS[name]), self.folder / path)
            self.files[name] = [*self.files.get(name, []), path]
        return self

    def compact(self) -> None:
        """Put the parts of each table into one, and remove them."""
        for name, paths in self.files.items():
            whole = f"{name}/all-{len(paths)}.parquet"
            parts = [pq.read_table(self.folder / path) for path in reversed(paths)]
            pq.write_table(pa.concat_tables(parts), self.folder / whole)
            for path in paths:
                (self.folder / path).unlink()
            self.files[name] = [whole]

    def read(self, reader: RunReader | None = None, **manifest: object) -> RunSnapshot:
        """Reduce the run."""
        return (reader or RunReader()).read({"files": self.files, **manifest}, self.folder)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Return a run folder without parts."""
    return RunFolder(tmp_path)


def contents(snapshot: RunSnapshot) -> list[Any]:
    """Return what a snapshot holds, as values that compare."""
    found = snapshot.found
    values = [getattr(found, field.name) for field in dataclasses.fields(found)[1:]]
    tables = [getattr(snapshot, field.name) for field in dataclasses.fields(snapshot)[3:]]
    return [*values, found.latest.sort("id").rows(), *(table.rows() for table in tables)]


def test_watermark_is_the_end_of_the_latest_window_of_any_table(run: RunFolder) -> None:
    """A window that closed with a summary and no finding moves it; the run's own comes first."""
    assert run.read().watermark is None
    summary = {
        "stream": "s", "key": "", **day(4), "column": "x", "rows": 1, "nulls": 0, "null_rate": 0.0,
        "revision": 0,
    }  # fmt: skip
    run.add(findings=[finding()], summaries=[summary])
    assert run.read().watermark == T0 + 5 * DAY
    assert run.read(watermark="2013-03-01T00:00:00+00:00").watermark == datetime(
        2013, 3, 1, tzinfo=UTC
    )


def test_intervals_are_scored_once_their_outcome_is_known(run: RunFolder) -> None:
    """Outcomes on the ends of the interval are inside; null and NaN outcomes are not scored."""
    outcomes = [0.9, 1.0, 2.0, 3.0, 3.1, 9.0, None, float("nan")]
    run.add(forecasts=[forecast(outcome) for outcome in outcomes])
    run.add(forecasts=[forecast(None, target="b")])
    assert run.read().forecasts.to_dicts() == [
        {"target": "y", "scored": 6, "below": 1, "above": 2, "width": 12.0}
    ]


def test_width_that_is_no_number_spoils_no_sum(run: RunFolder) -> None:
    """A forecast of a broken model leaves the others' widths as they are."""
    run.add(forecasts=[forecast(1.0), forecast(1.0, upper=float("nan"))])
    assert run.read().forecasts["width"].to_list() == [2.0]


def test_rejects_and_expectations_are_counted(run: RunFolder) -> None:
    """One row per reason, and one per severity and result."""
    check = {"stream": "s", "key": "{}", "expectation": "e", "columns": [], "detail": ""}
    run.add(
        rejects=[reject(reason) for reason in ("type", "range", "type")],
        expectations=[
            {**check, "severity": "warning", "result": result, "revision": 0}
            for result in ("pass", "fail", "pass", "pass")
        ],
    )
    assert run.read().rejects.rows() == [("range", 1), ("type", 2)]
    assert run.read().expectations.rows() == [("warning", "fail", 1), ("warning", "pass", 3)]


def test_stretches_of_the_reference_count_once(run: RunFolder) -> None:
    """However often it was their turn, in whichever part; another key's are others."""
    row: Row = {
        "stream": "s",
        "key": "{}",
        "monitor": "feature_shift",
        "baseline_id": "b",
        "block": 8,
        "blocks": 8,
        "statistic": 1.0,
        "threshold": 3.0,
        "level": 0.01,
        "alarm": False,
        **day(0),
    }
    assert run.read().sentinel.rows() == [(0, 0, None)]
    run.add(sentinels=[row, row | {"block": 16, "alarm": True}])
    run.add(sentinels=[row | day(1), row | {"key": '{"k":1}'}])
    assert run.read().sentinel.rows() == [(3, 1, 0.01)]


def test_episode_that_went_on_counts_once(run: RunFolder) -> None:
    """Its longest row counts, and of two as long the closed one."""
    row: Row = {
        "id": "e", "stream": "s", "key": "{}", "monitor": "feature_shift", "subject": "x",
        "open": True, "windows": 2, "alarms": 1, "peak": 9.0, "finding_id": "f", "explanation": "",
        "baseline_id": "b",
    }  # fmt: skip
    run.add(episodes=[row | {"windows": 3, "open": False}, row | {"id": "other"}])
    run.add(episodes=[row, row | {"windows": 3}])
    assert run.read().episodes.rows() == [("feature_shift", 2, 1)]


def test_run_that_grows_reads_as_one_read_at_once(run: RunFolder) -> None:
    """Tick by tick, through a compaction and revisions, the numbers are those of a fresh reader."""
    reader = RunReader()
    for tick in range(12):
        run.add(
            findings=[
                finding(subject=f"x{i}", statistic=0.1 * i + tick, alarm=tick == 5, **day(tick))
                for i in range(9)
            ],
            forecasts=[forecast(1.7 * tick, upper=3 + 0.1 * i) for i in range(tick)],
            rejects=[reject("type")] * tick,
        )
        if tick % 4 == 2:
            run.add(findings=[finding(subject="x8", revision=1, **day(tick))])
        if tick in (6, 7):
            run.compact()
        assert contents(run.read(reader)) == contents(run.read())
    assert run.read(reader).found.alarms == {"feature_shift": 1}
    assert run.read(reader).forecasts["scored"].to_list() == [66]


@pytest.mark.parametrize("name", ["a b", "d[1]", "e%20f", "*", "../up", "ünï"])
def test_folder_may_have_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Relative, or with what a pattern is made of: its parts are known again."""
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    run, reader = RunFolder(Path(name)), RunReader()
    run.add(forecasts=[forecast(1.0)]).read(reader)
    run.add(forecasts=[forecast(1.0)]).read(reader)
    kept = run.files["forecasts"][1:]
    run.files["forecasts"] = kept
    assert run.read(reader).forecasts["scored"].to_list() == [1]


def test_part_is_read_once(run: RunFolder) -> None:
    """A part that was read may go away; only new ones are opened."""
    reader = RunReader()
    run.add(findings=[finding()], forecasts=[forecast(1.0)]).read(reader)
    for path in run.folder.rglob("*.parquet"):
        path.write_bytes(b"not read")
    run.files["findings"].append("findings/new.parquet")
    table = pa.Table.from_pylist([finding(**day(1))], schema=RECORDS["findings"])
    pq.write_table(table, run.folder / "findings" / "new.parquet")
    snapshot = run.read(reader)
    assert snapshot.found.windows == 2
    assert snapshot.forecasts["scored"].to_list() == [1]


def test_failed_read_changes_nothing(run: RunFolder) -> None:
    """A part that is gone stops one read; the next one counts nothing twice."""
    reader = RunReader()
    run.add(findings=[finding(alarm=True)], forecasts=[forecast(1.0)]).read(reader)
    run.add(findings=[finding(alarm=True, **day(1))], forecasts=[forecast(1.0)])
    gone = run.folder / run.files["forecasts"][-1]
    gone.rename(gone.with_suffix(".away"))
    with pytest.raises(OSError, match="No such file"):
        run.read(reader)
    gone.with_suffix(".away").rename(gone)
    assert contents(run.read(reader)) == contents(run.read())


def test_compaction_lets_no_sum_go_down(run: RunFolder, rng: np.random.Generator) -> None:
    """Widths add up to the same number in any order: a counter never falls by a rounding."""
    reader = RunReader()
    for _ in range(20):
        uppers = rng.gamma(2, 10, 50)
        run.add(forecasts=[forecast(1.0, upper=1 + upper) for upper in uppers])
    before = run.read(reader).forecasts["width"].to_list()
    run.compact()
    assert run.read(reader).forecasts["width"].to_list() == before
