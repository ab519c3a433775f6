"""Finds the kind of change that moved a feature: the explanation that its rows speak for most.

Every explanation of `monitors.explain.kinds` gives the window's values a probability. Log
likelihoods are divided by the rows that are worth one independent row, as rows of a series are not
independent (Varin, Reid & Firth 2011, §3, a composite likelihood), and each explanation pays for
what it fitted (Schwarz 1978). Where no rows are kept, or none of the explanations is better than
that nothing has changed, the Gram matrices say what they can (`monitors.explain.by_profiles`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtr

from monitors.encoder import Coding, Encoder
from monitors.explain.by_profiles import by_profiles, fit_profiles
from monitors.explain.change_point import likeliest_start, odd_from, still_from
from monitors.explain.conditional import (
    Conditional,
    conditional_of,
    encode_without,
    gaps_of,
    present,
)
from monitors.explain.diagnosis import Diagnosis
from monitors.explain.kinds import explanations
from monitors.explain.residual_law import ResidualLaw, fit_law, resolution, usual_step
from monitors.explain.sample import Coded, Sample
from monitors.explain.series import Explanation, Series, sound
from monitors.explain.swaps import Swap, find_swap
from monitors.explain.wording import put_into_words
from monitors.feature_shift.locate import Evidence
from monitors.gram import Profile
from schemas.stream import Column

LEAST_ROWS = 24  # with a value, of the window
LEAST_REFERENCE_ROWS = 100
_LEAST_PART = 12  # rows of either segment of a window
_BACK = 24  # rows by which a beginning may be earlier than it looks at first
_CLEAR = 3.0  # nats of independent evidence by which an explanation beats that nothing changed
_BEGUN = 5.0  # nats by which a beginning within the window beats the whole window
_SWAP = 3.0  # nats: two sensors are not exchanged as often as one is at fault
_RARE = 1e-6  # probability of a value that the reference does not have
_UNIT = 6.0  # nats: a conversion that fits is no coincidence of a gain and an offset


@dataclass(frozen=True, slots=True)
class Chosen:
    """An explanation, where it begins, and how strongly the rows speak for it."""

    explanation: Explanation
    start: int  #: first row
    score: float  #: nats of independent evidence


def diagnose(
    evidence: Evidence,
    encoder: Encoder,
    reference: Profile,
    window: Profile,
    columns: Mapping[str, Column],
    set_aside: Sequence[int],
    sample: Sample | None,
) -> Diagnosis:
    """Say how one feature moved in one window.

    Parameters
    ----------
    columns : of the stream, for the units.
    set_aside : features already named; they do not explain this one.
    sample : rows of the reference and of the window; None where none are kept.
    """
    plain = by_profiles(evidence, encoder, reference, window, columns, set_aside)
    numeric = encoder.features[evidence.feature].kind == "numeric"
    if not evidence.alarm or evidence.kind != "conditional" or not numeric:
        return plain
    if plain.kind == "missing":
        return plain
    if sample is None or not sample.window.num_rows or not sample.reference.num_rows:
        return plain
    with np.errstate(all="ignore"):  # of a partner near the ends of a float's range
        return (
            _by_rows(evidence.feature, encoder, reference, window, columns, set_aside, sample)
            or plain
        )


def _by_rows(
    feature: int,
    encoder: Encoder,
    reference: Profile,
    window: Profile,
    columns: Mapping[str, Column],
    set_aside: Sequence[int],
    sample: Sample,
) -> Diagnosis | None:
    """Return what the rows say; None where they say too little."""
    sample = replace(sample, reference=_complete(encoder, sample.reference))
    tables = sample.reference, sample.window
    coded = Coded(sample, *(encode_without(encoder, rows, [feature]) for rows in tables))
    before, now = (
        conditional_of(encoder, reference, rows, phi, feature, set_aside, time=sample.time)
        for rows, phi in zip(tables, (coded.reference, coded.window), strict=True)
    )
    there = np.isfinite(now.observed)
    if there.sum() < LEAST_ROWS or np.isfinite(before.observed).sum() < LEAST_REFERENCE_ROWS:
        return None
    law = replace(fit_law(before), step=usual_step(now.times))
    if not law.ordinary:
        return None
    coding = encoder.features[feature]
    series = _series(now, there, law, coding)
    column = columns.get(coding.name)
    unit = column.unit if column is not None else None
    swap = find_swap(
        encoder, reference, coded, feature, set_aside, there, law=law, cell=series.cell
    )
    chosen = choose(series, law, unit, swap)
    if chosen is None:
        return None
    since = None
    if chosen.start and series.times is not None:
        since = datetime.fromtimestamp(series.times[chosen.start] / 1e6, UTC)
    partner = encoder.names[swap.partner] if swap and chosen.explanation.kind == "swapped" else None
    fit = fit_profiles(feature, encoder, reference, window, set_aside)
    return put_into_words(chosen.explanation, fit, law, unit, since, partner)


def _complete(encoder: Encoder, rows: pa.Table) -> pa.Table:
    """Return the rows without a gap, if they are enough: what fills a gap is noise."""
    whole = ~gaps_of(rows, present(encoder))
    if whole.all() or whole.sum() < LEAST_REFERENCE_ROWS:
        return rows
    return rows.filter(pa.array(whole))


def _series(now: Conditional, there: NDArray[np.bool_], law: ResidualLaw, coding: Coding) -> Series:
    observed = now.observed[there]
    steps = [step for step in (law.resolution, resolution(observed)) if step > 0]
    cell = max(min(steps, default=1.0), 1e-12)
    low, high = (
        ndtr(np.interp(observed + side * cell / 2, coding.knots, coding.scores, -np.inf, np.inf))
        for side in (-1, 1)
    )
    return Series(
        None if now.times is None else now.times[there],
        observed,
        now.expected[there],
        law.scale(now.spread[there]),
        cell,
        np.log(np.maximum(high - low, _RARE)),
        (coding.knots[0], coding.knots[-1]),
    )


def choose(series: Series, law: ResidualLaw, unit: str | None, swap: Swap | None) -> Chosen | None:
    """Return the explanation that the rows speak for most; None where it is that nothing changed.

    A change of part of the window is looked for from the row on that parts odd rows from others.
    """
    whole = [Chosen(e, 0, _score(e, law)) for e in explanations(series, law, unit)]
    unchanged = whole[0]
    if swap is not None:
        cost = _SWAP + float(np.log(swap.choices))
        whole.append(_exchanged(swap.gain(), cost, 0, law))
    best = max(whole, key=_strength)
    starts = {odd_from(unchanged.explanation.log_mass), still_from(series.observed)}
    for start in sorted(starts):
        if not _LEAST_PART <= start <= len(series) - _LEAST_PART:
            continue
        head = float(sound(series.part(stop=start), law).log_mass.sum()) / law.dependence
        found = explanations(series.part(start), law, unit)[1:]
        part = [Chosen(e, start, _score(e, law)) for e in found]
        if swap is not None:
            part.append(_exchanged(swap.gain(start), cost, start, law))
        strongest = max(part, key=_strength)
        score = strongest.score + head - np.log(len(series) / law.dependence)
        # a drift, too, is a guess of when it began
        dated = best.start or best.explanation.kind == "drift"
        if score > best.score + (0.0 if dated else _BEGUN):
            best = Chosen(strongest.explanation, start, score)
    if best.score <= unchanged.score + _CLEAR:
        return None
    return _from_its_beginning(best, series, law, unit) if best.start else best


def _from_its_beginning(
    chosen: Chosen, series: Series, law: ResidualLaw, unit: str | None
) -> Chosen:
    """Move the beginning to the row that its own law and that of sound rows tell apart best."""
    first = max(chosen.start - _BACK, 0)
    again = [
        e for e in explanations(series.part(first), law, unit) if e.kind == chosen.explanation.kind
    ]
    if not again:
        return chosen
    before = sound(series, law, series.part(stop=chosen.start)).log_mass[first:]
    after = max(again, key=lambda e: _score(e, law)).log_mass
    start = first + likeliest_start(before, after)
    if not _LEAST_PART <= start <= len(series) - _LEAST_PART:
        return chosen
    return replace(chosen, start=start)


def _score(explanation: Explanation, law: ResidualLaw) -> float:
    prior = _UNIT if explanation.kind == "unit" else 0.0
    return float(explanation.log_mass.sum()) / law.dependence - explanation.cost + prior


def _exchanged(gain: NDArray[np.float64], cost: float, start: int, law: ResidualLaw) -> Chosen:
    explanation = Explanation("swapped", gain, cost)
    return Chosen(explanation, start, _score(explanation, law))


def _strength(chosen: Chosen) -> float:
    return chosen.score if np.isfinite(chosen.score) else -np.inf
