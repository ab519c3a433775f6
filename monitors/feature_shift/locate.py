"""Detection and localisation: name the feature that explains most, set it aside, repeat.

When x_j alone is replaced, the conditionals of its neighbours change too, because they were
conditioned on a good x_j. So only one feature is named, the one without which the least is left to
explain (of equals, the one with the largest effect). Its columns are marginalised out of all Gram
matrices, and the remaining features are tested without it, against a null of their own. A feature
that truly shifts drags its neighbours along instead: given it they are as before, and without it
they are not. So a further name needs both: to have moved with the named features set aside, and
with them among the conditions.
The first name costs a false alarm with probability `level`; each further name is given at a fifth
of it, so that a right name is followed by a wrong one with probability at most `level` / 5 a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from monitors.basis import Basis
from monitors.counts import RateLaw
from monitors.encoder import FloatArray
from monitors.feature_shift.gram_methods import GramMethod
from monitors.gram import Profile
from monitors.null import Null

FURTHER = 0.2  # share of the level for every name after the first
COUNTED = 0.2  # share of the level for the count tests, where there is anything to count
CANDIDATES = 5  # features with the largest effects that are tried for a name
MOST_NAMED = 10  # more says: the table changed as a whole

Kind: TypeAlias = Literal["conditional", "missing", "unseen"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the tests say of one feature."""

    feature: int
    kind: Kind  #: which of the feature's tests is reported
    evidence: float  #: −log₁₀ p of this test alone
    threshold: float  #: evidence that any feature exceeds with the allowed probability
    effect: float  #: equivalent conditional mean shift in σ; for counts, Cohen's h of the two rates
    alarm: bool


def locate(
    reference: Profile,
    window: Profile,
    method: GramMethod,
    bases: Sequence[Basis],
    rates: Sequence[tuple[RateLaw, RateLaw] | None],
    null_without: Callable[[tuple[int, ...]], Null],
    *,
    level: float,
    ignore_below: float,
) -> list[Evidence]:
    """Test every feature of a window, and name those that moved.

    Parameters
    ----------
    bases : see `Encoder.bases`; the method reads some, and a feature's strongest counts.
    rates : per feature the laws of missing and of unseen values; None where there were none.
    null_without : gives the null of the statistics with some features set aside.
    level : probability of any name when nothing changed.
    ignore_below : smallest effect that is an alarm.

    Returns
    -------
    list of Evidence: the named features in the order of naming, then the others, strongest first.
    """
    total = reference.gram + window.gram

    def by_law(null: Null, removed: tuple[int, ...], share: float) -> list[Evidence]:
        found = method.statistic(total, window.gram, method.bases(bases, removed))
        effect = method.effect(found, null.mean(), reference.rows, window.rows)
        return weigh(found, effect, null, level=share, ignore_below=ignore_below)

    def conditional(removed: tuple[int, ...], share: float) -> list[Evidence]:
        return by_law(null_without(removed), removed, share)

    def without(removed: tuple[int, ...], candidate: int, share: float) -> list[Evidence]:
        return by_law(null_without(removed), (*removed, candidate), share)  # near enough its own

    return name_in_turn(
        conditional, reference, window, rates, without, level=level, ignore_below=ignore_below
    )


def name_in_turn(
    conditional: Callable[[tuple[int, ...], float], list[Evidence]],
    reference: Profile,
    window: Profile,
    rates: Sequence[tuple[RateLaw, RateLaw] | None],
    without: Callable[[tuple[int, ...], int, float], list[Evidence]] | None = None,
    *,
    level: float,
    ignore_below: float,
) -> list[Evidence]:
    """Name the features that moved, by any conditional test and by the counts; see `locate`.

    Parameters
    ----------
    conditional : tests every feature, with some features set aside, at a level.
    without : the same with one more set aside, quickly, to choose whom to name; where that is dear,
        the effects choose.
    """
    counted = [j for j, law in enumerate(rates) if law is not None]
    share = level * (1.0 - COUNTED) if counted else level
    tests = 2 * max(len(counted), 1)
    named: list[Evidence] = []
    removed: tuple[int, ...] = ()
    kept: list[Evidence] = []  #: what was found with the named features among the conditions
    while True:
        allowed = FURTHER if removed else 1.0
        found = conditional(removed, share * allowed)
        for j in counted:
            if j not in removed:
                limit = -np.log10(level * COUNTED * allowed / tests)
                found[j] = _stronger(
                    found[j], _counted(j, rates[j], reference, window, limit, ignore_below)
                )
        kept = kept or found
        found = [_weaker(*pair) for pair in zip(found, kept, strict=True)]
        left = sorted(
            (item for j, item in enumerate(found) if j not in removed),
            key=_moved_most,
        )
        if not left or not left[0].alarm or len(named) == MOST_NAMED:
            return named + [_quiet(item) for item in left]
        chosen, alarms = left[0], [item for item in left if item.alarm]
        if without is not None and len(alarms) > 1:
            rest = {
                item.feature: _left(
                    without(removed, item.feature, share * allowed), alarms, item.feature
                )
                for item in alarms[:CANDIDATES]
            }
            chosen = min(alarms[:CANDIDATES], key=lambda item: rest[item.feature])
        named.append(chosen)
        removed = (*removed, chosen.feature)


def _left(found: Sequence[Evidence], alarms: Sequence[Evidence], gone: int) -> float:
    """Return the sum of the squared effects of what still alarms, the weaker of both tests each.

    Counts of missing and unseen values stay as they are, whoever else is set aside.
    """
    left = [item for item in alarms if item.feature != gone]
    both = [(i, found[i.feature] if i.kind == "conditional" else i) for i in left]
    return sum(min(given.effect, now.effect) ** 2 for given, now in both if now.alarm)


def _weaker(without: Evidence, given: Evidence) -> Evidence:
    """Return the weaker evidence: a feature moved only if both say so."""
    return min(without, given, key=lambda item: (item.alarm, _strength(item)))


def _moved_most(item: Evidence) -> tuple[bool, float]:
    """Put alarms first, by their effect, then the others, by their evidence."""
    return not item.alarm, -(item.effect if item.alarm else _strength(item))


def _strength(item: Evidence) -> float:
    """Return the evidence as a multiple of what alarms."""
    return item.evidence / max(item.threshold, 1e-9)


def _quiet(item: Evidence) -> Evidence:
    return Evidence(
        item.feature, item.kind, item.evidence, item.threshold, item.effect, alarm=False
    )


def _stronger(first: Evidence, second: Evidence) -> Evidence:
    return max(first, second, key=lambda item: (item.alarm, _strength(item)))


def weigh(
    statistic: FloatArray, effect: FloatArray, null: Null, *, level: float, ignore_below: float
) -> list[Evidence]:
    """Weigh conditional statistics and their effects, shape (statistics, features), by the null."""
    threshold = null.threshold(level)
    evidence = null.evidence(statistic)
    best = evidence.argmax(axis=0), np.arange(evidence.shape[1])
    evidence, effect = evidence[best], effect[best]
    alarm = (evidence > threshold) & (effect >= ignore_below)
    return [
        Evidence(j, "conditional", float(evidence[j]), threshold, float(effect[j]), bool(alarm[j]))
        for j in range(len(evidence))
    ]


def _counted(
    j: int,
    laws: tuple[RateLaw, RateLaw] | None,
    reference: Profile,
    window: Profile,
    threshold: float,
    ignore_below: float,
) -> Evidence:
    assert laws is not None  # noqa: S101 (for the type checker: the caller passes counted features)
    options: list[Evidence] = []
    kinds: tuple[Kind, Kind] = ("missing", "unseen")
    for position, kind in enumerate(kinds):
        before, now = int(reference.counts[j, position]), int(window.counts[j, position])
        strength = laws[position].evidence(now, window.rows, two_sided=kind == "missing")
        rates = np.sqrt([now / window.rows, before / reference.rows])
        effect = float(abs(np.diff(2.0 * np.arcsin(rates))[0]))
        alarm = strength > threshold and effect >= ignore_below
        options.append(Evidence(j, kind, strength, threshold, effect, alarm))
    return _stronger(*options)
