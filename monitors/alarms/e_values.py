"""From p-values to e-values: bets against the null, which may be averaged and multiplied.

An e-value is nonnegative with mean at most 1 under the null (Vovk and Wang, *Annals of Statistics*
2021). For a p-value p and 0 < κ < 1, κ p^(κ − 1) is one.
"""

from __future__ import annotations

import math

LEAST_P = 1e-300  # of a smaller p-value nothing more can be said in floating point


def power(p: float, kappa: float) -> float:
    """Return the e-value κ p^(κ − 1)."""
    return kappa * math.pow(max(p, LEAST_P), kappa - 1.0)


def mixture(p: float) -> float:
    """Return the mean of `power` over all κ: (e^x − 1 − x) / x² with x = −ln p."""
    x = -math.log(max(p, LEAST_P))
    if x < 1e-4:
        return 0.5 + x / 6.0
    return (math.expm1(x) - x) / x**2


def cutoff(e: float) -> float:
    """Return the p-value whose `mixture` is e; `LEAST_P` or 1 beyond its ends."""
    low, high = 0.0, -math.log(LEAST_P)
    if mixture(1.0) >= e:
        return 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mixture(math.exp(-middle)) < e else (low, middle)
    return math.exp(-high)
