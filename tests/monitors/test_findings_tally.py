from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from monitors import findings_tally
from monitors.findings_tally import (
    SCORE_BUCKETS,
    FindingsTally,
    FindingsView,
    Recent,
    latest_findings,
)
from schemas.records import FINDING, Finding

T0 = datetime(2013, 1, 7, tzinfo=UTC)
DAY = timedelta(days=1)
Rows = list[dict[str, object]]


def finding(**changes: Any) -> dict[str, object]:
    """Return a finding of feature_shift on x in the first day, with changes."""
    values: dict[str, Any] = {
        "stream": "s",
        "key": "{}",
        "window_start": T0,
        "window_end": T0 + DAY,
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
    }
    return Finding(**(values | changes)).as_row()


def day(number: int) -> dict[str, datetime]:
    """Return the window of a day, counted from 0."""
    return {"window_start": T0 + number * DAY, "window_end": T0 + (number + 1) * DAY}


def frame(rows: Rows) -> pl.DataFrame:
    """Return findings as a table."""
    return pl.DataFrame(pa.Table.from_pylist(rows, schema=FINDING))


def view(*batches: Rows) -> FindingsView:
    """Add findings batch by batch, and return what they say."""
    tally = FindingsTally()
    for rows in batches:
        tally.add(frame(rows))
    return tally.view()


def latest(rows: Rows) -> pl.DataFrame:
    """Return the findings of the latest windows."""
    return latest_findings(frame(rows).lazy()).collect()


def test_latest_window_is_one_for_all_keys() -> None:
    """A key that has gone silent does not keep its last alarm."""
    rows = [
        finding(key='{"k":"a"}', alarm=True),
        finding(key='{"k":"b"}', **day(3)),
        finding(key='{"k":"c"}', **day(3)),
    ]
    assert sorted(latest(rows)["key"]) == ['{"k":"b"}', '{"k":"c"}']


def test_latest_window_is_one_per_monitor() -> None:
    """A monitor whose labels come late has its own latest window."""
    rows = [finding(**day(3)), finding(monitor="coverage", subject="y", alarm=True)]
    assert sorted(latest(rows)["monitor"]) == ["coverage", "feature_shift"]


def test_latest_window_in_rows_is_one_per_key() -> None:
    """Windows counted in rows have no common clock."""
    no_time: dict[str, Any] = {"window_start": None, "window_end": None}
    rows = [
        finding(key='{"k":"a"}', window_index=0, **no_time),
        finding(key='{"k":"a"}', window_index=7, statistic=7.0, **no_time),
        finding(key='{"k":"b"}', window_index=2, statistic=2.0, **no_time),
    ]
    assert sorted(latest(rows)["statistic"]) == [2.0, 7.0]


def test_alarms_count_windows_and_not_features() -> None:
    """Three features that alarm in one window are one alarm; each key's window is its own."""
    rows = [
        *(finding(subject=name, alarm=True) for name in "xyz"),
        finding(key='{"k":"a"}', alarm=True),
        finding(alarm=True, **day(1)),
        finding(**day(2)),
    ]
    for found in (view(rows), view(*([row] for row in rows))):
        assert found.alarms == {"feature_shift": 3}
        assert found.windows == 3


def test_revised_finding_replaces_the_latest_and_takes_nothing_from_a_counter() -> None:
    """What is shown is the last revision, in whatever order they come; what was counted stays."""
    first, second = finding(statistic=9.0, alarm=True), finding(revision=1, statistic=0.4)
    for found in (view([first, second]), view([second], [first]), view([first], [second])):
        assert found.latest["statistic"].to_list() == [0.4]
        assert found.alarms == {"feature_shift": 1}
        assert found.scores_count == 2
        assert found.revised == 1
        assert found.windows == 1


def test_scores_are_a_cumulative_histogram_of_tested_features() -> None:
    """Each bucket counts the scores up to its edge; what was not tested is not counted."""
    values = [0.5, 0.7, 3.0, 3.1, 80.0]
    rows = [finding(subject=f"x{i}", statistic=value) for i, value in enumerate(values)]
    rows += [
        finding(subject="idle", status="not_tested", statistic=None),
        finding(monitor="coverage", subject="y", statistic=5.0),
    ]
    found = view(rows)
    assert found.scores == tuple(sum(value <= edge for value in values) for edge in SCORE_BUCKETS)
    assert found.scores_count == 5
    assert found.scores_sum == pytest.approx(sum(values), abs=1e-5)


def test_sum_of_scores_is_the_same_in_any_order() -> None:
    """Not only nearly: a sum that is less in its last bit is a counter that went down."""
    rows = [finding(subject=f"x{i}", statistic=0.1 * i) for i in range(50)]
    assert view(rows).scores_sum == view(*([row] for row in reversed(rows))).scores_sum


def test_watermark_is_the_end_of_the_latest_window() -> None:
    """Whichever batch it came in; a tally of nothing has none."""
    assert view([finding(**day(4))], [finding()]).watermark == T0 + 5 * DAY
    assert view().watermark is None


def test_view_stays_as_it_was() -> None:
    """Later findings do not change what was given out."""
    tally = FindingsTally()
    tally.add(frame([finding(alarm=True)]))
    before = tally.view()
    tally.add(frame([finding(alarm=True, **day(1))]))
    assert before.alarms == {"feature_shift": 1}
    assert tally.view().alarms == {"feature_shift": 2}


def test_copy_and_older_revision_are_not_new() -> None:
    """Only what is higher than all seen before is."""
    recent = Recent()
    told = [recent.is_new("a", revision) for revision in (0, 0, 2, 1, 2, 3)]
    assert told == [True, False, True, False, False, True]


def test_memory_of_findings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last ones are known, and never more than twice as many as promised."""
    monkeypatch.setattr(findings_tally, "REMEMBERED", 100)
    recent = Recent()
    for number in range(10_000):
        assert recent.is_new(number)
        assert not recent.is_new(max(0, number - 99))
        assert len(recent._young) + len(recent._old) <= 200
    assert recent.is_new(0)
