"""What a forecast costs whoever acts on it.

The model with the best score need not make the best decisions (Boettiger, Ecology Letters 2022):
a score weighs all of the law alike, and a decision rests on one part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.errors import TidegaugeError
from transforms.quantile_law import quantile_at
from transforms.scores import pit_values

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ShortfallCost:
    """An amount is decided before the outcome is known: what each unit off costs."""

    under: float  #: per unit that the decision is below the outcome, such as a sale lost
    over: float  #: per unit that it is above, such as stock left over

    def __post_init__(self) -> None:
        if not (self.under > 0 and self.over > 0):
            message = (
                f"cost: under {self.under:g} and over {self.over:g}; both must be above 0, or "
                "there is nothing to weigh"
            )
            raise TidegaugeError(message)

    @property
    def level(self) -> float:
        """Level of the quantile that costs least on average: under / (under + over)."""
        return self.under / (self.under + self.over)

    def decide(self, quantiles: ArrayLike, levels: Sequence[float] | Floats) -> Floats:
        """Return the amount that costs least under each forecast (the newsvendor's).

        Arrow, Harris and Marschak, Econometrica 1951.

        Parameters
        ----------
        quantiles : array, shape (n, k), non-decreasing along k
        levels : sequence of k >= 2 increasing floats in (0, 1)

        Returns
        -------
        float64 array, shape (n,)
        """
        return quantile_at(quantiles, levels, self.level)

    def of(self, decision: ArrayLike, outcome: ArrayLike) -> Floats:
        """Return what each decision cost: (under + over) times the pinball loss at `level`.

        Returns
        -------
        float64 array, shape (n,); NaN where there is no outcome
        """
        short = np.asarray(outcome, np.float64) - np.asarray(decision, np.float64)
        cost: Floats = np.maximum(self.under * short, -self.over * short)
        return cost


@dataclass(frozen=True, slots=True)
class ActionCost:
    """Whether to act before an event is decided: the cost–loss model.

    Murphy, Monthly Weather Review 1977; Richardson, QJRMS 2000.
    """

    act: float  #: spent whenever one acts, event or not
    loss: float  #: suffered when the event comes and one had not acted

    def __post_init__(self) -> None:
        if not 0 < self.act < self.loss:
            message = (
                f"acting costs {self.act:g} and the event {self.loss:g}: acting must cost more "
                "than 0 and less than the event, or the decision is always the same"
            )
            raise TidegaugeError(message)

    def decide(self, probability: ArrayLike) -> NDArray[np.bool_]:
        """Act where the event is likelier than act / loss, the rule that costs least."""
        chosen: NDArray[np.bool_] = np.asarray(probability, np.float64) > self.act / self.loss
        return chosen

    def of(self, acted: ArrayLike, event: ArrayLike) -> Floats:
        """Return what each decision cost, shape (n,).

        Parameters
        ----------
        acted : bool array, shape (n,)
            By `decide`, or by another rule, such as that an interval reaches beyond a limit.
        event : bool array, shape (n,)
        """
        done, came = np.asarray(acted, bool), np.asarray(event, bool)
        return np.where(done, self.act, np.where(came, self.loss, 0.0))


def exceedance(quantiles: ArrayLike, levels: Sequence[float] | Floats, limit: float) -> Floats:
    """Probability that the outcome exceeds a limit, under each forecast.

    Parameters
    ----------
    quantiles : array, shape (n, k), non-decreasing along k
    levels : sequence of k >= 2 increasing floats in (0, 1)
    limit : float, unit of the target

    Returns
    -------
    float64 array, shape (n,)
        By the law of `transforms.quantile_law`; half of a point mass at the limit is above it.
    """
    above: Floats = 1 - pit_values(np.full(len(np.asarray(quantiles)), limit), quantiles, levels)
    return above
