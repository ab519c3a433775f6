from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitors.attribute.attribution_findings import check_attributions, sentence, spread_rows
from monitors.attribute.feature_attributions import (
    AttributionResult,
    attribution_null,
    null_of,
)
from monitors.baseline import Baseline, check_fits, read_baseline, write_baseline
from monitors.baseline_folder import load_baseline
from monitors.budget import level_per_test
from monitors.distinct import distinct_times
from monitors.gram import profile
from monitors.judge import judge
from monitors.kept_rows import NO_ROWS, keep_rows, places_of
from monitors.summary import summarise
from monitors.window import WindowPart
from schemas.errors import BaselineError, StreamFileError
from schemas.records import Finding, WindowKey
from schemas.stream import Stream
from tests.small_streams import HOURS, ROOT, Outcome, Watched
from transforms.contract import ROW
from transforms.forecast.frame import forecast_frame
from transforms.windows import time_spans

FEATURES = ["s2", "s4", "s6"]  # of the small stream's one forecaster, of s1
ON = {"monitors": {"attributions": True, "feature_shift": False}}


@pytest.fixture(scope="module")
def baseline(fitted: tuple[Watched, Outcome]) -> Baseline:
    """Return the small stream's baseline, with the law of its attributions."""
    found = load_baseline(fitted[0].baseline)
    stream = Stream.model_validate(found.stream.model_dump() | ON)
    rows = pq.read_table(fitted[0].folder / "reference.parquet")
    frame = forecast_frame(rows, stream, stream.forecasts[0])
    one = found.forecasters["s1"]
    windows = time_spans(rows["time"], HOURS * 3600.0)
    null = attribution_null(one.model, frame, windows, FEATURES)
    return replace(found, stream=stream, forecasters={"s1": replace(one, attributions=null)})


@pytest.fixture(scope="module")
def week(fitted: tuple[Watched, Outcome]) -> pa.Table:
    """Return the first week of the small stream."""
    rows = pq.read_table(fitted[0].current).slice(0, HOURS)
    return rows.append_column(ROW, [np.arange(HOURS)])


def part_of(baseline: Baseline, rows: pa.Table, kept: int = 500) -> WindowPart:
    """Return what is kept of some rows."""
    stream = baseline.stream
    (own,) = keep_rows(rows, places_of(stream, rows), [rows.num_rows], kept, 16 * baseline.step)
    summary, times = summarise(rows, stream.columns), distinct_times(rows["time"])
    return WindowPart(profile(baseline.encoder, rows), summary, {}, times, own)


def judged(baseline: Baseline, part: WindowPart, stream: Stream | None = None) -> list[Finding]:
    """Return what this monitor finds."""
    found = judge(baseline, stream or baseline.stream, WindowKey("{}", None, None, 3), part)
    return [item for item in found if item.monitor == "attributions"]


def with_column(rows: pa.Table, name: str, values: Any) -> pa.Table:
    """Return rows with one column replaced."""
    return rows.set_column(rows.column_names.index(name), name, pa.array(values, pa.float64()))


def test_each_feature_of_a_forecaster_has_a_finding(baseline: Baseline, week: pa.Table) -> None:
    """In a clean week none alarms; they are ranked, and say which forecast they are about."""
    found = judged(baseline, part_of(baseline, week))
    assert sorted(item.subject for item in found) == FEATURES
    assert [item.rank for item in found] == [1, 2, 3]
    assert {item.status for item in found} == {"tested"}
    assert not any(item.alarm for item in found)
    assert {item.explanation for item in found} == {
        "adds to the forecast of s1 as in the reference"
    }
    assert {(item.rows, item.method) for item in found} == {(HOURS, "path_values")}


def test_a_stuck_feature_is_named_with_what_it_did_and_does(
    baseline: Baseline, week: pa.Table
) -> None:
    """It moves the forecast no more."""
    for name in FEATURES:
        stuck = with_column(week, name, np.full(HOURS, np.median(week[name].to_numpy())))
        first = judged(baseline, part_of(baseline, stuck))[0]
        assert (first.subject, first.alarm) == (name, True)
        assert "the forecast of s1 by " in first.explanation
        assert " within the window, against " in first.explanation


def test_a_feature_that_drives_the_forecast_further_is_named(
    baseline: Baseline, week: pa.Table
) -> None:
    """With how far on average, now and before."""
    moved = with_column(week, "s2", week["s2"].to_numpy() + 4.0)
    first = judged(baseline, part_of(baseline, moved))[0]
    assert (first.subject, first.alarm) == ("s2", True)
    assert first.explanation.startswith("drives the forecast of s1 by ")
    assert " on average, against " in first.explanation
    assert first.effect is not None
    assert first.effect > 0.2


NOW = "drives the forecast of y by 2.1 °F on average, against 0.9 °F before"
SIGNED = "adds +0.5 °F to the forecast of y on average, against -0.5 °F before"
SWING = "by 0 °F within the window, against 3 °F in one of the reference"


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"alarm": False}, "adds to the forecast of y as in the reference"),
        ({}, NOW),
        ({"drive": (0.9, 0.9)}, SIGNED),
        ({"passed": (False, True)}, f"moves the forecast of y {SWING}"),
        ({"passed": (True, True)}, f"{NOW}; it moves it {SWING}"),
    ],
)
def test_a_change_is_told_in_the_unit_of_the_target(parts: dict[str, Any], says: str) -> None:
    """How far a feature drives the forecast, which way, and how far it moves it in the window."""
    result = AttributionResult(
        name="x",
        evidence=5.0,
        threshold=3.0,
        p_adjusted=1e-4,
        shift=1.0,
        drive=(2.1, 0.9),
        mean=(0.5, -0.5),
        swing=(0.0, 3.0),
        passed=(True, False),
        alarm=True,
    )
    assert sentence(replace(result, **parts), "y", " °F") == says


def test_a_feature_whose_missing_values_move_the_forecast_is_tested(
    baseline: Baseline, week: pa.Table
) -> None:
    """Gaps are one value to the trees."""
    gone = with_column(week, "s4", [None] * HOURS)
    assert judged(baseline, part_of(baseline, gone))[0].subject == "s4"


def test_the_budget_is_shared_with_attributions_of_each_forecaster(baseline: Baseline) -> None:
    """One test more for each."""
    on = baseline.stream
    off = Stream.model_validate(on.model_dump() | {"monitors": {"feature_shift": False}})
    assert level_per_test(off, 1) * 3 == pytest.approx(level_per_test(on, 1) * 4)


def test_of_several_forecasts_the_one_that_a_feature_changed_most_is_told(
    baseline: Baseline, week: pa.Table
) -> None:
    """One finding for each feature, of a test that is the sum of theirs."""
    one, spec = baseline.forecasters["s1"], baseline.stream.forecasts[0]
    stuck = with_column(week, "s2", np.full(HOURS, np.median(week["s2"].to_numpy())))
    forecasts = [spec.model_dump(), spec.model_dump() | {"target": "s3"}]
    both = Stream.model_validate(baseline.stream.model_dump() | {"forecasts": forecasts})
    flat = null_of([np.zeros((HOURS, 3))] * 10, FEATURES, 1.0)
    others = {"s1": replace(one, attributions=flat), "s3": one}
    part = part_of(baseline, stuck)
    found = judged(replace(baseline, forecasters=others), part, both)
    alone = judged(baseline, part)
    assert [item.subject for item in found] == [item.subject for item in alone]
    assert "the forecast of s3" in found[0].explanation
    assert found[0].p_adjusted is not None
    assert alone[0].p_adjusted is not None
    assert found[0].p_adjusted == pytest.approx(2 * alone[0].p_adjusted, rel=1e-6)


def test_windows_that_cannot_be_tested_say_why(baseline: Baseline, week: pa.Table) -> None:
    """No rows, few rows, and a reference without the law."""
    whole = part_of(baseline, week)
    without = replace(baseline.forecasters["s1"], attributions=None)
    short = week.slice(0, HOURS // 2)
    for about, part, says in (
        (baseline, replace(whole, rows=NO_ROWS), "0 rows of the window are kept"),
        (baseline, part_of(baseline, short), "needs 126"),
        (replace(baseline, forecasters={"s1": without}), whole, "without this monitor"),
    ):
        found = judged(about, part)
        assert [item.subject for item in found] == FEATURES
        assert all(says in item.explanation for item in found)
        assert {item.status for item in found} == {"not_tested"}


def test_of_a_cut_window_one_row_of_each_stretch_is_used(
    baseline: Baseline, week: pa.Table
) -> None:
    """They are spread over the window as rows of a smaller one would be."""
    cut = part_of(baseline, week, kept=64)
    rows = spread_rows(cut)
    assert cut.rows.table.num_rows == 64
    assert 4 <= rows.num_rows <= 8
    times = rows["time"].cast(pa.int64()).to_numpy()
    assert len(np.unique(times // cut.rows.run)) == rows.num_rows
    assert spread_rows(part_of(baseline, week, kept=HOURS)).num_rows == HOURS


def test_of_a_cut_window_of_single_rows_all_are_used(baseline: Baseline, week: pa.Table) -> None:
    """Where rows share their times, each was drawn by itself."""
    shared = replace(baseline, span={**baseline.span, "step": 0})
    cut = part_of(shared, week, kept=64)
    assert cut.rows.run == 0
    assert spread_rows(cut).num_rows == 64


def test_the_law_is_kept_in_the_baseline_which_others_do_not_fit(
    baseline: Baseline, week: pa.Table, tmp_path: Path
) -> None:
    """A stream that asks for attributions needs a baseline that was fitted with them."""
    written = write_baseline(baseline, tmp_path)
    again = read_baseline(tmp_path, written.id)
    part = part_of(baseline, week)
    assert judged(again, part)[0].statistic == judged(baseline, part)[0].statistic
    off = Stream.model_validate(baseline.stream.model_dump() | {"monitors": {}})
    check_fits(again, off, tmp_path)
    with pytest.raises(BaselineError, match="attributions"):
        check_fits(replace(again, stream=off), baseline.stream, tmp_path)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"forecasts": []}, "forecasts"),
        ({"explain": {"rows": 0}}, "explain"),
        ({"columns": {"s2": {"type": "number", "role": "ignore"}}}, "'s2'"),
    ],
)
def test_a_stream_file_that_lacks_what_they_need_is_refused(
    baseline: Baseline, parts: dict[str, Any], says: str
) -> None:
    """Before anything is read; without the monitor it is fine."""
    tree = baseline.stream.model_dump()
    columns = tree["columns"] | parts.pop("columns", {})
    asked = tree | parts | {"columns": columns}
    with pytest.raises(StreamFileError, match=says):
        check_attributions(Stream.model_validate(asked))
    check_attributions(Stream.model_validate(asked | {"monitors": {}}))


def test_a_stream_without_this_monitor_does_not_load_it() -> None:
    """Nor LightGBM, when a window is judged."""
    probe = (
        "import sys, monitors.judge; "
        "print('monitors.attribute.attribution_findings' in sys.modules, 'lightgbm' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["False", "False"]
