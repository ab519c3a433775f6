"""Puts the cause of one finding together, from what is kept of its window and of the reference.

Everything comes from the window's Gram matrix and a bounded number of rows on both sides: the cost
depends on neither the rows of the window nor those of the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.attribute.attribute import attribute
from monitors.attribute.attribution import Attribution
from monitors.attribute.forecast_loss import forecast_loss, held_out_loss
from monitors.baseline import Baseline
from monitors.budget import FORECAST_MONITORS
from monitors.cause.checks import checks
from monitors.cause.density import densities
from monitors.cause.matching import matched
from monitors.cause.quantile_shift import LEAST_ROWS, quantile_shift
from monitors.cause.record import Cause, Scale
from monitors.cause.residuals import residual_table
from monitors.cause.similar import shift_of, similar_shifts
from monitors.encoder import FloatArray
from monitors.explain.conditional import Conditional, conditional, numbers
from monitors.explain.maps import ShiftMap, sentence
from monitors.explain.profile_maps import profile_maps
from monitors.explain.row_maps import shift_maps
from monitors.feature_shift.reference import Reference
from monitors.summary import TableSummary, summarise
from monitors.target_shift.hypotheses import target_shift
from monitors.target_shift.verdict import TargetShift
from monitors.window import WindowPart
from schemas.errors import TidegaugeError
from schemas.forecasts import ForecastSpec
from schemas.records import Finding, WindowKey
from schemas.stream import Stream

SEED = 20_260_102  # of samples and permutations: the same window has the same cause
NO_PART = "nothing of this window is kept: only windows with an alarm are"
OF_ALL_KEYS = (
    "pictures of all keys together: rows are kept by key; explain the alarm of one key of this "
    "window"
)
NO_ROWS = (
    "no rows of this window are kept (`explain: {rows: 0}` in the stream file, or an older run), "
    "so there is no curve over time"
)
NO_REFERENCE = "the baseline keeps no rows of this key; fit it anew for what was usual before"
NO_MAP = (
    "a map: the numbers of this window, given the others, differ from the reference by no more "
    "than two samples of it would"
)

MOST_BESIDE = 20  # alarms of one window: of all keys together there may be thousands
MOST_FORECASTS = 3  # of one finding: each costs a fit of its mechanisms

_Found = TypeVar("_Found")


@dataclass(slots=True)
class _Notes:
    """What could not be computed, and why."""

    said: list[str] = field(default_factory=list)

    def __call__(self, text: str) -> None:
        if text not in self.said:
            self.said.append(text)

    def attempt(self, what: str, compute: Callable[[], _Found]) -> _Found | None:
        """Return what is computed; None and a note where the data do not allow it."""
        try:
            return compute()
        except TidegaugeError as error:
            self(f"{what}: {error}")
            return None


def explain_window(
    baseline: Baseline | None,
    stream: Stream,
    finding: Finding,
    part: WindowPart | None,
    window: Sequence[Finding] = (),
    shifts: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
) -> Cause:
    """Return the cause of a finding.

    Parameters
    ----------
    baseline : the one that judged the window; None where it is gone.
    part : what is kept of the window; None where nothing is.
    window : all findings of the window of this key.
    shifts : rows of `schemas.records.EPISODE`, of this and of earlier windows.
    notes : why there is no baseline, or no part.
    """
    say = _Notes(list(notes))
    shift = shift_of(finding, shifts)
    column = stream.columns.get(finding.subject)
    of_forecast = finding.monitor in FORECAST_MONITORS
    cause = Cause(
        finding=finding,
        unit=None if column is None else column.unit,
        since=finding.since if shift is None else shift["since"],
        first_window=None if shift is None else _first_window(shift),
        beside=[other for other in window if other.alarm and other.id != finding.id][:MOST_BESIDE],
        similar=similar_shifts(finding, shifts),
        checks=checks(finding.kind, of_forecast=of_forecast),
    )
    if part is None and not say.said:
        say(NO_PART)
    if baseline is not None and part is not None:
        cause = _with_window(cause, baseline, stream, part, window, say)
    return replace(cause, notes=tuple(say.said))


def _first_window(shift: Mapping[str, Any]) -> WindowKey:
    return WindowKey(shift["key"], shift["start"], None, shift["start_index"])


def _with_window(
    cause: Cause,
    baseline: Baseline,
    stream: Stream,
    part: WindowPart,
    window: Sequence[Finding],
    say: _Notes,
) -> Cause:
    key = cause.finding.key
    reference = baseline.reference_of(key)
    rows, before = part.rows.table, baseline.rows_of(key)
    if rows.num_rows < cause.finding.rows:
        cause = replace(cause, kept_rows=rows.num_rows)
    if not rows.num_rows:
        say(NO_ROWS)
    elif not before.num_rows:
        say(NO_REFERENCE)
    if reference is not None:
        cause = _with_conditional(cause, baseline, stream, reference, (before, rows), window)
        cause = _with_maps(cause, baseline, stream, reference, part, window, say)
    return _with_forecasts(cause, baseline, stream, part, window, say)


def _with_conditional(
    cause: Cause,
    baseline: Baseline,
    stream: Stream,
    reference: Reference,
    rows: tuple[pa.Table, pa.Table],
    window: Sequence[Finding],
) -> Cause:
    """Add what the subject read and should have read, before and after.

    Parameters
    ----------
    rows : of the reference and of the window.
    """
    usual, now = rows
    names = baseline.encoder.names
    subject = cause.finding.subject
    if subject not in names or not now.num_rows:
        return cause
    feature = names.index(subject)
    if baseline.encoder.features[feature].kind != "numeric":
        return cause
    aside = [names.index(name) for name in _named_before(cause.finding, window) if name in names]
    time = None if stream.time is None else stream.time.column
    law = partial(conditional, baseline.encoder, reference.total, feature=feature, set_aside=aside)
    course = law(now, time=time)
    if not usual.num_rows:
        return replace(cause, course=course)
    since = _since(cause, course)
    later = now.filter(pa.array(since))
    before, after = _residual(law(usual)), _residual(course)[since[_is_known(course)]]
    own = [_known(numbers(table, subject)) for table in (matched(usual, later, stream), later)]
    return replace(
        cause,
        course=course,
        after_since=not since.all(),
        density=densities(before, after),
        shift=quantile_shift(before, after),
        own_shift=quantile_shift(*own),
    )


def _named_before(finding: Finding, window: Sequence[Finding]) -> Iterator[str]:
    """Yield the features that say nothing of what the subject should read.

    Those that were set aside when it was tested; of a forecast, all that were named: its target is
    not off because a sensor beside it is.
    """
    if finding.monitor in FORECAST_MONITORS:
        yield from (name for name in _shifted(window) if name != finding.subject)
    for other in window:
        same = other.monitor == finding.monitor and other.alarm and finding.alarm
        if same and (other.rank or 0) < (finding.rank or 0):
            yield other.subject


def _known(values: FloatArray) -> FloatArray:
    return values[np.isfinite(values)]


def _residual(found: Conditional) -> FloatArray:
    return (found.observed - found.expected)[_is_known(found)]


def _is_known(found: Conditional) -> NDArray[np.bool_]:
    return np.isfinite(found.observed - found.expected)


def _since(cause: Cause, course: Conditional) -> NDArray[np.bool_]:
    """Return which rows came since the change; all of them where too few or none are known to."""
    everything = np.ones(len(course.observed), dtype=np.bool_)
    if cause.since is None or course.times is None:
        return everything
    later = course.times >= cause.since.timestamp() * 1e6
    enough = np.count_nonzero(later & _is_known(course)) >= LEAST_ROWS
    return np.asarray(later) if enough else everything


def _with_maps(
    cause: Cause,
    baseline: Baseline,
    stream: Stream,
    reference: Reference,
    part: WindowPart,
    window: Sequence[Finding],
    say: _Notes,
) -> Cause:
    """Add the maps: of what the features read given the others, or of the profiles without rows."""
    encoder, rows = baseline.encoder, part.rows.table
    before = baseline.rows_of(cause.finding.key)
    named = [encoder.names.index(name) for name in _shifted(window) if name in encoder.names]

    given_others = bool(rows.num_rows and before.num_rows)
    if given_others:
        usual, now = (
            residual_table(encoder, reference.total, table, named) for table in (before, rows)
        )
        summary = summarise(usual, {name: stream.columns[name] for name in usual.column_names})
        compute = partial(shift_maps, usual, now, stream.columns, usual.column_names, seed=SEED)
    else:
        summary = baseline.summary
        compute = partial(profile_maps, encoder, reference.total, part.profile, stream.columns)
    found: tuple[ShiftMap, ...] = say.attempt("maps", compute) or ()
    if found and found[0].noise >= found[0].total:
        say(NO_MAP)
        found = ()
    return replace(
        cause,
        maps=found,
        map_sentence=sentence(found[0], stream.columns) if found else None,
        map_given_others=given_others,
        scales=_scales(found[0], summary, stream) if found else {},
    )


def _shifted(window: Sequence[Finding]) -> list[str]:
    """Return the features that were named in a window, in the order of naming."""
    found = [other for other in window if other.monitor == "feature_shift" and other.alarm]
    return [other.subject for other in sorted(found, key=lambda other: other.rank or 0)]


def _scales(found: ShiftMap, summary: TableSummary, stream: Stream) -> dict[str, Scale]:
    """Return where the columns of a map were in the reference."""
    scales = {}
    for name in found.steps[found.chosen].columns:
        own = summary.columns.get(name)
        if own is not None and own.mean is not None and own.std:
            column = stream.columns.get(name)
            scales[name] = Scale(own.mean, own.std, None if column is None else column.unit)
    return scales


def _with_forecasts(
    cause: Cause,
    baseline: Baseline,
    stream: Stream,
    part: WindowPart,
    window: Sequence[Finding],
    say: _Notes,
) -> Cause:
    """Add what the shift cost the forecasts, and whether their targets moved."""
    rows, before = part.rows.table, baseline.rows_of(cause.finding.key)
    if not rows.num_rows or not before.num_rows:
        return cause
    named = _shifted(window)
    attributions: list[Attribution] = []
    targets: list[TargetShift] = []
    for spec in _forecasts_of(cause.finding, stream):
        target = spec.target
        if target not in baseline.forecasters:
            continue
        column = stream.columns[target]
        cost = say.attempt(
            f"the cost to the forecast of {target}",
            partial(
                attribute,
                before,
                rows,
                forecast_loss(baseline, stream, target),
                target,
                stream.columns,
                named=named,
                graph=stream.explain.graph,
                unit=column.unit,
                loss_name="pinball loss",
                seed=SEED,
                # Of a stream with keys it is the loss of all of them, and says nothing of one.
                held_out=None if stream.key else held_out_loss(baseline, target),
            ),
        )
        moved = say.attempt(
            f"whether {target} itself moved",
            partial(
                target_shift,
                before,
                rows,
                target,
                stream.forecast_features(spec),
                seed=SEED,
            ),
        )
        attributions += [] if cost is None else [cost]
        if moved is not None and moved.p_target is not None:  # else too few rows to test
            targets.append(moved)
    return replace(cause, attributions=tuple(attributions), targets=tuple(targets))


def _forecasts_of(finding: Finding, stream: Stream) -> Sequence[ForecastSpec]:
    """Return the forecasts that a finding concerns: its own, or the first of the stream."""
    own = [spec for spec in stream.forecasts if spec.target == finding.subject]
    if finding.monitor in FORECAST_MONITORS:
        return own
    return stream.forecasts[:MOST_FORECASTS]
