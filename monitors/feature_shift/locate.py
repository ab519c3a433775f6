"""Detection and localisation: name the feature that moved most, set it aside, repeat.

When x_j alone is replaced, the conditionals of its neighbours change too, because they were
conditioned on a good x_j. So only the feature with the largest effect is named, its columns are
marginalised out of all Gram matrices, and the remaining features are tested without it, against a
null of their own. A feature that truly shifts drags its neighbours along instead: given it they
are as before, and without it they are not. So a further name needs both: to have moved with the
named features set aside, and with them among the conditions. Evidence says whether a feature
moved, not which moved most: blocks that are exchanged between two tables carry the change into the
null, which levels the evidence of all.
The first name costs a false alarm with probability `level`; each further name is given at a fifth
of it, so that a right name is followed by a wrong one with probability at most `level` / 5 a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitors.counts import RateLaw
from monitors.encoder import FloatArray
from monitors.feature_shift.likelihood_ratio import likelihood_ratio, without
from monitors.feature_shift.null import Null
from monitors.gram import Profile

FURTHER = 0.2  # share of the level for every name after the first
COUNTED = 0.2  # share of the level for the count tests, where there is anything to count
MOST_NAMED = 10  # more says: the table changed as a whole

Kind: TypeAlias = Literal["conditional", "missing", "unseen"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the tests say of one feature."""

    feature: int
    kind: Kind  #: which of the feature's tests is reported
    evidence: float  #: −log₁₀ p of this test alone
    threshold: float  #: evidence that any feature exceeds with the allowed probability
    #: equivalent conditional mean shift in σ (with two terms per number, an offset counts up to √3
    #: times); for counts, Cohen's h of the two rates
    effect: float
    alarm: bool


def locate(
    reference: Profile,
    window: Profile,
    groups: Sequence[NDArray[np.intp]],
    rates: Sequence[tuple[RateLaw, RateLaw] | None],
    null_without: Callable[[tuple[int, ...]], Null],
    *,
    level: float,
    ignore_below: float,
) -> list[Evidence]:
    """Test every feature of a window, and name those that moved.

    Parameters
    ----------
    groups : basis columns per feature.
    rates : per feature the laws of missing and of unseen values; None where there were none.
    null_without : gives the null of the likelihood ratios with some features set aside.
    level : probability of any name when nothing changed.
    ignore_below : smallest effect that is an alarm.

    Returns
    -------
    list of Evidence: the named features in the order of naming, then the others, strongest first.
    """

    def conditional(removed: tuple[int, ...], share: float) -> list[Evidence]:
        null = null_without(removed)
        return _conditional(reference, window, groups, removed, null, share, ignore_below)

    return name_in_turn(
        conditional, reference, window, rates, level=level, ignore_below=ignore_below
    )


def name_in_turn(
    conditional: Callable[[tuple[int, ...], float], list[Evidence]],
    reference: Profile,
    window: Profile,
    rates: Sequence[tuple[RateLaw, RateLaw] | None],
    *,
    level: float,
    ignore_below: float,
) -> list[Evidence]:
    """Name the features that moved, by any conditional test and by the counts; see `locate`.

    Parameters
    ----------
    conditional : tests every feature, with some features set aside, at a level.
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
        named.append(left[0])
        removed = (*removed, left[0].feature)


def _weaker(without: Evidence, given: Evidence) -> Evidence:
    """Return the weaker evidence: a feature moved only if both say so."""
    if given.alarm and (
        not without.alarm or without.evidence - without.threshold < given.evidence - given.threshold
    ):
        return without
    return given if without.alarm else without


def _moved_most(item: Evidence) -> tuple[bool, float]:
    """Put alarms first, by their effect, then the others, by their evidence."""
    return not item.alarm, -item.effect if item.alarm else item.threshold - item.evidence


def _quiet(item: Evidence) -> Evidence:
    return Evidence(
        item.feature, item.kind, item.evidence, item.threshold, item.effect, alarm=False
    )


def _stronger(first: Evidence, second: Evidence) -> Evidence:
    margin = (second.alarm, second.evidence - second.threshold)
    return second if margin > (first.alarm, first.evidence - first.threshold) else first


def _conditional(
    reference: Profile,
    window: Profile,
    groups: Sequence[NDArray[np.intp]],
    removed: tuple[int, ...],
    null: Null,
    level: float,
    ignore_below: float,
) -> list[Evidence]:
    gram_p, fewer = without(reference.gram, groups, removed)
    gram_q, _ = without(window.gram, groups, removed)
    ratio = likelihood_ratio(gram_p, gram_q, fewer)
    n_p, n_q = float(gram_p[0, 0]), float(gram_q[0, 0])
    effect = np.sqrt(np.maximum(ratio - null.mean(), 0.0) * (n_p + n_q) / (n_p * n_q))
    return weigh(ratio, effect, null, level=level, ignore_below=ignore_below)


def weigh(
    statistic: FloatArray, effect: FloatArray, null: Null, *, level: float, ignore_below: float
) -> list[Evidence]:
    """Weigh a conditional statistic and its effect, shape (features,), against the null."""
    threshold = null.threshold(level)
    evidence = null.evidence(statistic)
    alarm = (evidence > threshold) & (effect >= ignore_below)
    return [
        Evidence(j, "conditional", float(evidence[j]), threshold, float(effect[j]), bool(alarm[j]))
        for j in range(len(statistic))
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
