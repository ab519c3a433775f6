"""Maps rows to basis values φ(x): the columns whose Gram matrix carries every conditional test.

The map is fixed on a sample of the reference, so that Gram matrices of any later rows add up:

- a number becomes its normal score z = Φ⁻¹(F_ref(x)) (mid-ranks for ties, winsorised at ±3) and,
  with two terms, the Hermite polynomial (z² − 1)/√2, which sees changes of spread and curvature;
- a category becomes indicators of its frequent values, the most frequent left out;
- calendar terms and columns with the role `condition` explain the others and are never blamed.

Every basis column is scaled to mean 0 and variance 1 on the reference. Missing numbers are drawn
from their Gaussian conditional given the row's other values (Gibbs sampling under the reference's
precision matrix): a row with a gap then says nothing new about its feature, where filling in a
constant would look like a change of dependence. The draws are a function of the row's content, so
order does not matter. Missing and unseen values themselves are counted, and tested by
`monitors.counts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtri

from schemas.errors import ReferenceDataError
from schemas.stream import CalendarTerm, Column
from transforms.calendar import calendar_terms

FloatArray: TypeAlias = NDArray[np.float64]

WINSOR = 3.0  # |z| beyond it is one row in 370: more would let single rows rule a covariance
KNOTS = 1024  # of a quantile table: its error, 1/1024, is below the sampling error of any window
MIN_SHARE = 0.02  # a rarer category has no Gaussian limit in windows of a few hundred rows
MAX_INDICATORS = 8
ROWS_PER_TERM = 15  # rows of a window per basis column before a second term pays its noise
MAX_FEATURES = 1000  # a Gram matrix of two terms is then 32 MB
_GIBBS_SWEEPS = 5
_RIDGE = 1e-2


@dataclass(frozen=True, slots=True)
class Coding:
    """How one column becomes basis columns."""

    name: str
    kind: Literal["numeric", "category", "constant"]
    knots: tuple[float, ...] = ()  #: numeric: values of the quantile table; constant: the one value
    scores: tuple[float, ...] = ()  #: numeric: their normal scores
    values: tuple[str, ...] = ()  #: category: every value of the reference, the most frequent first
    indicators: int = 0  #: category: how many of `values`, after the first, have an indicator


@dataclass(frozen=True, slots=True)
class Encoder:
    """The fixed map from typed rows to basis columns.

    The basis columns are ordered: the terms of each feature, then conditions, then calendar terms.
    """

    features: tuple[Coding, ...]
    conditions: tuple[Coding, ...]
    calendar: tuple[CalendarTerm, ...]
    time_column: str | None
    terms: int  #: basis terms per numeric feature, 1 or 2
    centre: FloatArray  #: shape (p,)
    scale: FloatArray  #: shape (p,)
    precision: (
        FloatArray  #: shape (g, g), of the columns that `_fill` reads: numeric, then the rest
    )

    @property
    def names(self) -> list[str]:
        """Names of the features, in order."""
        return [coding.name for coding in self.features]

    @property
    def groups(self) -> list[NDArray[np.intp]]:
        """Basis columns of each feature; empty for a feature that is constant in the reference."""
        groups, at = [], 0
        for coding in self.features:
            width = _width(coding, self.terms)
            groups.append(np.arange(at, at + width))
            at += width
        return groups

    @property
    def known_values(self) -> dict[str, frozenset[str]]:
        """The values of each category in the reference."""
        return {coding.name: frozenset(coding.values) for coding in self.features if coding.values}

    def encode(self, table: pa.Table) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return the basis columns and the flags of the rows of a table.

        Parameters
        ----------
        table : typed rows, as `transforms.contract.check_rows` leaves them.

        Returns
        -------
        phi : FloatArray, shape (rows, p)
            Standardised basis columns, without nulls.
        flags : bool array, shape (rows, features, 2)
            Whether the value is missing, and whether it is one the reference never had (categories,
            and features that are constant in the reference).
        """
        frame = _frame(table)
        gibbs, flags = _raw_columns(frame, self.features, self.conditions)
        extra = _calendar(table, self.time_column, self.calendar)
        gibbs = np.concatenate([gibbs, extra], axis=1)
        gibbs = _fill(gibbs, self.precision, _numeric_count(self))
        phi = _expand(gibbs, self.features, self.conditions, self.terms)
        phi -= self.centre
        phi /= self.scale
        return phi, flags

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON-serialisable data."""
        plain = [
            [_coding_json(coding) for coding in part] for part in (self.features, self.conditions)
        ]
        return {
            "features": plain[0],
            "conditions": plain[1],
            "calendar": list(self.calendar),
            "time_column": self.time_column,
            "terms": self.terms,
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "precision": self.precision.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Encoder:
        """Rebuild an encoder from `to_json`."""
        return cls(
            features=tuple(_coding_from(item) for item in data["features"]),
            conditions=tuple(_coding_from(item) for item in data["conditions"]),
            calendar=tuple(data["calendar"]),
            time_column=data["time_column"],
            terms=int(data["terms"]),
            centre=np.asarray(data["centre"], dtype=np.float64),
            scale=np.asarray(data["scale"], dtype=np.float64),
            precision=np.asarray(data["precision"], dtype=np.float64),
        )


def fit_encoder(
    sample: pa.Table,
    columns: Mapping[str, Column],
    *,
    features: Sequence[str],
    conditions: Sequence[str] = (),
    calendar: Sequence[CalendarTerm] = (),
    time_column: str | None = None,
    window_rows: int,
) -> Encoder:
    """Fix the basis on a sample of the reference.

    Parameters
    ----------
    sample : typed rows of the reference.
    columns : types of the columns named in `features` and `conditions`.
    window_rows : rows of a typical window; decides whether a second term per number pays.

    Raises
    ------
    ReferenceDataError
        No or too many features, or a feature without a single value.
    """
    if not features:
        message = "no feature to watch: give at least one column the role `feature`"
        raise ReferenceDataError(message)
    if len(features) > MAX_FEATURES:
        message = (
            f"{len(features):,} features: conditional tests take at most {MAX_FEATURES:,}; "
            f"watch fewer columns (role `ignore` for the rest), or split the table by subject"
        )
        raise ReferenceDataError(message)
    frame = _frame(sample)
    codings = {name: _fit_coding(frame[name], columns[name]) for name in (*features, *conditions)}
    watched = tuple(codings[name] for name in features)
    given = tuple(codings[name] for name in conditions)
    terms = 2 if window_rows >= ROWS_PER_TERM * 2 * len(features) else 1
    gibbs, _ = _raw_columns(frame, watched, given)
    gibbs = np.concatenate([gibbs, _calendar(sample, time_column, calendar)], axis=1)
    numeric = sum(coding.kind == "numeric" for coding in (*watched, *given))
    precision = _fit_precision(gibbs, numeric)
    phi = _expand(_fill(gibbs, precision, numeric), watched, given, terms)
    spread = phi.std(axis=0)
    return Encoder(
        features=watched,
        conditions=given,
        calendar=tuple(calendar),
        time_column=time_column,
        terms=terms,
        centre=phi.mean(axis=0),
        scale=np.where(spread > 1e-9, spread, 1.0),
        precision=precision,
    )


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 (for the type checker: a table gives a frame)
    return frame


def _fit_coding(values: pl.Series, column: Column) -> Coding:
    present = values.drop_nulls()
    if present.is_empty():
        message = (
            f"column {values.name!r} has no value in the reference; "
            f"give it `role: ignore`, or a reference that holds it"
        )
        raise ReferenceDataError(message)
    if column.type in ("number", "integer"):
        found, counts = np.unique(present.to_numpy().astype(np.float64), return_counts=True)
        if len(found) == 1:
            return Coding(values.name, "constant", knots=(float(found[0]),))
        ranks = np.cumsum(counts) - 0.5 * counts
        if len(found) > KNOTS:
            pick = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], KNOTS)))
            found, ranks = found[pick], ranks[pick]
        scores = np.clip(ndtri(ranks / counts.sum()), -WINSOR, WINSOR)
        return Coding(values.name, "numeric", tuple(found.tolist()), tuple(scores.tolist()))
    shares = (
        present.cast(pl.String)
        .value_counts(sort=False, name="n")
        .sort(["n", values.name], descending=[True, False])
    )
    names = shares[values.name].to_list()
    frequent = int((shares["n"] >= MIN_SHARE * len(values)).sum())
    return Coding(
        values.name,
        "category" if len(names) > 1 else "constant",
        values=tuple(names),
        indicators=max(0, min(frequent - 1, MAX_INDICATORS)),
    )


def _width(coding: Coding, terms: int) -> int:
    return {"numeric": terms, "category": coding.indicators, "constant": 0}[coding.kind]


def _numeric_count(encoder: Encoder) -> int:
    return sum(c.kind == "numeric" for c in (*encoder.features, *encoder.conditions))


def _raw_columns(
    frame: pl.DataFrame, features: Sequence[Coding], conditions: Sequence[Coding]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return normal scores (NaN where missing) then indicators, and the flags of the features."""
    scores, indicators = [], []
    flags = np.zeros((len(frame), len(features), 2), dtype=np.bool_)
    for j, coding in enumerate((*features, *conditions)):
        column = frame[coding.name]
        unseen = None
        if coding.kind == "numeric" or (coding.kind == "constant" and coding.knots):
            values = column.cast(pl.Float64).to_numpy()
            if coding.kind == "numeric":
                z = np.interp(values, coding.knots, coding.scores, left=-WINSOR, right=WINSOR)
                scores.append(np.where(np.isnan(values), np.nan, z) if column.null_count() else z)
            else:
                unseen = ~np.isnan(values) & (values != coding.knots[0])
        else:
            texts = column.cast(pl.String)
            unseen = (~texts.is_in(coding.values)).fill_null(value=False).to_numpy()
            indicators += [
                (texts == value).fill_null(value=False).cast(pl.Float64).to_numpy()
                for value in coding.values[1 : 1 + coding.indicators]
            ]
        if j < len(features):
            if column.null_count():
                flags[:, j, 0] = column.is_null().to_numpy()
            if unseen is not None:
                flags[:, j, 1] = unseen
    together = [*scores, *indicators]
    return (np.stack(together, axis=1) if together else np.empty((len(frame), 0))), flags


def _calendar(
    table: pa.Table, time_column: str | None, terms: Sequence[CalendarTerm]
) -> FloatArray:
    if time_column is None or not terms:
        return np.empty((table.num_rows, 0))
    return calendar_terms(table[time_column], terms)


def _expand(
    gibbs: FloatArray, features: Sequence[Coding], conditions: Sequence[Coding], terms: int
) -> FloatArray:
    """Lay out the filled columns: the terms of each feature, then the conditioning columns."""
    codings = (*features, *conditions)
    numeric_at = iter(range(sum(c.kind == "numeric" for c in codings)))
    indicator_at = iter(range(sum(c.kind == "numeric" for c in codings), gibbs.shape[1]))
    width = sum(_width(c, terms) for c in codings)
    calendar = gibbs.shape[1] - sum(_width(c, 1) for c in codings)
    phi = np.empty((len(gibbs), width + calendar))
    at = 0
    for coding in codings:
        if coding.kind == "numeric":
            z = gibbs[:, next(numeric_at)]
            phi[:, at] = z
            if terms > 1:
                phi[:, at + 1] = (z * z - 1.0) * np.sqrt(0.5)
        else:
            for k in range(coding.indicators if coding.kind == "category" else 0):
                phi[:, at + k] = gibbs[:, next(indicator_at)]
        at += _width(coding, terms)
    if calendar:
        phi[:, at:] = gibbs[:, -calendar:]
    return phi


def _fit_precision(gibbs: FloatArray, numeric: int) -> FloatArray:
    """Return the ridge precision of the Gibbs columns, imputing and re-estimating a few times."""
    filled: FloatArray = np.where(np.isnan(gibbs), 0.0, gibbs)
    if not filled.shape[1]:
        return np.empty((0, 0))
    rounds = 6 if np.isnan(gibbs).any() else 1
    for _ in range(rounds):
        covariance = np.atleast_2d(np.cov(filled.T, bias=True))
        inverse = np.linalg.inv(covariance + _RIDGE * np.eye(len(covariance)))
        precision = np.asarray(inverse, dtype=np.float64)
        filled = _fill(gibbs, precision, numeric)
    return precision


def _fill(gibbs: FloatArray, precision: FloatArray, numeric: int) -> FloatArray:
    """Draw missing scores from N(−Σ_k≠j Ω_jk x_k / Ω_jj, 1/Ω_jj), sweep by sweep."""
    gaps = np.isnan(gibbs)
    rows = np.flatnonzero(gaps.any(axis=1))
    if not len(rows):
        return gibbs
    part, gap = np.where(gaps[rows], 0.0, gibbs[rows]), gaps[rows]
    seeds = _row_hash(part, gap)
    for sweep in range(_GIBBS_SWEEPS):
        for j in np.flatnonzero(gap[:, :numeric].any(axis=0)):
            at = np.flatnonzero(gap[:, j])
            values, weight = part[at], precision[j, j]
            mean = values[:, j] - (values @ precision[j]) / weight
            noise = ndtri(_uniform(seeds[at], sweep * gibbs.shape[1] + int(j)))
            part[at, j] = np.clip(mean + noise / np.sqrt(weight), -WINSOR, WINSOR)
    filled = gibbs.copy()
    filled[rows] = part
    return filled


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _row_hash(values: FloatArray, gaps: NDArray[np.bool_]) -> NDArray[np.uint64]:
    hashed = np.zeros(len(values), dtype=np.uint64)
    for j in range(values.shape[1]):
        column = np.ascontiguousarray(values[:, j] + 0.0)  # + 0.0: −0 and 0 are one value
        bits = column.view(np.uint64)
        hashed = _mix(hashed * np.uint64(0x9E3779B97F4A7C15) + bits + gaps[:, j].astype(np.uint64))
    return hashed


def _uniform(seeds: NDArray[np.uint64], draw: int) -> FloatArray:
    stride = (draw + 1) * 0x9E3779B97F4A7C15 % 2**64  # NumPy warns where a scalar wraps around
    bits = _mix(seeds + np.uint64(stride))
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _coding_json(coding: Coding) -> dict[str, Any]:
    return {
        "name": coding.name,
        "kind": coding.kind,
        "knots": list(coding.knots),
        "scores": list(coding.scores),
        "values": list(coding.values),
        "indicators": coding.indicators,
    }


def _coding_from(data: Mapping[str, Any]) -> Coding:
    return Coding(
        name=data["name"],
        kind=data["kind"],
        knots=tuple(data["knots"]),
        scores=tuple(data["scores"]),
        values=tuple(data["values"]),
        indicators=int(data["indicators"]),
    )
