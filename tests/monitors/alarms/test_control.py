from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from monitors.alarms.control import control, subject_p
from monitors.alarms.online_fdr import ELond
from schemas.stream import Stream
from tests.monitors.alarms.findings import finding, frame, stream_of, untested

FDR = {"false": "10 % of alarms", "control": "fdr"}
E_DETECTOR = {"false": "1 per 1000 windows", "control": "e-detector"}


def alarmed(rows: pl.DataFrame) -> list[tuple[int, str]]:
    """Return day and subject of each alarm."""
    days = pl.col("window_start").dt.day() - 1
    return rows.filter("alarm").select(days, "subject").rows()


def decided(rows: pl.DataFrame, stream: Stream, keys: int) -> pl.DataFrame:
    """Return the findings as a stream's first run leaves them."""
    return control(rows, stream, keys)[0]


def features(day: int, *p: float, **changes: Any) -> list[dict[str, Any]]:
    """Return the findings of one test: a p-value per feature, adjusted by Bonferroni."""
    return [
        finding(day, value, subject=name, p_adjusted=min(1.0, value * len(p)), **changes)
        for name, value in zip("xyz", p, strict=False)
    ]


def test_window_control_leaves_the_alarms() -> None:
    """What the windows say by themselves stays."""
    rows = frame([*features(1, 1e-9, 0.3), *features(0, 0.3, 0.4)])
    assert_frame_equal(decided(rows, stream_of(), 1), rows.sort("window_start", "rank", "subject"))


def test_fdr_moves_the_threshold_with_what_was_found() -> None:
    """The first test has E-LOND's first cutoff; a rejection makes the next less strict."""
    rows = [row for day, p in enumerate((0.5, 1e-30, 0.5)) for row in features(day, p, 0.5)]
    found = decided(frame(rows), stream_of(**FDR), 1)
    state = ELond(0.1)
    for day, rejected in enumerate((False, True, False)):
        own = found[2 * day : 2 * day + 2]
        assert 10 ** -own["threshold"][0] == pytest.approx(state.cutoff)
        assert own["threshold"].n_unique() == 1
        state = state.after(rejected=rejected)
    assert alarmed(found) == [(1, "x")]


def test_fdr_silences_what_a_window_alone_would_name() -> None:
    """A p-value of one in 2,000 is an alarm of its window, and not of the stream."""
    found = decided(frame([finding(day, 5e-4) for day in range(5)]), stream_of(**FDR), 1)
    assert alarmed(found) == []
    assert (found["statistic"] < found["threshold"]).all()


def test_evidence_adds_up_in_the_e_detector() -> None:
    """Ten windows at p = 0.01, none an alarm by itself, alarm; and the count begins again."""
    rows = [finding(day, 0.01) for day in range(12)]
    found = decided(frame(rows), stream_of(**E_DETECTOR), 1)
    days = [day for day, _ in alarmed(found)]
    assert not any(row["alarm"] for row in rows)
    assert 1 < days[0] < 6
    assert days[1] == 2 * days[0] + 1
    assert found["threshold"].unique().to_list() == [pytest.approx(3.0)]
    before = found["statistic"][: days[0]]
    assert before.is_sorted()


def test_e_detector_names_the_strongest_feature() -> None:
    """Features share the budget; of several that pass, those that the window does not name wait."""
    rows = [row for day in range(4) for row in features(day, 0.002, 1e-3, 0.6)]
    found = decided(frame(rows), stream_of(**E_DETECTOR), 1)
    assert {name for _, name in alarmed(found)} == {"y"}
    assert found["threshold"][0] == pytest.approx(3.4771, abs=1e-3)  # log10 of 3 x 1,000


def test_each_key_and_monitor_has_an_e_detector_of_its_own() -> None:
    """Evidence about one key says nothing of another, and they share the budget."""
    rows = [finding(day, 0.01, key=f'{{"k":{day % 4}}}') for day in range(12)]
    found = decided(frame(rows), stream_of(**E_DETECTOR), 4)
    assert alarmed(found) == []
    assert found["threshold"][0] == pytest.approx(3.602, abs=1e-3)  # log10 of 4 x 1,000


@pytest.mark.parametrize("alarms", [FDR, E_DETECTOR])
def test_effect_that_does_not_matter_is_no_alarm(alarms: dict[str, str]) -> None:
    """Whatever the evidence."""
    rows = [finding(day, 1e-40, effect=0.05) for day in range(3)]
    assert alarmed(decided(frame(rows), stream_of(**alarms), 1)) == []


@pytest.mark.parametrize("alarms", [FDR, E_DETECTOR])
def test_untested_windows_change_nothing(alarms: dict[str, str]) -> None:
    """What was not tested has no statistic and no alarm, and the others are as without it."""
    tested = [finding(day, 0.01) for day in (0, 2, 4, 6)]
    with_gaps = [*tested, *(untested(day) for day in (1, 3, 5))]
    found = decided(frame(with_gaps), stream_of(**alarms), 1)
    assert found.filter(status="not_tested")["statistic"].is_null().all()
    without = decided(frame(tested), stream_of(**alarms), 1)
    assert_frame_equal(found.filter(status="tested"), without)


@pytest.mark.parametrize("alarms", [FDR, E_DETECTOR])
def test_order_of_the_rows_does_not_matter(alarms: dict[str, str]) -> None:
    """Workers write their findings in any order."""
    rows = [row for day in range(6) for row in features(day, 1e-3 / (day + 1), 0.2, 0.7)]
    found = decided(frame(rows), stream_of(**alarms), 1)
    assert_frame_equal(found, decided(frame(rows[::-1]), stream_of(**alarms), 1))


def test_monitor_without_adjusted_p_values_pays_bonferroni() -> None:
    """The p-value of a subject times the subjects of its test."""
    rows = [row | {"p_adjusted": None} for row in features(0, 1e-9, 0.5)]
    with_it = features(0, 1e-9, 0.5)
    found = decided(frame(rows), stream_of(**FDR), 1)["statistic"]
    assert found.to_list() == decided(frame(with_it), stream_of(**FDR), 1)["statistic"].to_list()


def test_subject_p_inverts_sidak() -> None:
    """The smallest of ten independent p-values of 0.01 has 0.0956."""
    assert subject_p(1 - 0.99**10, 10) == pytest.approx(0.01)
    assert subject_p(1e-200, 10) == pytest.approx(1e-201)
    assert subject_p(1.0, 10) == 1.0


@pytest.mark.parametrize("alarms", [FDR, E_DETECTOR])
def test_findings_may_come_run_by_run(alarms: dict[str, str]) -> None:
    """The state takes over: two runs decide what one does, and it survives as JSON."""
    rows = [row for day in range(12) for row in features(day, 4e-3, 0.2, 0.7)]
    whole = decided(frame(rows), stream_of(**alarms), 1)
    first, state = control(frame(rows[:15]), stream_of(**alarms), 1)
    state = json.loads(json.dumps(state))
    second, _ = control(frame(rows[15:]), stream_of(**alarms), 1, state)
    assert_frame_equal(pl.concat([first, second]), whole)


@pytest.mark.parametrize("alarms", [FDR, E_DETECTOR])
def test_a_revised_window_is_not_counted_again(alarms: dict[str, str]) -> None:
    """Late rows change what is said of a window, not what was decided, nor the state."""
    first, state = control(frame(features(0, 1e-30, 0.5)), stream_of(**alarms), 1)
    revised = frame(features(0, 0.5, 0.5)).with_columns(revision=pl.lit(1, pl.Int64))
    again, after = control(revised, stream_of(**alarms), 1, state, first)
    assert after == state
    assert alarmed(again) == alarmed(first) == [(0, "x")]
    assert again["p_value"].to_list() == [0.5, 0.5]
