"""Says in one sentence how a feature moved, from the Gram matrices alone, in the feature's unit.

The feature's linear term is regressed on all other basis columns, on the reference and on the
window. With r the reference's residual: its mean in the window says how far off the feature reads
given the others, its variance how much noisier, and the window's own R² whether it follows the
others at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from monitors.encoder import Coding, Encoder, FloatArray
from monitors.feature_shift.likelihood_ratio import RIDGE
from monitors.feature_shift.locate import Evidence
from monitors.gram import Profile, moments
from schemas.stream import Column

_FOLLOWS = 0.3  # an R² below it is no dependence worth naming
_KEPT = 0.87  # of the residual variance: 1.3 where all of an R² of 0.3 is lost, halfway to 1
_OUTSIDE = 2.8  # a mean score beyond it: nearly all values are at the ends of the quantile table
_QUARTILE_SCORE = 0.6745


def explain(
    evidence: Evidence,
    encoder: Encoder,
    reference: Profile,
    window: Profile,
    columns: Mapping[str, Column],
    set_aside: Sequence[int] = (),
) -> str:
    """Return a sentence about one feature.

    Parameters
    ----------
    set_aside : features already named; they do not explain this one.
    """
    coding = encoder.features[evidence.feature]
    if evidence.kind == "missing":
        now, before = _rate(window, evidence.feature, 0), _rate(reference, evidence.feature, 0)
        return f"missing in {now} of the rows, against {before} in the reference"
    if evidence.kind == "unseen":
        kept = "its one value" if coding.kind == "constant" else "a value the reference has"
        return f"{_rate(window, evidence.feature, 1)} of the rows do not hold {kept}"
    if not evidence.alarm:
        return "as in the reference, given the other features"
    return _conditional_sentence(
        evidence.feature, coding, encoder, reference, window, columns, set_aside
    )


def _rate(profile: Profile, feature: int, kind: int) -> str:
    return f"{profile.counts[feature, kind] / profile.rows:.1%}".replace("%", " %")


def _conditional_sentence(
    feature: int,
    coding: Coding,
    encoder: Encoder,
    reference: Profile,
    window: Profile,
    columns: Mapping[str, Column],
    set_aside: Sequence[int],
) -> str:
    group = encoder.groups[feature]
    if coding.kind == "category":
        return _category_sentence(group, coding, encoder, reference, window)
    column = columns.get(coding.name)
    unit = f" {column.unit}" if column is not None and column.unit else ""
    own = int(group[0])
    excluded = np.concatenate([group, *(encoder.groups[j] for j in set_aside)])
    others = np.setdiff1d(np.arange(len(encoder.centre)), excluded)
    _, mean_p, cov_p = moments(reference.gram)
    _, mean_q, cov_q = moments(window.gram)
    beta = _regress(cov_p, own, others)
    residual_p = _residual_variance(cov_p, own, others, beta)
    residual_q = _residual_variance(cov_q, own, others, beta)
    own_fit = _residual_variance(cov_q, own, others, _regress(cov_q, own, others))
    follows_p = 1.0 - residual_p / max(cov_p[own, own], RIDGE)
    follows_q = 1.0 - own_fit / max(cov_q[own, own], RIDGE)
    offset = float((mean_q - mean_p)[own] - beta @ (mean_q - mean_p)[others])
    shifted = offset**2 / (residual_p + RIDGE)
    ratio = (residual_q + RIDGE) / (residual_p + RIDGE)
    widened = max(ratio - 1.0 - np.log(ratio), 0.0)
    if cov_q[own, own] < RIDGE < cov_p[own, own]:
        return _stuck_sentence(encoder.centre[own] + encoder.scale[own] * mean_q[own], coding, unit)
    kept = own_fit > _KEPT * residual_q  # the reference's own regression still fits
    if follows_p >= _FOLLOWS and follows_q < 0.5 * follows_p and widened > shifted and not kept:
        return (
            f"no longer follows the other features: they explained {follows_p:.0%} of it in the "
            f"reference, {max(follows_q, 0.0):.0%} here"
        ).replace("%", " %")
    if shifted >= widened:
        return _offset_sentence(offset * encoder.scale[own], coding, unit)
    noun = "noisier" if ratio > 1.0 else "quieter"
    factor = np.sqrt(ratio if ratio > 1.0 else 1.0 / ratio)
    if factor >= 1.1:
        return f"{factor:.1f} times {noun} than in the reference, given the other features"
    return "its relation to the other features changed"


def _regress(covariance: FloatArray, own: int, others: np.ndarray) -> FloatArray:
    inner = covariance[np.ix_(others, others)] + RIDGE * np.eye(len(others))
    return np.linalg.solve(inner, covariance[others, own])


def _residual_variance(
    covariance: FloatArray, own: int, others: np.ndarray, beta: FloatArray
) -> float:
    cross = covariance[others, own]
    inner = covariance[np.ix_(others, others)]
    return max(float(covariance[own, own] - 2 * beta @ cross + beta @ inner @ beta), 0.0)


def _stuck_sentence(score: float, coding: Coding, unit: str) -> str:
    if abs(score) < _OUTSIDE:
        return "stuck: it hardly varies in this window, unlike in the reference"
    side, end = ("above", coding.knots[-1]) if score > 0 else ("below", coding.knots[0])
    return f"nearly all values are {side} {end:.3g}{unit}, where the reference ends"


def _offset_sentence(offset: float, coding: Coding, unit: str) -> str:
    """Turn a shift of the normal score into the feature's unit by the slope of its quantiles."""
    low, high = np.interp([-_QUARTILE_SCORE, _QUARTILE_SCORE], coding.scores, coding.knots)
    amount = abs(offset) * float(high - low) / (2 * _QUARTILE_SCORE)
    side = "high" if offset > 0 else "low"
    if amount == 0:
        return f"reads {side} given the other features"
    return f"reads {amount:.3g}{unit} {side} given the other features"


def _category_sentence(
    group: np.ndarray, coding: Coding, encoder: Encoder, reference: Profile, window: Profile
) -> str:
    """Name the category whose share changed most."""
    _, mean_p, _ = moments(reference.gram)
    _, mean_q, _ = moments(window.gram)
    before = encoder.centre[group] + encoder.scale[group] * mean_p[group]
    now = encoder.centre[group] + encoder.scale[group] * mean_q[group]
    most = int(np.argmax(np.abs(now - before)))
    if abs(now[most] - before[most]) < 0.01:
        return "its relation to the other features changed"
    value = coding.values[1 + most]
    return f"{value!r} in {now[most]:.0%} of the rows, against {before[most]:.0%}".replace(
        "%", " %"
    )
