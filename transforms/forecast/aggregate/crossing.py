"""A penalty on quantiles that cross, for weights that are learnt level by level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Crossing:
    """λ times the mean over rows and pairs of levels τ < τ' of (q_τ − q_τ' + δ_ττ')₊.

    Fakoor et al. (JMLR 2023, §4.2). The margin δ is one number for all pairs, or adaptive: a share
    of how far apart the two levels lie among the residuals of the members' median forecast.
    """

    weight: float  #: λ
    margin: float = 0.0  #: in the unit of the target; when adaptive, a share
    adaptive: bool = False

    def margins(self, members: Floats, y: Floats, levels: Floats) -> Floats:
        """Return δ, shape (levels, levels), in the unit of the target.

        Parameters
        ----------
        members : float64 array, shape (n, members, levels)
        y : float64 array, shape (n,)
        levels : float64 array, shape (levels,)
        """
        if not self.adaptive:
            return np.full((len(levels), len(levels)), self.margin)
        residuals = y - np.median(members[:, :, len(levels) // 2], axis=1)
        quantiles = np.quantile(residuals, levels)
        return self.margin * np.maximum(quantiles[None, :] - quantiles[:, None], 0.0)

    def penalty(self, quantiles: Floats, margins: Floats, share: Floats) -> tuple[float, Floats]:
        """Return the penalty and its derivative with respect to the quantiles.

        Parameters
        ----------
        quantiles : float64 array, shape (n, levels), as they are before sorting.
        margins : float64 array, shape (levels, levels)
        share : float64 array, shape (n,)
            Of each row in the mean.
        """
        levels = quantiles.shape[1]
        each = self.weight / max(levels * (levels - 1) / 2, 1) * share[:, None]
        value, slope = 0.0, np.zeros_like(quantiles)
        for apart in range(1, levels):
            over = quantiles[:, :-apart] - quantiles[:, apart:] + np.diagonal(margins, apart)
            pull = np.where(over > 0, each, 0.0)
            value += float((pull * over).sum())
            slope[:, :-apart] += pull
            slope[:, apart:] -= pull
        return value, slope
