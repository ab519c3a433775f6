"""Compares two tables: asks of each feature whether, given all the others, it is what it was.

The null is a permutation of blocks of rows between the two tables, so that the false-alarm rate
holds whatever the law of the rows, as long as stretches longer than a block are exchangeable.
Blocks are as long as the rows' serial dependence asks.

The method `moments` is the likelihood ratio of Gram matrices; the others are those of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.counts import RateLaw, fit_rate
from monitors.encoder import Encoder, FloatArray, fit_encoder
from monitors.explain import explain
from monitors.feature_shift import paper
from monitors.feature_shift.likelihood_ratio import RIDGE, without
from monitors.feature_shift.locate import Evidence, locate, name_in_turn
from monitors.feature_shift.null import Null, fit_null
from monitors.gram import Profile, gram_matrix, moments, profile_blocks
from schemas.errors import SourceError, StreamFileError, did_you_mean
from schemas.stream import Column, FeatureShift

METHODS: tuple[str, ...] = ("moments", *paper.DRAWS)
BLOCKS = 100  # per table, where serial dependence allows
MOST_BLOCKS = 1000  # of both tables, where the blocks of both are of one size
LEAST_BLOCKS = 8
LEAST_ROWS = 40
SAMPLE_ROWS = 16_384  # rows the basis is fixed on: 16 per knot of a quantile table
_LENGTHS = 5.0  # a block is so many integrated autocorrelation times long


@dataclass(frozen=True, slots=True)
class FeatureFinding:
    """One tested feature of a comparison."""

    subject: str
    statistic: float  #: −log₁₀ p of this feature alone
    threshold: float  #: statistic that any feature exceeds with probability `false_alarm_rate`
    p_value: float
    effect: float
    alarm: bool
    rank: int
    explanation: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of `check`."""

    findings: tuple[FeatureFinding, ...]
    rows: dict[str, int]
    false_alarm_rate: float
    notes: tuple[str, ...]
    method: str = "moments"

    @property
    def alarm(self) -> bool:
        """Whether any feature moved."""
        return any(finding.alarm for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``tidegauge check --json`` prints."""
        return {
            "alarm": self.alarm,
            "rows": self.rows,
            "false_alarm_rate": self.false_alarm_rate,
            "findings": [
                {
                    "monitor": "feature_shift",
                    "method": self.method,
                    "subject": finding.subject,
                    "statistic": finding.statistic,
                    "threshold": finding.threshold,
                    "p_value": finding.p_value,
                    "effect": finding.effect,
                    "alarm": finding.alarm,
                    "rank": finding.rank,
                    "explanation": finding.explanation,
                }
                for finding in self.findings
            ],
        }


def check_method(method: str) -> None:
    """Refuse a method that `check` does not have.

    Raises
    ------
    StreamFileError
        Naming those that it has, and the nearest.
    """
    if method not in METHODS:
        message = (
            f"method {method!r}: there is no such method{did_you_mean(method, METHODS)}; "
            f"choose one of {', '.join(METHODS)}"
        )
        raise StreamFileError(message)


def check(
    reference: pa.Table,
    current: pa.Table,
    columns: Mapping[str, Column],
    *,
    method: str = "moments",
    false_alarm_rate: float = 0.05,
    condition_on: Sequence[str] = (),
    seed: int = 0,
    ignore_below: float | None = None,
) -> Comparison:
    """Compare two tables of typed rows.

    Parameters
    ----------
    reference, current : tables with the columns named in `columns`; nulls allowed; rows in order of
        time, where they have one.
    columns : what each column holds; those with the role `feature` are tested.
    method : one of `METHODS`.
    false_alarm_rate : probability that any feature is named when nothing changed.
    condition_on : columns that explain the others and are not tested.
    seed : of the permutations.
    ignore_below : smallest effect that is an alarm, in conditional standard deviations.

    Raises
    ------
    StreamFileError
        An unknown method.
    SourceError
        A table with too few rows.
    ReferenceDataError
        No feature, too many, or one without any value.
    """
    check_method(method)
    for name, table in (("reference", reference), ("current", current)):
        if table.num_rows < LEAST_ROWS:
            message = (
                f"the {name} table has {table.num_rows} rows; "
                f"a comparison needs at least {LEAST_ROWS}"
            )
            raise SourceError(message)
    floor = FeatureShift().ignore_below if ignore_below is None else ignore_below
    features = [
        name
        for name, column in columns.items()
        if column.role == "feature" and name not in condition_on
    ]
    counts = {"reference": reference.num_rows, "current": current.num_rows, "rejected": 0}
    notes: list[str] = []
    if method == "knn-ks" and max(reference.num_rows, current.num_rows) > paper.MOST_ROWS:
        notes.append(f"knn-ks compares {paper.MOST_ROWS:,} rows of a longer table, evenly taken")
        reference, current = _thin(reference, paper.MOST_ROWS), _thin(current, paper.MOST_ROWS)
    sizes = reference.num_rows, current.num_rows
    encoder = fit_encoder(
        _thin(reference, SAMPLE_ROWS),
        columns,
        features=features,
        conditions=list(condition_on),
        window_rows=min(sizes) if method == "moments" else 0,
    )
    length = _dependence_length(encoder, _head(reference))
    most_p, most_q = (BLOCKS, BLOCKS) if method == "moments" else _equal_blocks(*sizes)
    number_p = _number(reference, length, most_p, notes, "reference")
    number_q = _number(current, length, most_q, notes, "current")
    blocks_p = list(profile_blocks(encoder, reference, number_p).values())
    blocks_q = list(profile_blocks(encoder, current, number_q).values())
    whole_p, whole_q = _sum(blocks_p), _sum(blocks_q)
    stack = np.stack([block.gram for block in (*blocks_p, *blocks_q)])
    rng = np.random.default_rng(seed)
    rates = _rates(blocks_p, whole_p + whole_q)
    if method == "moments":

        def null_without(removed: tuple[int, ...]) -> Null:
            grams, groups = without(stack, encoder.groups, removed)
            return fit_null(grams, groups, len(blocks_q), rng)

        found = locate(
            whole_p,
            whole_q,
            encoder.groups,
            rates,
            null_without,
            level=false_alarm_rate,
            ignore_below=floor,
        )
    else:
        blocks = paper.Blocks(
            grams=stack,
            in_window=np.arange(len(stack)) >= len(blocks_p),
            groups=encoder.groups,
            numeric=[j for j, coding in enumerate(encoder.features) if coding.kind == "numeric"],
            rows=lambda: np.concatenate([encoder.encode(t)[0] for t in (reference, current)]),
            block=np.concatenate([number_p, number_q + len(blocks_p)]),
        )
        untested = paper.untested(method, blocks)
        if untested:
            names = ", ".join(repr(encoder.names[j]) for j in untested)
            notes.append(f"{method} tests numbers only; these explain the others: {names}")
        found = [
            item
            for item in name_in_turn(
                partial(paper.evidence, method, blocks, rng=rng, ignore_below=floor),
                whole_p,
                whole_q,
                rates,
                level=false_alarm_rate,
                ignore_below=floor,
            )
            if item.alarm or item.feature not in untested
        ]
    return Comparison(
        tuple(_findings(found, encoder, whole_p, whole_q, columns)),
        counts,
        false_alarm_rate,
        tuple(notes),
        method,
    )


def _findings(
    found: Sequence[Evidence],
    encoder: Encoder,
    reference: Profile,
    window: Profile,
    columns: Mapping[str, Column],
) -> list[FeatureFinding]:
    named = [item.feature for item in found if item.alarm]
    return [
        FeatureFinding(
            subject=encoder.features[item.feature].name,
            statistic=item.evidence,
            threshold=item.threshold,
            p_value=max(10.0**-item.evidence, 5e-324),
            effect=item.effect,
            alarm=item.alarm,
            rank=rank,
            explanation=explain(item, encoder, reference, window, columns, named[: rank - 1]),
        )
        for rank, item in enumerate(found, start=1)
    ]


def _sum(blocks: Sequence[Profile]) -> Profile:
    total = blocks[0]
    for block in blocks[1:]:
        total = total + block
    return total


def _thin(table: pa.Table, most: int) -> pa.Table:
    if table.num_rows <= most:
        return table
    return table.take(np.linspace(0, table.num_rows - 1, most).astype(np.int64))


def _head(table: pa.Table) -> pa.Table:
    return table.slice(0, 20_000)


def _equal_blocks(reference: int, current: int) -> tuple[int, int]:
    """Return how many blocks of one size two tables of so many rows make."""
    size = max(min(reference, current) / BLOCKS, (reference + current) / MOST_BLOCKS)
    return max(round(reference / size), 1), max(round(current / size), 1)


def _number(
    table: pa.Table, length: float, most: int, notes: list[str], name: str
) -> NDArray[np.int64]:
    """Return the block of each row: at most so many blocks, of at least so many rows."""
    independent = int(table.num_rows / length)
    if independent < LEAST_BLOCKS:
        notes.append(
            f"the rows of the {name} table depend on each other over about "
            f"{length / _LENGTHS:.0f} rows: it holds only {independent} independent stretches, so "
            f"the false-alarm rate is not assured; compare longer tables, or condition on what "
            f"makes them drift (--condition-on)"
        )
    count = min(most, max(independent, LEAST_BLOCKS))
    number: NDArray[np.int64] = np.arange(table.num_rows) * count // table.num_rows
    return number


def _rates(reference: Sequence[Profile], whole: Profile) -> list[tuple[RateLaw, RateLaw] | None]:
    """Return the laws of missing and unseen values; None where neither table has any."""
    rows = np.asarray([block.rows for block in reference], dtype=np.float64)
    counts = np.stack([block.counts for block in reference])
    return [
        (fit_rate(counts[:, j, 0], rows), fit_rate(counts[:, j, 1], rows)) if seen else None
        for j, seen in enumerate(np.any(whole.counts > 0, axis=1))
    ]


def _dependence_length(encoder: Encoder, table: pa.Table) -> float:
    """Return the rows a block needs: five autocorrelation times of the conditional residuals."""
    phi, _ = encoder.encode(table)
    own = [int(group[0]) for group in encoder.groups if len(group)]
    if not own:
        return 1.0
    _, _, covariance = moments(gram_matrix(phi))
    precision = np.linalg.inv(covariance + RIDGE * np.eye(len(covariance)))
    residuals = (phi @ precision[:, own]) / np.diagonal(precision)[own]
    times = [autocorrelation_time(residuals[:, j]) for j in range(len(own))]
    return _LENGTHS * float(np.quantile(times, 0.9))


def autocorrelation_time(series: FloatArray) -> float:
    """Return 1 + 2 Σ ρ_k over Geyer's initial positive sequence (Geyer 1992, §3.3), at least 1.

    Parameters
    ----------
    series : FloatArray, shape (n,)
    """
    n = len(series)
    centred = series - series.mean()
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), size)[:n]
    if covariance[0] <= 0:
        return 1.0
    rho = covariance / covariance[0]
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(axis=1)
    stop = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs)
    return max(1.0, float(2.0 * pairs[:stop].sum() - 1.0))
