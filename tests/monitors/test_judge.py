from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitors.baseline import Baseline
from monitors.baseline_folder import load_baseline
from monitors.budget import level_per_test
from monitors.distinct import distinct_times
from monitors.forecasting import forecast_rows
from monitors.gram import profile
from monitors.judge import NO_BASELINE, judge
from monitors.summary import summarise
from monitors.window import WindowPart
from schemas.records import Finding, WindowKey
from schemas.stream import Stream
from tests.small_streams import HOURS, MOVED, MOVED_WEEK, SENSORS, Outcome, Watched
from transforms.contract import ROW


@pytest.fixture(scope="module")
def baseline(fitted: tuple[Watched, Outcome]) -> Baseline:
    """Return the baseline of the small stream."""
    return load_baseline(fitted[0].baseline)


@pytest.fixture(scope="module")
def weeks(fitted: tuple[Watched, Outcome]) -> list[pa.Table]:
    """Return the weeks of the small stream."""
    rows = pq.read_table(fitted[0].current)
    rows = rows.append_column(ROW, [np.arange(rows.num_rows)])
    return [rows.slice(start, HOURS) for start in range(0, rows.num_rows, HOURS)]


def part_of(baseline: Baseline, rows: pa.Table) -> WindowPart:
    """Return what is kept of some rows."""
    stream = baseline.stream
    scores = {
        target: forecast_rows(baseline, stream, target, rows, "{}", "file")[1]
        for target in baseline.forecasters
    }
    return WindowPart(
        profile(baseline.encoder, rows),
        summarise(rows, stream.columns),
        scores,
        distinct_times(rows["time"]),
    )


def judged(baseline: Baseline, part: WindowPart, key: str = "{}", **parts: object) -> list[Finding]:
    """Return what is found in a window, under a stream file with some parts replaced."""
    stream = Stream.model_validate(baseline.stream.model_dump() | parts)
    return list(judge(baseline, stream, WindowKey(key, None, None, 3), part))


def test_a_window_has_a_finding_per_feature_and_per_forecast_monitor(
    baseline: Baseline, weeks: list[pa.Table]
) -> None:
    """All tested, ranked, and with the window and the baseline they are about."""
    found = judged(baseline, part_of(baseline, weeks[0]))
    shifts = [item for item in found if item.monitor == "feature_shift"]
    assert sorted(item.subject for item in shifts) == list(SENSORS)
    assert [item.rank for item in shifts] == list(range(1, len(SENSORS) + 1))
    assert [(item.monitor, item.subject) for item in found[len(SENSORS) :]] == [
        ("coverage", "s1"),
        ("pinball", "s1"),
        ("pit", "s1"),
    ]
    assert {item.status for item in found} == {"tested"}
    assert {item.baseline_id for item in found} == {baseline.id}
    assert {item.window_index for item in found} == {3}
    assert {item.rows for item in found} == {HOURS}
    assert len({item.id for item in found}) == len(found)


def test_a_shuffled_sensor_is_named_in_its_week_and_in_no_other(
    baseline: Baseline, weeks: list[pa.Table]
) -> None:
    """With the sentence that says how."""
    alarms = [
        (week, item.subject, item.explanation)
        for week, rows in enumerate(weeks)
        for item in judged(baseline, part_of(baseline, rows))
        if item.alarm and item.monitor == "feature_shift"
    ]
    assert [(week, subject) for week, subject, _ in alarms] == [(MOVED_WEEK, MOVED)]
    assert alarms[0][2].startswith("no longer follows the other features")


def test_the_parts_of_a_window_are_judged_as_the_whole(
    baseline: Baseline, weeks: list[pa.Table]
) -> None:
    """Up to the rounding of sums."""
    rows = weeks[MOVED_WEEK]
    parts = [part_of(baseline, rows.slice(start, 50)) for start in range(0, HOURS, 50)]
    merged = parts[2] + (parts[0] + parts[3]) + parts[1]
    for one, other in zip(
        judged(baseline, merged), judged(baseline, part_of(baseline, rows)), strict=True
    ):
        assert (one.id, one.alarm, one.rank) == (other.id, other.alarm, other.rank)
        assert one.statistic == pytest.approx(other.statistic, rel=1e-6)


def test_the_budget_of_today_counts_not_that_of_the_fit(
    baseline: Baseline, weeks: list[pa.Table]
) -> None:
    """A budget that bears less asks for more evidence."""
    part = part_of(baseline, weeks[0])
    generous = judged(baseline, part, alarms={"false": "1 per 10 windows"})
    strict = judged(baseline, part, alarms={"false": "1 per 100000 windows"})
    for loose, tight in zip(generous, strict, strict=True):
        assert loose.threshold is not None
        assert tight.threshold is not None
        assert loose.threshold < tight.threshold


def test_monitors_that_are_off_say_nothing(baseline: Baseline, weeks: list[pa.Table]) -> None:
    """And their share of the budget goes to the others."""
    part = part_of(baseline, weeks[0])
    monitors = {"feature_shift": False, "pit": False, "expectations": False}
    found = judged(baseline, part, monitors=monitors)
    assert [item.monitor for item in found] == ["coverage", "pinball"]
    quiet = Stream.model_validate(baseline.stream.model_dump() | {"monitors": monitors})
    assert level_per_test(quiet, 1) == pytest.approx(2 * level_per_test(baseline.stream, 1))


def test_a_key_that_the_reference_lacks_is_not_tested_and_says_so(
    baseline: Baseline, weeks: list[pa.Table]
) -> None:
    """No alarm, no number, a reason."""
    found = judged(baseline, part_of(baseline, weeks[0]), key='{"site": "new"}')
    shifts = [item for item in found if item.monitor == "feature_shift"]
    assert [item.subject for item in shifts] == list(baseline.encoder.names)
    assert {(item.status, item.explanation) for item in shifts} == {("not_tested", NO_BASELINE)}
    assert all(item.statistic is item.threshold is item.rank is None for item in shifts)


def test_a_window_with_too_few_rows_is_not_tested_and_says_so(
    baseline: Baseline, weeks: list[pa.Table]
) -> None:
    """Neither by its features nor by its forecasts."""
    found = judged(baseline, part_of(baseline, weeks[0].slice(0, 10)))
    assert {item.status for item in found} == {"not_tested"}
    assert not any(item.alarm for item in found)
    assert "the window has 10 rows" in found[0].explanation


def test_rows_that_stand_there_twice_are_not_twice_the_evidence(
    baseline: Baseline, weeks: list[pa.Table]
) -> None:
    """Where the reference has one row a time, the window is not tested; elsewhere it is."""
    part = part_of(baseline, pa.concat_tables([weeks[0], weeks[0]]))
    assert {item.status for item in judged(baseline, part)} == {"not_tested"}
    several = replace(baseline, span={**baseline.span, "unique_times": False})
    assert {item.status for item in judged(several, part)} == {"tested"}
