"""The findings of the monitor of feature attributions about one window of one key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from monitors.attribute.feature_attributions import (
    FEWEST_ROWS,
    FEWEST_WINDOWS,
    AttributionNull,
    AttributionResult,
    compare_attributions,
    watched_values,
)
from schemas.errors import StreamFileError
from schemas.forecasts import ForecastSpec
from schemas.records import Finding, not_tested
from schemas.stream import Stream
from transforms.forecast.frame import forecast_frame

if TYPE_CHECKING:
    from monitors.baseline import Baseline, Forecaster
    from monitors.window import WindowPart

MONITOR = "attributions"
LEAST_SHARE = 0.75  # of a window of the reference: what a feature does in a day is not its week
_LEAST_P = 5e-324
_CHANGED = 1.1  # times: a change of the mean size worth naming


def watched_features(stream: Stream, spec: ForecastSpec) -> list[str]:
    """Return the columns a forecaster reads; conditions, lags and the calendar are never blamed."""
    conditions = {*stream.with_role("condition"), *stream.lagged}
    return [name for name in stream.forecast_features(spec) if name not in conditions]


def check_attributions(stream: Stream) -> None:
    """Refuse a stream file that asks for this monitor, and lacks what it needs.

    Raises
    ------
    StreamFileError
        When nothing is forecast, no rows are kept, or a forecaster reads a column that is not kept.
    """
    if not stream.monitors.attributions:
        return
    if not stream.forecasts:
        raise StreamFileError("monitors: attributions: nothing is forecast; add `forecasts`")
    if not stream.explain.rows:
        raise StreamFileError(
            "monitors: attributions: they are of the rows kept of a window, and `explain: "
            "{rows: 0}` keeps none; give it some, such as 500"
        )
    for spec in stream.forecasts:
        for name in stream.forecast_features(spec):
            if name in stream.columns and stream.columns[name].role == "ignore":
                raise StreamFileError(
                    f"monitors: attributions: the forecast of {spec.target!r} reads {name!r}, "
                    f"whose rows are not kept since it has `role: ignore`; give it another role"
                )


def attribution_findings(
    baseline: Baseline,
    stream: Stream,
    about: Mapping[str, Any],
    part: WindowPart,
    level: float,
    repeated: str | None,
) -> Iterator[Finding]:
    """Yield one finding for each feature of a forecaster: that of the target where it says most.

    Parameters
    ----------
    level : probability of any alarm of one forecaster when nothing changed.
    about : what all findings of the window have in common.
    repeated : why nothing can be tested; None when it can.
    """
    rows = spread_rows(part)
    shared = dict(about) | {"monitor": MONITOR, "method": "path_values", "rows": rows.num_rows}
    best: dict[str, tuple[AttributionResult, ForecastSpec]] = {}
    untested: dict[str, str] = {}
    tested = 0  # forecasters: the findings of all of them are one test to `alarms`
    for spec in stream.forecasts:
        if spec.ahead is not None:
            continue
        forecaster = baseline.forecasters[spec.target]
        names = watched_features(stream, spec)
        null = forecaster.attributions
        reason = repeated or _too_few(baseline, about["key"], part, rows, null)
        if null is None or reason is not None:
            untested |= dict.fromkeys(names, str(reason))
            continue
        tested += 1
        untested |= dict.fromkeys(
            names, f"not tested: the forecaster of {spec.target} hardly uses it"
        )
        for result in _results(forecaster, null, rows, stream, spec, level):
            known = best.get(result.name)
            if known is None or result.p_adjusted < known[0].p_adjusted:
                best[result.name] = result, spec
    ranked = sorted(best.values(), key=lambda item: (item[0].p_adjusted, -item[0].evidence))
    for rank, (result, spec) in enumerate(ranked, start=1):
        yield Finding(
            **shared,
            subject=result.name,
            status="tested",
            statistic=result.evidence,
            threshold=result.threshold,
            p_value=max(10.0**-result.evidence, _LEAST_P),
            effect=result.shift,
            alarm=result.alarm,
            rank=rank,
            explanation=sentence(result, spec.target, _unit(stream, spec.target)),
            p_adjusted=min(1.0, result.p_adjusted * tested),
        )
    for name, why in untested.items():
        if name not in best:
            yield not_tested(shared, name, why)


def spread_rows(part: WindowPart) -> pa.Table:
    """Return the rows kept of a window, spread over it as those of the reference's windows are.

    Of a window with more rows than are kept, whole stretches are: rows that follow each other are
    alike, and all rows of few stretches would look like a window unlike the others. One of each
    stretch is used.
    """
    kept = part.rows
    if part.profile.rows <= kept.capacity or not kept.capacity or not kept.run:
        return kept.table  # all rows, none, or single ones
    _, first = np.unique(kept.places // kept.run, return_index=True)
    return kept.table.take(pa.array(first))


def sentence(result: AttributionResult, target: str, unit: str) -> str:
    """Say what a feature does to the forecast, and what it did in the reference."""
    forecast = f"the forecast of {target}"
    if not result.alarm:
        return f"adds to {forecast} as in the reference"
    shifted, swung = result.passed
    now, before = result.swing
    swing = (
        f"by {now:.2g}{unit} within the window, against {before:.2g}{unit} in one of the reference"
    )
    if not shifted:
        return f"moves {forecast} {swing}"
    now, before = result.drive
    if before == 0 or not 1 / _CHANGED < now / before < _CHANGED:
        says = f"drives {forecast} by {now:.2g}{unit} on average, against {before:.2g}{unit} before"
    else:
        now, before = result.mean
        says = f"adds {now:+.2g}{unit} to {forecast} on average, against {before:+.2g}{unit} before"
    return f"{says}; it moves it {swing}" if swung else says


def _results(
    forecaster: Forecaster,
    null: AttributionNull,
    rows: pa.Table,
    stream: Stream,
    spec: ForecastSpec,
    level: float,
) -> list[AttributionResult]:
    frame = forecast_frame(rows, stream, spec)
    values = watched_values(forecaster.model, frame, null.names)
    return compare_attributions(values, null, level)


def _too_few(
    baseline: Baseline, key: str, part: WindowPart, rows: pa.Table, null: AttributionNull | None
) -> str | None:
    """Say why a window's attributions cannot be tested; None when they can."""
    if null is None:
        return "not tested: the baseline was fitted without this monitor"
    if null.law.windows < FEWEST_WINDOWS:
        return (
            f"not tested: the reference has {null.law.windows:.0f} windows with rows enough, "
            f"at least {FEWEST_WINDOWS} are needed"
        )
    if rows.num_rows < FEWEST_ROWS:
        return (
            f"not tested: {rows.num_rows} rows of the window are kept, at least {FEWEST_ROWS} "
            f"are needed"
        )
    reference = baseline.reference_of(key)
    needed = 0.0 if reference is None else LEAST_SHARE * reference.window_rows
    if part.profile.rows < needed:
        return (
            f"not tested: the window has {part.profile.rows:,} rows, and a comparison of "
            f"attributions needs {needed:,.0f}"
        )
    return None


def _unit(stream: Stream, target: str) -> str:
    unit = stream.columns[target].unit
    return f" {unit}" if unit else ""
