"""The strongest alarms of the latest window, as series that an annotation reads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl

from monitors.alarm_series import LONGEST, alarm_series
from monitors.catalogue import CATALOGUE, PREFIX, TOP_ALARMS
from monitors.findings_tally import FindingsTally, FindingsView
from schemas.records import FINDING, Finding

SINCE = datetime(2026, 1, 3, 6, tzinfo=UTC)


def view(*changes: dict[str, Any]) -> FindingsView:
    """Return a window with a finding for each of the changes; unless they say otherwise, alarms."""
    about: dict[str, Any] = {
        "stream": "s",
        "key": "{}",
        "window_start": datetime(2026, 1, 1, tzinfo=UTC),
        "window_end": datetime(2026, 1, 8, tzinfo=UTC),
        "window_index": None,
        "monitor": "feature_shift",
        "method": "moments",
        "subject": "x",
        "status": "tested",
        "statistic": 8.0,
        "threshold": 4.0,
        "p_value": 1e-8,
        "effect": 1.0,
        "alarm": True,
        "rank": 1,
        "explanation": "is noisier",
        "rows": 100,
        "baseline_id": "b",
    }
    rows = [Finding(**(about | change)).as_row() for change in changes]
    tally = FindingsTally()
    empty = pl.DataFrame(FINDING.empty_table())
    tally.add(pl.DataFrame(rows, schema=empty.schema))
    return tally.view()


def labels(found: FindingsView, pages: str = "") -> list[dict[str, str]]:
    """Return the labels of the series, by name."""
    metric = next(metric for metric in CATALOGUE if metric.name == PREFIX + "alarm_info")
    series = list(alarm_series(found, ["feature_shift", "coverage"], pages))
    assert {(name, value) for name, _, value in series} <= {("alarm_info", 1.0)}
    return [dict(zip(metric.labels[1:], values, strict=True)) for _, values, _ in series]


def test_alarm_is_told_with_its_time_kind_and_page() -> None:
    """The sentence follows the subject's name, its time is a label of its own, the page a link."""
    says = {"explanation": "reads 3.1 °C high, since 3 Jan 06:00", "kind": "offset", "since": SINCE}
    found = view(says, {"subject": "y", "alarm": False})
    (told,) = labels(found, "https://e.example/findings/")
    assert told["subject"] == "x"
    assert told["explanation"] == "reads 3.1 °C high"
    assert (told["kind"], told["since"]) == ("offset", "2026-01-03 06:00 UTC")
    assert told["page"] == f"https://e.example/findings/{told['finding']}"
    assert (told["key"], told["rank"]) == ("", "1")


def test_first_alarm_of_every_monitor_comes_before_the_second_of_any() -> None:
    """Of seven features and a forecast, the forecast is among the five that are told."""
    features = [{"subject": f"x{i}", "statistic": 10.0 + i} for i in range(7)]
    forecast = {"subject": "y", "monitor": "coverage", "statistic": 4.1}
    told = labels(view(*features, forecast))
    assert len(told) == TOP_ALARMS
    assert [(row["monitor"], row["subject"], row["rank"]) for row in told] == [
        ("feature_shift", "x6", "1"),
        ("coverage", "y", "1"),
        ("feature_shift", "x5", "2"),
        ("feature_shift", "x4", "3"),
        ("feature_shift", "x3", "4"),
    ]


def test_series_go_when_the_next_window_is_quiet() -> None:
    """Alarms of a window that is no longer the latest are told no more."""
    later = {
        "window_start": datetime(2026, 1, 8, tzinfo=UTC),
        "window_end": datetime(2026, 1, 15, tzinfo=UTC),
    }
    assert labels(view({}, later | {"alarm": False})) == []
    assert len(labels(view({}))) == 1


def test_labels_are_bounded() -> None:
    """A long explanation is cut, so that a label has an end."""
    (told,) = labels(view({"explanation": "x" * 5000, "key": '{"k": "A"}'}))
    assert len(told["explanation"]) == LONGEST
    assert told["explanation"].endswith("…")
    assert told["key"] == '{"k": "A"}'
