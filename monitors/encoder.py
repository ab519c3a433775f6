"""Maps rows to basis values φ(x): the columns whose Gram matrix carries every conditional test.

The map is fixed on a sample of the reference, so that Gram matrices of any later rows add up:

- a number becomes its normal score z = Φ⁻¹(F_ref(x)) (mid-ranks for ties, winsorised at ±3) and,
  with two terms, z², which sees changes of spread and curvature;
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

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.special import ndtri

from monitors.basis import Basis
from monitors.imputation import fill_gaps
from monitors.quantile_table import WINSOR, QuantileTable
from schemas.errors import ReferenceDataError
from schemas.stream import CalendarTerm, Column, ColumnType
from transforms.calendar import calendar_names, calendar_terms

FloatArray: TypeAlias = NDArray[np.float64]

KNOTS = 1024  # of a quantile table: its error, 1/1024, is below the sampling error of any window
MIN_SHARE = 0.02  # a rarer category has no Gaussian limit in windows of a few hundred rows
MAX_INDICATORS = 8
ROWS_PER_TERM = 15  # rows of a window per basis column before a second term pays its noise
MAX_FEATURES = 500  # a comparison then takes a minute or so
_ROUNDS = 6  # of filling gaps and estimating the precision that fills them
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
    once: float = 0.0  #: category: share of the rows whose value no other row has


@dataclass(frozen=True)
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
    precision: FloatArray  #: shape (g, g), of the columns in `scored`

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

    def bases(self, rows: float) -> tuple[Basis, ...]:
        """Return the first terms alone and, if a window has the rows for them, all basis columns.

        A dependence that the first terms carry drowns in the noise of twice the columns; one that
        only the second terms carry cannot be seen without them.

        Parameters
        ----------
        rows : independent rows of a window.
        """
        whole = Basis(np.arange(len(self.centre)), tuple(self.groups))
        if self.terms == 1:
            return (whole,)
        placed = zip((*self.features, *self.conditions), self._starts, strict=False)
        second = [start + 1 for coding, start in placed if coding.kind == "numeric"]
        first = whole.keep(np.setdiff1d(whole.columns, second))
        return (first, whole) if rows >= ROWS_PER_TERM * len(second) * self.terms else (first,)

    def columns_of(self, names: Collection[str]) -> NDArray[np.intp]:
        """Return the basis columns of some features and conditions."""
        codings = (*self.features, *self.conditions)
        placed = zip(codings, itertools.pairwise(self._starts), strict=False)
        own = [np.arange(*ends) for coding, ends in placed if coding.name in names]
        return np.concatenate([np.array([], dtype=np.intp), *own])

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
        basis, flags = self._write(table)
        if any(table[name].null_count for name in self._tables):
            self._fill(basis)
        return basis.T, flags.transpose(2, 0, 1)

    @cached_property
    def _starts(self) -> list[int]:
        """First basis column of each feature, of each condition, and of the calendar."""
        widths = [_width(coding, self.terms) for coding in (*self.features, *self.conditions)]
        return [0, *itertools.accumulate(widths)]

    @cached_property
    def _tables(self) -> dict[str, QuantileTable]:
        return {
            coding.name: QuantileTable(np.array(coding.knots), np.array(coding.scores))
            for coding in (*self.features, *self.conditions)
            if coding.kind == "numeric"
        }

    @cached_property
    def scored(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Basis columns with the scores of numbers, and those with indicators and the calendar."""
        placed = list(zip((*self.features, *self.conditions), self._starts, strict=False))
        numbers = [start for coding, start in placed if coding.kind == "numeric"]
        rest = [at for c, start in placed for at in range(start, start + c.indicators)]
        calendar = range(self._starts[-1], len(self.centre))
        return np.array(numbers, dtype=np.intp), np.array([*rest, *calendar], dtype=np.intp)

    def _write(self, table: pa.Table) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return basis columns (p, rows), NaN where a number is missing, and flags."""
        basis = np.empty((len(self.centre), table.num_rows))
        flags = np.zeros((len(self.features), 2, table.num_rows), dtype=np.bool_)
        for j, coding in enumerate((*self.features, *self.conditions)):
            values, at = table[coding.name], self._starts[j]
            if coding.kind == "numeric":
                scores = self._tables[coding.name](values.to_numpy())
                self._put(basis[at : at + self.terms], at, scores)
                unseen = None
            else:
                codes, unseen = _codes(coding, values)
                for k in range(coding.indicators):
                    basis[at + k] = ((codes == k + 1) - self.centre[at + k]) / self.scale[at + k]
            if j < len(self.features):
                if values.null_count:
                    flags[j, 0] = values.is_null().to_numpy()
                if unseen is not None:
                    flags[j, 1] = unseen
        at = self._starts[-1]
        if at < len(basis):
            terms = calendar_terms(table[self.time_column], self.calendar)
            basis[at:] = ((terms - self.centre[at:]) / self.scale[at:]).T
        return basis, flags

    def _put(self, own: FloatArray, at: int, scores: FloatArray) -> None:
        """Write the standardised terms of a number's scores, those of basis column `at` first."""
        np.subtract(scores, self.centre[at], out=own[0])
        own[0] *= 1.0 / self.scale[at]
        if self.terms > 1:
            np.multiply(scores, scores, out=own[1])
            own[1] -= self.centre[at + 1]
            own[1] *= 1.0 / self.scale[at + 1]

    def _fill(self, basis: FloatArray) -> None:
        """Fill the gaps of basis columns in place."""
        numbers, rest = self.scored
        gaps = np.isnan(basis[numbers])
        rows = np.flatnonzero(gaps.any(axis=0))
        scored = np.concatenate([numbers, rest])
        scores = basis[np.ix_(scored, rows)].T * self.scale[scored] + self.centre[scored]
        filled = fill_gaps(scores, self.precision, len(numbers))
        for j in np.flatnonzero(gaps.any(axis=1)):
            own, at = gaps[j, rows], numbers[j]
            terms = np.empty((self.terms, np.count_nonzero(own)))
            self._put(terms, at, filled[own, j])
            basis[at : at + self.terms, rows[own]] = terms

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
    chosen = (*features, *conditions)
    if not features:
        message = "no feature to watch: give at least one column the role `feature`"
        raise ReferenceDataError(message)
    if len(features) > MAX_FEATURES:
        message = (
            f"{len(features):,} features: conditional tests take at most {MAX_FEATURES:,}; "
            f"watch fewer columns (role `ignore` for the rest), or split the table by subject"
        )
        raise ReferenceDataError(message)
    codings = {name: _fit_coding(name, sample[name], columns[name].type) for name in chosen}
    watched = tuple(codings[name] for name in features)
    given = tuple(codings[name] for name in conditions)
    terms = 2 if window_rows >= ROWS_PER_TERM * 2 * len(features) else 1
    waves = calendar_names(calendar) if time_column is not None else []
    width = sum(_width(coding, terms) for coding in (*watched, *given)) + len(waves)
    scores = sum(_width(coding, 1) for coding in (*watched, *given)) + len(waves)
    encoder = Encoder(
        features=watched,
        conditions=given,
        calendar=tuple(calendar) if waves else (),
        time_column=time_column,
        terms=terms,
        centre=np.zeros(width),
        scale=np.ones(width),
        precision=np.eye(scores),
    )
    for _ in range(_ROUNDS if any(sample[name].null_count for name in chosen) else 1):
        phi, _ = encoder.encode(sample)
        scored = phi[:, np.concatenate(encoder.scored)]
        encoder = replace(encoder, precision=_ridge_inverse(scored))
    spread = phi.std(axis=0)
    return replace(encoder, centre=phi.mean(axis=0), scale=np.where(spread > 1e-9, spread, 1.0))


def _ridge_inverse(scored: FloatArray) -> FloatArray:
    if not scored.shape[1]:
        return np.empty((0, 0))
    covariance = np.atleast_2d(np.cov(scored, rowvar=False, bias=True))
    inverse = np.linalg.inv(covariance + _RIDGE * np.eye(len(covariance)))
    return np.asarray(inverse, dtype=np.float64)


def _fit_coding(name: str, values: pa.ChunkedArray, kind: ColumnType) -> Coding:
    present = values.drop_null()
    if not len(present):
        message = (
            f"column {name!r} has no value in the reference; "
            f"give it `role: ignore`, or a reference that holds it"
        )
        raise ReferenceDataError(message)
    if kind in ("number", "integer"):
        found, counts = np.unique(present.to_numpy().astype(np.float64), return_counts=True)
        if len(found) == 1:
            return Coding(name, "constant", knots=(float(found[0]),))
        ranks = np.cumsum(counts) - 0.5 * counts
        if len(found) > KNOTS:
            pick = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], KNOTS)))
            found, ranks = found[pick], ranks[pick]
        scores = np.clip(ndtri(ranks / counts.sum()), -WINSOR, WINSOR)
        return Coding(name, "numeric", tuple(found.tolist()), tuple(scores.tolist()))
    texts, numbers = pc.value_counts(present.cast(pa.string())).flatten()
    counted = sorted(zip(numbers.to_pylist(), texts.to_pylist(), strict=True), key=_most_frequent)
    frequent = sum(number >= MIN_SHARE * len(values) for number, _ in counted)
    return Coding(
        name,
        "category" if len(counted) > 1 else "constant",
        values=tuple(text for _, text in counted),
        indicators=max(0, min(frequent - 1, MAX_INDICATORS)),
        once=sum(number == 1 for number, _ in counted) / len(values),
    )


def _most_frequent(counted: tuple[int, str]) -> tuple[int, str]:
    return -counted[0], counted[1]


def _width(coding: Coding, terms: int) -> int:
    return terms if coding.kind == "numeric" else coding.indicators


def _codes(coding: Coding, values: pa.ChunkedArray) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return where in `coding.values` each value is (−1: nowhere), and whether it is unseen."""
    if coding.knots:
        unseen = pc.not_equal(values, coding.knots[0]).fill_null(fill_value=False)
        return np.zeros(len(values), dtype=np.int32), unseen.to_numpy()
    codes = pc.index_in(values.cast(pa.string()), pa.array(coding.values, pa.string()))
    unseen = pc.and_not(values.is_valid(), codes.is_valid())
    return codes.fill_null(-1).to_numpy(), unseen.to_numpy()


def _coding_json(coding: Coding) -> dict[str, Any]:
    return {
        "name": coding.name,
        "kind": coding.kind,
        "knots": list(coding.knots),
        "scores": list(coding.scores),
        "values": list(coding.values),
        "indicators": coding.indicators,
        "once": coding.once,
    }


def _coding_from(data: Mapping[str, Any]) -> Coding:
    return Coding(
        name=data["name"],
        kind=data["kind"],
        knots=tuple(data["knots"]),
        scores=tuple(data["scores"]),
        values=tuple(data["values"]),
        indicators=int(data["indicators"]),
        once=float(data["once"]),
    )
