"""Shares that are counted, with intervals that are right for small counts: `RateLaw`s of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.counts import RateLaw
from monitors.feature_shift.reference import Reference
from monitors.gram import Profile
from monitors.marginals.histograms import CELLS
from monitors.marginals.reference import outside_count
from schemas.monitors import Marginal


@dataclass(frozen=True, slots=True)
class Counted:
    """What the count of one feature says."""

    feature: int
    count: int
    rows: int  #: rows, or values, that were counted
    law: RateLaw
    evidence: float  #: −log₁₀ p of this feature alone
    effect: float  #: Cohen's h of the two rates

    @property
    def expected(self) -> float:
        """The rate when nothing changed."""
        mean = self.law.events + self.law.prior[0]
        return mean / (self.law.rows + sum(self.law.prior))


def count_events(
    monitor: Marginal, features: Sequence[int], reference: Reference, window: Profile
) -> list[Counted]:
    """Test the counts of some features of a window, strongest evidence first.

    Parameters
    ----------
    monitor : missing_rate (both sides), new_category or range (more than expected).
    """
    longer = window.rows / reference.window_rows
    found = []
    for j in features:
        count, rows, law = _count(monitor, j, reference, window)
        evidence = law.evidence(
            count, rows, two_sided=monitor == "missing_rate", times_longer=longer
        )
        item = Counted(j, count, rows, law, evidence, 0.0)
        rates = np.sqrt([count / max(rows, 1), item.expected])
        effect = float(abs(np.diff(2.0 * np.arcsin(rates))[0]))
        found.append(Counted(j, count, rows, law, evidence, effect))
    return sorted(found, key=lambda item: -item.evidence)


def _count(
    monitor: Marginal, j: int, reference: Reference, window: Profile
) -> tuple[int, int, RateLaw]:
    if monitor == "range":
        assert reference.marginals is not None  # noqa: S101 (`check_fits` saw to it)
        cells: NDArray[np.float64] = window.histograms[j]
        values = int(cells[:CELLS].sum())
        return int(outside_count(cells)), values, reference.marginals.outside[j]
    place = 0 if monitor == "missing_rate" else 1
    return int(window.counts[j, place]), window.rows, reference.rates[j][place]
