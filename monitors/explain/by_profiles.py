"""How a feature moved, from the Gram matrices alone: what can be said where no rows are kept.

The feature's linear term is regressed on all other basis columns, on the reference and on the
window. With r the reference's residual: its mean in the window says how far off the feature reads
given the others, its variance how much noisier, and the window's own R² whether it follows the
others at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitors.encoder import Coding, Encoder, FloatArray
from monitors.explain import sentences
from monitors.explain.conditional import past_of
from monitors.explain.diagnosis import Diagnosis
from monitors.feature_shift.likelihood_ratio import RIDGE
from monitors.feature_shift.locate import Evidence
from monitors.gram import Profile, moments
from schemas.stream import Column

_FOLLOWS = 0.3  # an R² below it is no dependence worth naming
_KEPT = 0.87  # of the residual variance: 1.3 where all of an R² of 0.3 is lost, halfway to 1
_OUTSIDE = 2.8  # a mean score beyond it: nearly all values are at the ends of the quantile table
_QUARTILE_SCORE = 0.6745
_NOISE = 1.1  # times: less is no change worth naming


@dataclass(frozen=True, slots=True)
class Fit:
    """One number given the others, in the reference and in the window, as scores."""

    offset: float  #: mean residual of the window under the reference's regression
    before: float  #: residual variance of the reference
    now: float  #: of the window, under the reference's regression
    own: float  #: of the window, under a regression of its own
    follows_before: float  #: R² of the reference
    follows_now: float  #: R² of the window's own regression
    mean: float  #: of the window
    variance_before: float  #: of the scores themselves
    variance_now: float


def by_profiles(
    evidence: Evidence,
    encoder: Encoder,
    reference: Profile,
    window: Profile,
    columns: Mapping[str, Column],
    set_aside: Sequence[int] = (),
) -> Diagnosis:
    """Say how one feature moved.

    Parameters
    ----------
    set_aside : features already named; they do not explain this one.
    """
    feature = evidence.feature
    coding = encoder.features[feature]
    now, before = (_rate(part, feature, 0) for part in (window, reference))
    if evidence.kind == "missing" or _gaps_weigh_more(evidence, now, before):
        return Diagnosis("missing", sentences.missing(now, before), now)
    if evidence.kind == "unseen":
        now = _rate(window, feature, 1)
        return Diagnosis("unseen", sentences.unseen(now, constant=coding.kind == "constant"), now)
    if not evidence.alarm:
        return Diagnosis(None, sentences.UNCHANGED)
    if coding.kind == "category":
        return _category(encoder.groups[feature], coding, encoder, reference, window)
    column = columns.get(coding.name)
    fit = fit_profiles(feature, encoder, reference, window, set_aside)
    return _number(feature, encoder, fit, column.unit if column is not None else None)


def fit_profiles(
    feature: int,
    encoder: Encoder,
    reference: Profile,
    window: Profile,
    set_aside: Sequence[int] = (),
) -> Fit:
    """Regress a number on the others, but no lagged values, in the reference and in the window."""
    group = encoder.groups[feature]
    own = int(group[0])
    past = encoder.columns_of(past_of(encoder, encoder.names))
    excluded = np.concatenate([group, past, *(encoder.groups[j] for j in set_aside)])
    others = np.setdiff1d(np.arange(len(encoder.centre)), excluded)
    _, mean_p, cov_p = moments(reference.gram)
    _, mean_q, cov_q = moments(window.gram)
    beta = _regress(cov_p, own, others)
    before = _residual_variance(cov_p, own, others, beta)
    own_fit = _residual_variance(cov_q, own, others, _regress(cov_q, own, others))
    return Fit(
        offset=float((mean_q - mean_p)[own] - beta @ (mean_q - mean_p)[others]),
        before=before,
        now=_residual_variance(cov_q, own, others, beta),
        own=own_fit,
        follows_before=1.0 - before / max(float(cov_p[own, own]), RIDGE),
        follows_now=max(1.0 - own_fit / max(float(cov_q[own, own]), RIDGE), 0.0),
        mean=float(mean_q[own]),
        variance_before=float(cov_p[own, own]),
        variance_now=float(cov_q[own, own]),
    )


def _number(feature: int, encoder: Encoder, fit: Fit, unit: str | None) -> Diagnosis:
    coding = encoder.features[feature]
    own = int(encoder.groups[feature][0])
    shifted = fit.offset**2 / (fit.before + RIDGE)
    ratio = (fit.now + RIDGE) / (fit.before + RIDGE)
    widened = max(ratio - 1.0 - np.log(ratio), 0.0)
    if fit.variance_now < RIDGE < fit.variance_before:
        score = float(encoder.centre[own] + encoder.scale[own] * fit.mean)
        if abs(score) < _OUTSIDE:
            return Diagnosis("stuck", sentences.STUCK)
        end = coding.knots[-1] if score > 0 else coding.knots[0]
        return Diagnosis("outside", sentences.outside(end, unit, above=score > 0), end, unit)
    kept = fit.own > _KEPT * fit.now  # the reference's own regression still fits
    lost = fit.follows_before >= _FOLLOWS and fit.follows_now < 0.5 * fit.follows_before
    if lost and widened > shifted and not kept:
        return Diagnosis("replay", sentences.replay(fit.follows_before, fit.follows_now))
    if shifted >= widened:
        amount = _in_unit(float(fit.offset * encoder.scale[own]), coding)
        return Diagnosis("offset", sentences.offset(amount, unit, fit.offset), amount, unit)
    factor = float(np.sqrt(ratio))
    if max(factor, 1.0 / factor) >= _NOISE:
        return Diagnosis("noise", sentences.noise(factor), factor)
    return Diagnosis("dependence", sentences.RELATION)


def _gaps_weigh_more(evidence: Evidence, now: float, before: float) -> bool:
    """Whether more values are missing by a larger effect, Cohen's h, than that of the alarm."""
    more = 2.0 * float(np.arcsin(np.sqrt(now)) - np.arcsin(np.sqrt(before)))
    return evidence.alarm and evidence.kind == "conditional" and more > evidence.effect


def _rate(profile: Profile, feature: int, kind: int) -> float:
    return float(profile.counts[feature, kind] / profile.rows)


def _regress(covariance: FloatArray, own: int, others: np.ndarray) -> FloatArray:
    inner = covariance[np.ix_(others, others)] + RIDGE * np.eye(len(others))
    return np.linalg.solve(inner, covariance[others, own])


def _residual_variance(
    covariance: FloatArray, own: int, others: np.ndarray, beta: FloatArray
) -> float:
    cross = covariance[others, own]
    inner = covariance[np.ix_(others, others)]
    return max(float(covariance[own, own] - 2 * beta @ cross + beta @ inner @ beta), 0.0)


def _in_unit(offset: float, coding: Coding) -> float:
    """Turn a shift of the normal score into the feature's unit by the slope of its quantiles."""
    low, high = np.interp([-_QUARTILE_SCORE, _QUARTILE_SCORE], coding.scores, coding.knots)
    return offset * float(high - low) / (2 * _QUARTILE_SCORE)


def _category(
    group: np.ndarray, coding: Coding, encoder: Encoder, reference: Profile, window: Profile
) -> Diagnosis:
    """Name the category whose share changed most."""
    _, mean_p, _ = moments(reference.gram)
    _, mean_q, _ = moments(window.gram)
    before = encoder.centre[group] + encoder.scale[group] * mean_p[group]
    now = encoder.centre[group] + encoder.scale[group] * mean_q[group]
    most = int(np.argmax(np.abs(now - before)))
    if abs(now[most] - before[most]) < 0.01:
        return Diagnosis("category", sentences.RELATION)
    said = sentences.category(coding.values[1 + most], float(now[most]), float(before[most]))
    return Diagnosis("category", said, float(now[most]))
