"""Compares two tables: asks of each feature whether, given all the others, it is what it was.

The null is a permutation of blocks of rows between the two tables, so that the false-alarm rate
holds whatever the law of the rows, as long as stretches longer than a block are exchangeable.
Blocks have one length in both tables, and are as long as the rows' serial dependence asks: what
crosses their ends is not exchanged, which at 20 autocorrelation times is a twentieth of a variance.

The methods that need no rows but Gram matrices are those of a stream, too.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.autocorrelation import autocorrelation_time
from monitors.basis import Basis
from monitors.counts import RateLaw, fit_rates
from monitors.encoder import Encoder, fit_encoder
from monitors.explain.diagnose import diagnose
from monitors.explain.sample import Sample
from monitors.feature_shift.gram_methods import GRAM_METHODS, draws
from monitors.feature_shift.likelihood_ratio import RIDGE
from monitors.feature_shift.locate import Evidence, locate, name_in_turn
from monitors.feature_shift.row_methods import ROW_METHODS, check_installed, evidence
from monitors.feature_shift.rows import Rows
from monitors.gram import Profile, gram_matrix, moments, profile_blocks
from monitors.null import Null, fit_null
from schemas.errors import ReferenceDataError, SourceError, StreamFileError, did_you_mean
from schemas.monitors import FeatureShift
from schemas.stream import Column

METHODS: tuple[str, ...] = (*GRAM_METHODS, *ROW_METHODS)
BLOCKS = 100  # of the shorter table, where serial dependence allows
ENOUGH_BLOCKS = 16  # longer blocks are better than more of them
LEAST_BLOCKS = 8
MOST_BLOCKS = 400  # of the longer table
LEAST_ROWS = 40
SAMPLE_ROWS = 16_384  # rows the basis is fixed on: 16 per knot of a quantile table
EXPLAINED_ROWS = 2_000  # of either table, from which a finding is explained
STRETCH = 50  # of them follow each other
_WANTED, _NEEDED = 20.0, 5.0  # length of a block, in integrated autocorrelation times


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
    kind: str | None = None  #: of change: a `monitors.explain.diagnosis.Kind`


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
                    "kind": finding.kind,
                }
                for finding in self.findings
            ],
        }


def check_method(method: str) -> None:
    """Refuse a method that `check` does not have, or whose optional extra is not installed.

    Raises
    ------
    StreamFileError
        Naming those that it has, and the nearest; or what to install.
    """
    if method not in METHODS:
        message = (
            f"method {method!r}: there is no such method{did_you_mean(method, METHODS)}; "
            f"choose one of {', '.join(METHODS)}"
        )
        raise StreamFileError(message)
    check_installed(method)


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
        No feature that the method tests, too many, or one without any value.
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
    by_rows = ROW_METHODS.get(method)
    if by_rows is not None and max(reference.num_rows, current.num_rows) > by_rows.most_rows:
        most = by_rows.most_rows
        notes.append(f"{method} compares {most:,} rows of a longer table, evenly taken")
        reference, current = _thin(reference, most), _thin(current, most)
    sizes = reference.num_rows, current.num_rows
    encoder = fit_encoder(
        _thin(reference, SAMPLE_ROWS),
        columns,
        features=features,
        conditions=list(condition_on),
        window_rows=0 if by_rows else min(sizes),
    )
    dependence = _dependence_time(encoder, _head(reference))
    length = _block_length(min(sizes), dependence, notes)
    if by_rows is not None:  # then every row is in a block
        length = max(length, max(sizes) / MOST_BLOCKS)
    numbers = [_number(rows, length) for rows in sizes]
    parts_p = profile_blocks(encoder, reference, numbers[0])
    parts_q = profile_blocks(encoder, current, numbers[1])
    whole_p, whole_q = (functools.reduce(operator.add, p.values()) for p in (parts_p, parts_q))
    rates = _rates(encoder, list(parts_p.values()), whole_p + whole_q)
    untested = _untested(method, encoder)
    if len(untested) == len(features):
        message = f"{method} tests numbers only, and no feature is one; use moments or fisher"
        raise ReferenceDataError(message)
    if untested:
        names = ", ".join(repr(encoder.names[j]) for j in untested)
        notes.append(f"{method} tests numbers only; these explain the others: {names}")
    rng = np.random.default_rng(seed)
    if by_rows is None:
        bases = encoder.bases(min(sizes) / dependence)
        found = _by_grams(
            method,
            bases,
            (parts_p, parts_q),
            rates,
            rng,
            level=false_alarm_rate,
            ignore_below=floor,
        )
    else:
        rows = Rows(
            phi=np.concatenate([encoder.encode(table)[0] for table in (reference, current)]),
            block=np.concatenate([numbers[0] // 2, numbers[1] // 2 + len(parts_p)]),
            in_window=np.arange(len(parts_p) + len(parts_q)) >= len(parts_p),
            groups=encoder.groups,
            numeric=[j for j, coding in enumerate(encoder.features) if coding.kind == "numeric"],
        )
        conditional = partial(evidence, by_rows, rows, rng=rng, ignore_below=floor)
        found = name_in_turn(
            conditional, whole_p, whole_q, rates, level=false_alarm_rate, ignore_below=floor
        )
    found = [item for item in found if item.alarm or item.feature not in untested]
    return Comparison(
        tuple(_findings(found, encoder, (whole_p, whole_q), (reference, current), columns)),
        counts,
        false_alarm_rate,
        tuple(notes),
        method,
    )


def _by_grams(
    name: str,
    all_bases: Sequence[Basis],
    parts: tuple[Mapping[int, Profile], Mapping[int, Profile]],
    rates: Sequence[tuple[RateLaw, RateLaw] | None],
    rng: np.random.Generator,
    *,
    level: float,
    ignore_below: float,
) -> list[Evidence]:
    """Locate by a method that needs no rows; blocks with even numbers are those exchanged."""
    method = GRAM_METHODS[name]
    whole = [functools.reduce(operator.add, own.values()) for own in parts]
    blocks = [[own[k].gram for k in own if k % 2 == 0] for own in parts]
    stack, size = np.stack([*blocks[0], *blocks[1]]), min(map(len, blocks))

    def null_without(removed: tuple[int, ...]) -> Null:
        bases = method.bases(all_bases, removed)
        return fit_null(
            stack,
            method.within(bases),
            size,
            rng,
            rows=float(stack[:, 0, 0].mean() * size),
            shares=method.parts(bases),
            draws=draws(stack.shape[-1]),
        )

    return locate(
        whole[0],
        whole[1],
        method,
        all_bases,
        rates,
        null_without,
        level=level,
        ignore_below=ignore_below,
    )


def _untested(method: str, encoder: Encoder) -> list[int]:
    """Return the features with columns that a method has no test for."""
    if method in GRAM_METHODS and GRAM_METHODS[method].categories:
        return []
    return [j for j, coding in enumerate(encoder.features) if coding.indicators]


def _findings(
    found: Sequence[Evidence],
    encoder: Encoder,
    profiles: tuple[Profile, Profile],
    tables: tuple[pa.Table, pa.Table],
    columns: Mapping[str, Column],
) -> list[FeatureFinding]:
    named = [item.feature for item in found if item.alarm]
    sample = Sample(_stretches(tables[0]), _stretches(tables[1]), None) if named else None
    changes = [
        diagnose(item, encoder, *profiles, columns, named[:place], sample)
        for place, item in enumerate(found)
    ]
    return [
        FeatureFinding(
            subject=encoder.features[item.feature].name,
            statistic=item.evidence,
            threshold=item.threshold,
            p_value=max(10.0**-item.evidence, 5e-324),
            effect=item.effect,
            alarm=item.alarm,
            rank=rank,
            explanation=change.sentence,
            kind=change.kind,
        )
        for rank, (item, change) in enumerate(zip(found, changes, strict=True), start=1)
    ]


def _thin(table: pa.Table, most: int) -> pa.Table:
    if table.num_rows <= most:
        return table
    return table.take(np.linspace(0, table.num_rows - 1, most).astype(np.int64))


def _stretches(table: pa.Table) -> pa.Table:
    """Return rows that explain a finding: all, or stretches at equal distances of a long table."""
    if table.num_rows <= EXPLAINED_ROWS:
        return table
    starts = np.linspace(0, table.num_rows - STRETCH, EXPLAINED_ROWS // STRETCH).astype(np.int64)
    return table.take((starts[:, None] + np.arange(STRETCH)).ravel())


def _head(table: pa.Table) -> pa.Table:
    return table.slice(0, 20_000)


def _block_length(rows: int, time: float, notes: list[str]) -> float:
    """Return the rows of a block, from those of the shorter table."""
    enough = min(float(ENOUGH_BLOCKS), rows / (_NEEDED * time))
    count = int(min(float(BLOCKS), max(rows / (_WANTED * time), enough)))
    if count < LEAST_BLOCKS:
        notes.append(
            f"the rows depend on each other over about {time:.0f} rows: the shorter table holds "
            f"only {count} independent stretches, so the false-alarm rate is not assured; compare "
            f"longer tables, or condition on what makes them drift (--condition-on)"
        )
    return rows / max(count, LEAST_BLOCKS)


def _number(rows: int, length: float) -> NDArray[np.int64]:
    """Return the block of each row, an even number; where blocks have gaps, these are odd."""
    wanted = max(1, round(rows / length))
    count = min(wanted, MOST_BLOCKS)
    share = 1.0 if count == wanted else count * length / rows
    place = np.arange(rows) * (count / rows)
    block = place.astype(np.int64)
    number: NDArray[np.int64] = 2 * block + (place - block >= share)
    return number


def _rates(
    encoder: Encoder, reference: Sequence[Profile], whole: Profile
) -> list[tuple[RateLaw, RateLaw] | None]:
    """Return the laws of missing and unseen values; None where neither table has any."""
    rows = np.asarray([part.rows for part in reference], dtype=np.float64)
    laws = fit_rates(encoder.features, np.stack([part.counts for part in reference]), rows)
    seen = np.any(whole.counts > 0, axis=1).tolist()
    return [law if counted else None for law, counted in zip(laws, seen, strict=True)]


def _dependence_time(encoder: Encoder, table: pa.Table) -> float:
    """Return the autocorrelation time of the conditional residuals, in rows."""
    phi, _ = encoder.encode(table)
    own = [int(group[0]) for group in encoder.groups if len(group)]
    if not own:
        return 1.0
    _, _, covariance = moments(gram_matrix(phi))
    precision = np.linalg.inv(covariance + RIDGE * np.eye(len(covariance)))
    residuals = (phi @ precision[:, own]) / np.diagonal(precision)[own]
    times = [autocorrelation_time(residuals[:, j]) for j in range(len(own))]
    return float(np.quantile(times, 0.9))
