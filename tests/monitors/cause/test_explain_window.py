"""The cause of a finding of a real run, and what is said where something is missing."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from monitors.baseline import Baseline
from monitors.cause.explain_window import (
    NO_MAP,
    NO_PART,
    NO_REFERENCE,
    NO_ROWS,
    explain_window,
)
from monitors.cause.record import Cause
from monitors.explain.conditional import conditional
from monitors.kept_rows import KeptRows
from monitors.window import WindowPart
from pipelines.causes import Causes
from pipelines.run_folder import Run, open_run
from schemas.records import Finding
from tests.small_streams import HOURS, MOVED, SENSORS, Outcome, Watched


@pytest.fixture(scope="module")
def run(finished: tuple[Watched, Outcome]) -> Run:
    """Return a run in which one sensor's week is shuffled."""
    return open_run(finished[0].run)


@pytest.fixture(scope="module")
def alarm(run: Run) -> Finding:
    """Return the alarm about that sensor."""
    found = run.table("findings").filter("alarm", monitor="feature_shift", subject=MOVED)
    return Causes(run).find(found["id"][0])


@pytest.fixture(scope="module")
def baseline(run: Run, alarm: Finding) -> Baseline:
    """Return the baseline of the run."""
    return run.baseline(alarm.baseline_id)


@pytest.fixture(scope="module")
def part(run: Run, alarm: Finding) -> WindowPart:
    """Return what is kept of the window."""
    found = run.evidence_of(alarm.as_row())
    assert found is not None
    return found


@pytest.fixture(scope="module")
def cause(run: Run, alarm: Finding) -> Cause:
    """Return the cause of the alarm."""
    return Causes(run).cause(alarm)


def test_course_is_what_was_read_beside_what_was_due(cause: Cause, part: WindowPart) -> None:
    """The observed values are the window's rows in order; a shuffled sensor is far from the due."""
    assert cause.course is not None
    assert cause.course.observed.tolist() == part.rows.table[MOVED].to_pylist()
    assert cause.course.times is not None
    assert (np.diff(cause.course.times) > 0).all()
    off = cause.course.observed - cause.course.expected
    assert np.std(off) > 2 * np.median(cause.course.spread)


def test_shift_is_told_given_the_others_and_by_itself(cause: Cause) -> None:
    """A shuffle widens what the sensor reads given the others, and leaves its own values alone."""
    assert cause.shift is not None
    assert cause.own_shift is not None
    assert cause.density is not None
    assert cause.shift.high[0] < 0 < cause.shift.low[-1]
    assert ((cause.own_shift.low < 0) & (cause.own_shift.high > 0)).all()


def test_map_moves_the_shuffled_sensor_and_explains_the_shift(cause: Cause) -> None:
    """Given the others, the first map to show moves one column and explains most."""
    assert cause.map_given_others
    chosen = cause.maps[0].steps[cause.maps[0].chosen]
    assert chosen.columns[:1] == (MOVED,)
    assert chosen.explained > 0.8
    assert cause.scales[MOVED].std > 0


def test_only_rows_since_the_change_are_compared(
    baseline: Baseline, run: Run, alarm: Finding, part: WindowPart
) -> None:
    """Rows before it would pull the quantiles to 0; with too few rows since then, all are taken."""
    assert alarm.window_end is not None
    late = dataclasses.replace(alarm, since=alarm.window_end - timedelta(hours=24))
    cause = explain_window(baseline, run.stream, late, part)
    whole = explain_window(baseline, run.stream, dataclasses.replace(alarm, since=None), part)
    assert (cause.after_since, whole.after_since) == (True, False)
    assert cause.course is not None
    assert cause.shift is not None
    off = (cause.course.observed - cause.course.expected)[-24:]
    middle = len(cause.shift.levels) // 2
    assert cause.shift.after[middle] == pytest.approx(np.median(off[np.isfinite(off)]), abs=1e-9)
    few = dataclasses.replace(alarm, since=alarm.window_end - timedelta(hours=10))
    assert not explain_window(baseline, run.stream, few, part).after_since


def test_target_of_a_forecast_is_not_off_because_a_named_sensor_is(
    baseline: Baseline, run: Run, alarm: Finding, part: WindowPart
) -> None:
    """What it should read is told by the features that were not named."""
    target = dataclasses.replace(alarm, monitor="pinball", subject="s1", alarm=False, kind=None)
    course = explain_window(baseline, run.stream, target, part, [alarm]).course
    reference = baseline.reference_of(alarm.key)
    assert course is not None
    assert reference is not None
    names, rows = baseline.encoder.names, part.rows.table
    feature, faulty = names.index("s1"), names.index(MOVED)
    law = partial(conditional, baseline.encoder, reference.total, rows, feature)
    assert np.array_equal(course.expected, law([faulty]).expected)
    assert not np.array_equal(course.expected, law([]).expected)


def test_window_as_the_reference_has_no_map(
    baseline: Baseline, run: Run, alarm: Finding, part: WindowPart
) -> None:
    """What is within chance is not called a difference that some columns explain."""
    usual = baseline.rows_of(alarm.key)
    alike = dataclasses.replace(part, rows=KeptRows(usual.num_rows, usual))
    cause = explain_window(baseline, run.stream, alarm, alike)
    assert cause.maps == ()
    assert NO_MAP in cause.notes


def test_forecasts_are_told_with_their_cost(cause: Cause) -> None:
    """The stream's forecast has its loss before and after; a target that too few independent rows
    could be asked about is left out.
    """
    (cost,) = cause.attributions
    assert (cost.target, cost.loss) == ("s1", "pinball loss")
    assert cost.before > 0
    assert cost.after is not None
    assert cause.targets == ()
    assert cause.notes == ()


def test_same_window_has_the_same_cause(cause: Cause, run: Run, alarm: Finding) -> None:
    """Nothing depends on chance: two causes of one finding are equal, number by number."""
    again = Causes(run).cause(alarm)
    assert again.maps == cause.maps
    assert again.attributions == cause.attributions
    assert again.targets == cause.targets
    assert again.density is not None
    assert cause.density is not None
    assert np.array_equal(again.density.after, cause.density.after)


def test_without_a_part_the_finding_is_still_told(
    baseline: Baseline, run: Run, alarm: Finding
) -> None:
    """Advice and a note; no picture."""
    cause = explain_window(baseline, run.stream, alarm, None)
    assert cause.notes == (NO_PART,)
    assert cause.checks
    assert (cause.course, cause.maps, cause.attributions) == (None, (), ())


def test_without_a_baseline_the_note_says_why(run: Run, alarm: Finding, part: WindowPart) -> None:
    """What the caller knows of a lost baseline is passed on."""
    cause = explain_window(None, run.stream, alarm, part, notes=["the baseline is gone"])
    assert cause.notes == ("the baseline is gone",)
    assert cause.course is None


def test_without_rows_the_profiles_explain(
    baseline: Baseline, run: Run, alarm: Finding, part: WindowPart
) -> None:
    """A window without kept rows has maps of its profile, and a note on what is not there."""
    bare = dataclasses.replace(part, rows=KeptRows(0, part.rows.table.slice(0, 0)))
    cause = explain_window(baseline, run.stream, alarm, bare)
    assert cause.notes == (NO_ROWS,)
    assert cause.course is None
    assert not cause.map_given_others
    assert cause.maps


def test_without_rows_of_the_reference_there_is_a_course(
    baseline: Baseline, run: Run, alarm: Finding, part: WindowPart
) -> None:
    """What was read and due needs the window's rows alone; the rest is noted."""
    empty = {key: table.slice(0, 0) for key, table in baseline.rows.items()}
    cause = explain_window(dataclasses.replace(baseline, rows=empty), run.stream, alarm, part)
    assert cause.course is not None
    assert cause.shift is None
    assert cause.notes == (NO_REFERENCE,)


def test_forecast_finding_has_the_cost_of_its_own_forecast(
    baseline: Baseline, run: Run, alarm: Finding, part: WindowPart
) -> None:
    """Coverage of s1 is explained by the loss of s1; advice sends to the features."""
    coverage = dataclasses.replace(alarm, monitor="coverage", subject="s1", kind=None, since=None)
    cause = explain_window(baseline, run.stream, coverage, part, [alarm])
    assert [cost.target for cost in cause.attributions] == ["s1"]
    assert "features" in cause.checks[0]
    assert [other.subject for other in cause.beside] == [MOVED]


def test_features_named_before_are_set_aside(
    baseline: Baseline, run: Run, alarm: Finding, part: WindowPart
) -> None:
    """A later name is told as it was tested: without those named before it."""
    other = next(name for name in SENSORS if name != MOVED)
    second = dataclasses.replace(alarm, subject=other, rank=2)
    alone = explain_window(baseline, run.stream, second, part)
    aside = explain_window(baseline, run.stream, second, part, [alarm, second])
    assert alone.course is not None
    assert aside.course is not None
    assert len(aside.course.expected) == HOURS
    assert not np.allclose(alone.course.expected, aside.course.expected)


def test_feature_that_is_no_number_has_no_course(
    baseline: Baseline, run: Run, alarm: Finding, part: WindowPart
) -> None:
    """A subject that the encoder does not know as a number is told without curves."""
    unknown = dataclasses.replace(alarm, subject="elsewhere")
    cause = explain_window(baseline, run.stream, unknown, part)
    assert cause.course is None
    assert isinstance(part.rows.table, pa.Table)
