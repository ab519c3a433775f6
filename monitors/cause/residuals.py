"""Rows as what each feature reads beyond what the others let expect: season and weather taken out.

Features that were named do not explain the others: what is wrong with them would look like the
opposite fault of their neighbours. So each named feature is read against the rest, and the rest
among themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from monitors.encoder import Coding, Encoder, FloatArray
from monitors.explain.conditional import RIDGE, conditional
from monitors.gram import Profile, moments

_QUARTILE_SCORE = 0.6745
_OUTER = 1.645  # where the middle half of a feature is one value


def residual_table(
    encoder: Encoder, reference: Profile, rows: pa.Table, named: Sequence[int]
) -> pa.Table:
    """Return rows with each numeric feature less what was expected, in its unit.

    Parameters
    ----------
    reference : the profile whose law says what is expected.
    rows : typed rows with all columns of the encoder.
    named : features that do not explain the others.
    """
    columns = dict(_named(encoder, reference, rows, named))
    columns |= dict(_others(encoder, reference, rows, named))
    ordered = [coding.name for coding in encoder.features if coding.name in columns]
    return pa.table({name: columns[name] for name in ordered})


def _named(
    encoder: Encoder, reference: Profile, rows: pa.Table, named: Sequence[int]
) -> Iterator[tuple[str, pa.Array]]:
    for feature in named:
        coding = encoder.features[feature]
        if coding.kind == "numeric":
            aside = [other for other in named if other != feature]
            found = conditional(encoder, reference, rows, feature, aside)
            yield coding.name, pa.array(found.observed - found.expected, from_pandas=True)


def _others(
    encoder: Encoder, reference: Profile, rows: pa.Table, named: Sequence[int]
) -> Iterator[tuple[str, pa.Array]]:
    """Yield the residuals of the features that were not named, all from one precision matrix."""
    own = {j: int(group[0]) for j, group in enumerate(encoder.groups) if len(group)}
    aside = [column for j in named for column in encoder.groups[j]]
    kept = np.setdiff1d(encoder.bases(0.0)[0].columns, aside)
    phi, _ = encoder.encode(rows)
    _, mean, covariance = moments(reference.gram)
    inner = covariance[np.ix_(kept, kept)] + RIDGE * np.eye(len(kept))
    precision = np.linalg.inv(inner)
    off = (phi[:, kept] - mean[kept]) @ precision / np.diagonal(precision)
    for j, coding in enumerate(encoder.features):
        if coding.kind != "numeric" or j in named:
            continue
        place = int(np.searchsorted(kept, own[j]))
        slope = _slope(coding) * float(encoder.scale[own[j]])
        values: FloatArray = off[:, place] * slope
        missing = rows[coding.name].is_null().to_numpy()
        yield coding.name, pa.array(values, mask=missing)


def _slope(coding: Coding) -> float:
    """Return the unit per normal score in the middle of a feature."""
    for score in (_QUARTILE_SCORE, _OUTER):
        low, high = np.interp([-score, score], coding.scores, coding.knots)
        if high > low:
            return float(high - low) / (2 * score)
    return 0.0
