"""Whether two sensors were exchanged: each reads what the other should, and not what it should.

With both set aside, the rest of a row says what either should read. If they were exchanged, the
first's value is as probable under what is expected of the second, and the second's under the
first's. All partners are tried on scores, by one inversion of the reference's covariance; the
nearest one is then weighed on the values themselves, as the other explanations are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.encoder import Coding, Encoder, FloatArray
from monitors.explain.conditional import (
    RIDGE,
    conditional_of,
    encode_without,
    numbers,
    past_of,
    predict,
    regress,
)
from monitors.explain.residual_law import ResidualLaw, fit_law, resolution
from monitors.explain.sample import Coded
from monitors.explain.series import Series, sound
from monitors.gram import Profile, moments
from monitors.quantile_table import WINSOR

_LEAST_BOTH = 12  # rows with both values
_KNOTS = 64  # of a quantile table, enough to choose a partner by
_ODD = 9.0  # squared score beyond which a row is merely odd


@dataclass(frozen=True, slots=True)
class Swap:
    """The likeliest partner of an exchange, and what either sensor reads and should read."""

    partner: int
    choices: int  #: how many partners there were
    rows: int  #: in which the feature has a value
    both: NDArray[np.intp]  #: those of them in which the partner has one, too
    feature_by_partner: Series  #: the partner's values, and what is expected of the feature
    partner_by_feature: Series
    partner_by_itself: Series
    law: ResidualLaw
    law_of_partner: ResidualLaw

    def gain(self, start: int = 0) -> FloatArray:
        """Return by how much an exchange makes each row from one on more probable.

        More than if the partner were sound, whatever the feature reads: shape (rows − start,).
        """
        gain = np.zeros(self.rows - start)
        first = int(np.searchsorted(self.both, start))
        if len(self.both) - first < _LEAST_BOTH:
            return gain
        gain[self.both[first:] - start] = (
            sound(self.feature_by_partner.part(first), self.law).log_mass
            + sound(self.partner_by_feature.part(first), self.law_of_partner).log_mass
            - sound(self.partner_by_itself.part(first), self.law_of_partner).log_mass
        )
        return gain


def find_swap(
    encoder: Encoder,
    reference: Profile,
    coded: Coded,
    feature: int,
    set_aside: Sequence[int],
    there: NDArray[np.bool_],
    *,
    law: ResidualLaw,
    cell: float,
) -> Swap | None:
    """Return the partner whose exchange explains the values best; None where there is no other.

    Parameters
    ----------
    set_aside : features that explain neither; one of them may be the partner.
    there : shape (n,), the rows in which the feature has a value.
    law, cell : of the feature, as its other explanations use them.
    """
    rows, before = coded.sample.window, coded.sample.reference
    partner, choices = _likeliest(encoder, reference, rows, coded.window, feature)
    if partner is None:
        return None
    names = [encoder.features[j].name for j in (feature, partner)]
    phi = coded.window
    if any(rows[name].null_count for name in encoder.names if name not in names):
        phi = encode_without(encoder, rows, [feature, partner])
    sides = [
        predict(encoder, regress(encoder, reference, own, [other, *set_aside]), phi, own)
        for own, other in ((feature, partner), (partner, feature))
    ]
    law_of_partner = fit_law(conditional_of(encoder, reference, before, coded.reference, partner))
    if not law_of_partner.ordinary:
        return None
    values = [numbers(rows, name) for name in names]
    both = there & np.isfinite(values[1])
    steps = [law_of_partner.resolution, resolution(values[1][both])]
    own_cell = min((step for step in steps if step > 0), default=1.0)
    scales = [law.scale(sides[0][1][both]), law_of_partner.scale(sides[1][1][both])]
    own, other = values[0][both], values[1][both]
    expected = [sides[0][0][both], sides[1][0][both]]
    ends, ends_of_partner = (_ends(encoder.features[j]) for j in (feature, partner))
    return Swap(
        partner,
        choices,
        int(there.sum()),
        np.flatnonzero(both[there]),
        Series(None, other, expected[0], scales[0], own_cell, ends=ends),
        Series(None, own, expected[1], scales[1], cell, ends=ends_of_partner),
        Series(None, other, expected[1], scales[1], own_cell, ends=ends_of_partner),
        law,
        law_of_partner,
    )


def _likeliest(
    encoder: Encoder, reference: Profile, rows: pa.Table, coded: FloatArray, feature: int
) -> tuple[int | None, int]:
    """Return the partner with the least odd scores after an exchange, and how many there are.

    A row counts as it is where that is less odd: the exchange may have begun within the window.
    """
    first, codings = encoder.bases(0.0)[0], encoder.features
    past = encoder.columns_of(past_of(encoder, encoder.names))
    first = first.keep(np.flatnonzero(~np.isin(first.columns, past)))
    partners = [j for j, c in enumerate(codings) if c.kind == "numeric" and j != feature]
    if not partners:
        return None, 0
    _, mean, covariance = moments(first.of(reference.gram))
    inverse = np.linalg.inv(covariance + RIDGE * np.eye(len(covariance)))
    precision = np.asarray(inverse, dtype=np.float64)
    phi = coded[:, first.columns]
    own = int(first.groups[feature][0])
    others = np.array([int(first.groups[j][0]) for j in partners])
    read = _exchanged(encoder, rows, feature, partners)
    centre, scale = (part[first.columns] for part in (encoder.centre, encoder.scale))
    odd_now, odd_exchanged = np.zeros((2, len(phi), len(partners)), dtype=np.float64)
    given = _given_the_rest(phi - mean, precision, own, others)
    for place, columns in enumerate((np.full_like(others, own), others)):
        expected, variance = given[place][0] + mean[columns], given[place][1]
        scores = (read[place] - centre[columns]) / scale[columns]
        odd_now += np.minimum((phi[:, columns] - expected) ** 2 / variance, _ODD)
        odd_exchanged += np.minimum((scores - expected) ** 2 / variance, _ODD)
    odd = np.minimum(odd_now, odd_exchanged)
    known = np.isfinite(odd)
    far = np.where(known, odd, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    far[~known.any(axis=0)] = np.inf
    return partners[int(np.argmin(far))], len(partners)


def _ends(coding: Coding) -> tuple[float, float]:
    return coding.knots[0], coding.knots[-1]


def _given_the_rest(
    phi: FloatArray, precision: FloatArray, own: int, others: NDArray[np.intp]
) -> list[tuple[FloatArray, FloatArray]]:
    """Return mean and variance of one column, and of each other, given all but these two.

    With Ω_JJ the precision of the pair and r what the rest adds to Ωφ, the mean is −Ω_JJ⁻¹ r.

    Returns
    -------
    two pairs of FloatArray, shapes (n, others) and (others,)
    """
    pulled = phi @ precision[:, [own, *others]]
    a, b, c = precision[own, own], precision[own, others], precision[others, others]
    rest = pulled[:, :1] - phi[:, [own]] * a - phi[:, others] * b
    other_rest = pulled[:, 1:] - phi[:, others] * c - phi[:, [own]] * b
    determinant = a * c - b**2
    return [
        ((b * other_rest - c * rest) / determinant, c / determinant),
        ((b * rest - a * other_rest) / determinant, a / determinant),
    ]


def _exchanged(
    encoder: Encoder, rows: pa.Table, feature: int, partners: Sequence[int]
) -> tuple[FloatArray, FloatArray]:
    """Return the scores of the partners' values as the feature's, and of the feature's as theirs.

    Shape (n, partners) each, NaN where missing.
    """
    codings = encoder.features
    own = numbers(rows, codings[feature].name)
    theirs = np.column_stack([numbers(rows, codings[j].name) for j in partners])
    return (
        _scores(codings[feature], theirs),
        np.column_stack([_scores(codings[j], own) for j in partners]),
    )


def _scores(coding: Coding, values: FloatArray) -> FloatArray:
    """Return the scores of values under a few of a feature's quantiles, NaN where missing."""
    knots, scores = coding.knots[:: len(coding.knots) // _KNOTS + 1], coding.scores
    scores = scores[:: len(coding.scores) // _KNOTS + 1]
    found = np.interp(values.ravel(), knots, scores, left=-WINSOR, right=WINSOR)
    return np.asarray(found.reshape(values.shape), dtype=np.float64)
