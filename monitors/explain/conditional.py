"""What every row should read: the conditional of one number given the rest of its row, in its unit.

The score of the feature is regressed on the other basis columns of the reference's Gram matrix. The
fitted score of a row goes back through the feature's quantile table, so that the median of the
conditional comes out in the feature's unit, and so do the two ends of a standard deviation.

Lagged values do not explain: a fault that lasts would explain itself, and spoil what is expected of
its partner. What is expected is therefore the same with lags and without.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitors.encoder import Encoder, FloatArray
from monitors.gram import Profile, moments

RIDGE = 1e-3  # of unit variance: sensors that repeat each other to a thirtieth keep their weights


@dataclass(frozen=True, slots=True)
class Conditional:
    """What one feature read and what it should have read, row by row, in its unit."""

    times: NDArray[np.int64] | None  #: shape (n,), µs since 1970; None where rows have no time
    observed: FloatArray  #: shape (n,), NaN where missing
    expected: FloatArray  #: shape (n,), the median given the rest of the row in the reference
    spread: FloatArray  #: shape (n,), the standard deviation around it


@dataclass(frozen=True, slots=True)
class Regression:
    """One feature's score on other basis columns, in the reference."""

    others: NDArray[np.intp]  #: basis columns that explain it
    slopes: FloatArray  #: shape (len(others),)
    level: float  #: the score where all of them are 0
    spread: float  #: standard deviation of what they leave, as a score


def conditional(
    encoder: Encoder,
    reference: Profile,
    rows: pa.Table,
    feature: int,
    set_aside: Sequence[int] = (),
    *,
    time: str | None = None,
) -> Conditional:
    """Return what a numeric feature should read in each row, by the law of the reference.

    Parameters
    ----------
    rows : typed rows with all columns of the encoder; the feature's own values do not count.
    set_aside : features that do not explain it.
    time : the column with the event time, where the rows have one.
    """
    phi = encode_without(encoder, rows, [feature])
    return conditional_of(encoder, reference, rows, phi, feature, set_aside, time=time)


def conditional_of(
    encoder: Encoder,
    reference: Profile,
    rows: pa.Table,
    phi: FloatArray,
    feature: int,
    set_aside: Sequence[int] = (),
    *,
    time: str | None = None,
) -> Conditional:
    """Return the same for rows that are encoded: `phi`, of `encode_without` the feature."""
    regression = regress(encoder, reference, feature, set_aside)
    expected, spread = predict(encoder, regression, phi, feature)
    times = None if time is None else rows[time].cast(pa.timestamp("us")).cast(pa.int64())
    return Conditional(
        times=None if times is None else times.to_numpy(),
        observed=numbers(rows, encoder.features[feature].name),
        expected=expected,
        spread=spread,
    )


def encode_without(encoder: Encoder, rows: pa.Table, features: Sequence[int]) -> FloatArray:
    """Return the basis columns of rows, shape (n, p); gaps are not filled by the features' values.

    The columns of these features themselves are of no use then.
    """
    names = [encoder.features[feature].name for feature in features]
    gaps = gaps_of(rows, [name for name in present(encoder) if name not in names])
    if gaps.any():
        for name in (*names, *past_of(encoder, names)):
            place = rows.column_names.index(name)
            field, column = rows.schema.field(place), rows[name].combine_chunks()
            nothing = pa.nulls(rows.num_rows, field.type)
            rows = rows.set_column(place, field, pc.if_else(pa.array(gaps), nothing, column))
    phi, _ = encoder.encode(rows)
    return phi


def gaps_of(rows: pa.Table, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which rows have no value in one of some columns, shape (n,)."""
    gaps = np.zeros(rows.num_rows, dtype=np.bool_)
    for name in names:
        if rows[name].null_count:
            gaps |= rows[name].is_null().to_numpy()
    return gaps


def regress(
    encoder: Encoder, reference: Profile, feature: int, without: Collection[int] = ()
) -> Regression:
    """Regress a numeric feature's score on all but itself, some features, and lagged values."""
    removed = [encoder.features[j].name for j in (feature, *without)]
    excluded = encoder.columns_of([*removed, *past_of(encoder, encoder.names)])
    others = np.setdiff1d(np.arange(len(encoder.centre)), excluded)
    own = int(encoder.groups[feature][0])
    _, mean, covariance = moments(reference.gram)
    inner = covariance[np.ix_(others, others)]
    cross = covariance[others, own]
    slopes = np.linalg.solve(inner + RIDGE * np.eye(len(others)), cross)
    left = float(covariance[own, own] - 2 * slopes @ cross + slopes @ inner @ slopes)
    centre, scale = float(encoder.centre[own]), float(encoder.scale[own])
    return Regression(
        others,
        scale * slopes,
        centre + scale * float(mean[own] - slopes @ mean[others]),
        scale * np.sqrt(max(left, 0.0)),
    )


def past_of(encoder: Encoder, names: Sequence[str]) -> list[str]:
    """Return the conditions that hold earlier values of some features, such as ``temp 1h ago``."""
    starts = tuple(f"{name} " for name in names)
    lagged = (coding.name for coding in encoder.conditions if coding.name.endswith(" ago"))
    return [name for name in lagged if name.startswith(starts)]


def present(encoder: Encoder) -> list[str]:
    """Return the features and conditions that are no lagged values."""
    past = past_of(encoder, encoder.names)
    codings = (*encoder.features, *encoder.conditions)
    return [coding.name for coding in codings if coding.name not in past]


def predict(
    encoder: Encoder, regression: Regression, phi: FloatArray, feature: int
) -> tuple[FloatArray, FloatArray]:
    """Return the median and the standard deviation of each row, shape (n,), in the unit."""
    coding = encoder.features[feature]
    scores, knots = np.array(coding.scores), np.array(coding.knots)
    middle = regression.level + phi[:, regression.others] @ regression.slopes
    low, expected, high = (
        np.interp(middle + sign * regression.spread, scores, knots) for sign in (-1.0, 0.0, 1.0)
    )
    return expected, (high - low) / 2


def numbers(rows: pa.Table, name: str) -> FloatArray:
    """Return a column as floats, shape (n,), NaN where missing."""
    return np.asarray(rows[name].cast(pa.float64()).to_numpy(), dtype=np.float64)
