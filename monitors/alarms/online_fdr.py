"""Online control of the false discovery rate: the share of all alarms so far that are false.

Tests come one after the other for ever, and each is decided before the next is seen. Every test t
has a share γ_t of the whole, Σ γ_t = 1, and every rejection buys back some of it. Windows share
their reference, may overlap, and one window has several tests: their p-values depend on each other
in ways that nobody knows, so the method is one that holds whatever the dependence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from monitors.alarms import e_values

_SCALE = 0.079  # of the shares: their sum is 0.999


def share(t: int) -> float:
    """Return γ_t, t from 1 (Javanmard and Montanari, *Annals of Statistics* 2018)."""
    log = math.log(max(t, 2))
    return _SCALE * log / (t * math.exp(math.sqrt(math.log(t))))


@dataclass(frozen=True, slots=True)
class ELond:
    """E-LOND: FDR at most `rate` whatever the dependence of the p-values.

    Test t rejects when its e-value is at least 1/α_t, α_t = rate γ_t (1 + rejections so far).
    Source: Xu and Ramdas, *Online multiple testing with e-values*, AISTATS 2024.
    """

    rate: float
    tests: int = 0
    rejected: int = 0

    @property
    def cutoff(self) -> float:
        """The largest p-value that the next test rejects."""
        return e_values.cutoff(1.0 / (self.rate * share(self.tests + 1) * (self.rejected + 1)))

    def after(self, *, rejected: bool) -> ELond:
        """Return the state after the next test."""
        return replace(self, tests=self.tests + 1, rejected=self.rejected + rejected)
