from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from monitors.alarms.sentinel import SURE, alarms_allowed, stand_in
from monitors.baseline import Baseline
from monitors.baseline_folder import load_baseline
from schemas.records import SENTINEL, WindowKey
from tests.small_streams import HOURS, REFERENCE_WEEKS, Outcome, Watched

T0 = datetime(2024, 8, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture(scope="module")
def baseline(fitted: tuple[Watched, Outcome]) -> Baseline:
    """Return the baseline of the small stream."""
    return load_baseline(fitted[0].baseline)


def in_place_of(baseline: Baseline, week: int, rows: int = HOURS) -> dict[str, object]:
    """Return the sentinel's test in the place of a week."""
    window = WindowKey("{}", T0 + week * WEEK, T0 + (week + 1) * WEEK)
    row = stand_in(baseline, baseline.stream, window, rows, seed=1)
    assert row is not None
    return row


def test_same_window_has_the_same_stand_in_and_others_have_others(baseline: Baseline) -> None:
    """It follows from what the window is, so that a retry writes the same row; many are used."""
    weeks = [in_place_of(baseline, week) for week in range(20)]
    assert weeks == [in_place_of(baseline, week) for week in range(20)]
    assert len({row["block"] for row in weeks}) > 8
    assert set(weeks[0]) == set(SENTINEL.names)


def test_the_references_own_windows_alarm_no_more_than_allowed(baseline: Baseline) -> None:
    """All windows of the reference, against each other: that is the claim."""
    reference = baseline.references["{}"]
    own = reference.stretches(HOURS)
    found = [reference.test_own(w, level=0.05, ignore_below=0.1, seed=1)[0] for w in own]
    assert len(own) == REFERENCE_WEEKS
    assert sum(item.alarm for item in found) <= alarms_allowed(len(own), 0.05)


def test_a_change_within_the_reference_is_seen(baseline: Baseline) -> None:
    """Blocks of another law alarm against the others: the test of the stretch is the real one."""
    reference = baseline.references["{}"]
    own = reference.stretches(HOURS)[3]
    grams = reference.grams.copy()
    grams[own, 0, 1] += 1.5 * grams[own, 0, 0]
    grams[own, 1, 0] = grams[own, 0, 1]
    grams[own, 1, 1] += 3.0 * grams[own, 0, 0]
    broken = replace(reference, grams=grams)
    assert broken.test_own(own, level=0.005, ignore_below=0.1, seed=1)[0].alarm
    assert not reference.test_own(own, level=0.005, ignore_below=0.1, seed=1)[0].alarm


def test_stretches_do_not_overlap_and_are_as_long_as_the_window(baseline: Baseline) -> None:
    """Each row of the reference is in one stretch at most; half a window has half as long ones."""
    reference = baseline.references["{}"]
    for rows in (HOURS, HOURS // 2):
        own = reference.stretches(rows)
        assert max(Counter(np.concatenate(own).tolist()).values()) == 1
        assert {len(w) for w in own} == {reference.per_window * rows // HOURS}


def test_reference_without_such_a_stretch_has_no_sentinel(baseline: Baseline) -> None:
    """A window of half the reference leaves too little to compare it with."""
    window = WindowKey("{}", T0, T0 + WEEK)
    assert stand_in(baseline, baseline.stream, window, 20 * HOURS, seed=1) is None


@pytest.mark.parametrize("tests", [1, 30, 400])
@pytest.mark.parametrize("level", [0.001, 0.05])
def test_allowed_alarms_are_exceeded_once_in_a_thousand(tests: int, level: float) -> None:
    """And one fewer would be exceeded more often."""
    allowed = alarms_allowed(tests, level)
    assert stats.binom.sf(allowed, tests, level) <= SURE
    assert allowed == 0 or stats.binom.sf(allowed - 1, tests, level) > SURE
