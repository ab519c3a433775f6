"""Says in one sentence what a marginal monitor saw, in the feature's unit."""

from __future__ import annotations

import numpy as np

from monitors.encoder import Coding, FloatArray
from monitors.feature_shift.locate import Evidence
from monitors.marginals.counted import Counted
from monitors.marginals.histograms import CELLS, VALUES, Bins
from monitors.marginals.statistics import DISTANCES
from schemas.monitors import Marginal

_OUTSIDE = 0.5  # of the values beyond an end of the range: where, the histogram does not say
_WIDER = 1.2  # times: a change of the middle half worth naming


def distance_sentence(
    monitor: str, item: Evidence, bins: Bins, reference: FloatArray, window: FloatArray, unit: str
) -> str:
    """Return a sentence about one feature from its histograms, both of shape (features, WIDTH)."""
    j = item.feature
    says = f"{DISTANCES[monitor].name} {item.effect:.2g}"
    if not item.alarm:
        return f"{says}: about as in the reference"
    before, now = (side[j, :CELLS] / side[j, :CELLS].sum() for side in (reference, window))
    coding = bins.features[j]
    if not coding.knots:
        return f"{says}: {_category(coding, before, now)}"
    for cell, side, end in ((-1, "above", coding.knots[-1]), (0, "below", coding.knots[0])):
        if now[cell] >= _OUTSIDE:
            share = _percent(now[cell])
            return f"{says}: {share} of the values {side} {end:.3g}{unit}, the reference's end"
    return f"{says}: {_quartiles(bins.positions[j], before, now, unit)}"


def counted_sentence(monitor: Marginal, item: Counted, coding: Coding, unit: str) -> str:
    """Return a sentence about one count, with the 95 % interval of its rate."""
    low, high = item.law.interval(item.count, item.rows)
    about = f"(95 % interval {_percent(low)} to {_percent(high)})"
    of = f"{item.count:,} of {item.rows:,}"
    if monitor == "missing_rate":
        before = item.law.events / item.law.rows
        return f"missing in {of} rows {about}, against {_percent(before)} in the reference"
    expected = f"against {_percent(item.expected)} expected"
    if monitor == "new_category":
        return f"{of} rows hold a value new to the reference {about}, {expected}"
    span = f"{coding.knots[0]:.3g} to {coding.knots[-1]:.3g}{unit}"
    return f"{of} values outside {span}, the reference's range {about}, {expected}"


def _quartiles(positions: FloatArray, before: FloatArray, now: FloatArray, unit: str) -> str:
    p, q = (
        np.interp([0.25, 0.5, 0.75], np.cumsum(side) - side / 2, positions)
        for side in (before, now)
    )
    says = f"median {q[1]:.3g}{unit} against {p[1]:.3g}{unit} in the reference"
    widths = q[2] - q[0], p[2] - p[0]
    if min(widths) > 0 and not 1 / _WIDER < widths[0] / widths[1] < _WIDER:
        word, factor = ("wider", widths[0] / widths[1])
        if factor < 1:
            word, factor = "narrower", 1 / factor
        says += f", the middle half {factor:.1f} times {word}"
    return says


def _category(coding: Coding, before: FloatArray, now: FloatArray) -> str:
    most = int(np.argmax(np.abs(now - before)))
    name = "other values"
    if most == 0:
        name = "values new to the reference"
    elif most <= min(VALUES, len(coding.values)):
        name = repr(coding.values[most - 1])
    share = f"{_percent(now[most])} of the values, against {_percent(before[most])}"
    return f"{name} in {share} in the reference"


def _percent(share: float) -> str:
    """Return a share in percent, to two digits."""
    percent = 100.0 * share
    if percent >= 99.5:
        return "100 %" if share == 1 else f"{percent:.1f} %"
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.2g} %"
