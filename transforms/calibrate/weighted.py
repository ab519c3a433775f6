"""Weighted split conformal prediction: recent scores count more (nexCP)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transforms.calibrate.online import Floats, Learnt
from transforms.calibrate.score_window import add_score, empty_window, ends_at, scores_of

_RHO = 0.99
_LENGTH = 688  # ρ to this power is .001


@dataclass(slots=True)
class Weighted:
    """Barber, Candès, Ramdas and Tibshirani, Annals of Statistics 2023, with weights ρ^age.

    The bound is the (1 − α)-quantile of the weighted scores and of a point of weight 1 at infinity,
    for the outcome to come. Coverage is at least 1 − α − Σ w̃_i d_TV, the sum of the normalised
    weights times how far each score's law lies from the present one. The age of a score is the
    number of scores known since, so that late labels alone do not empty the window.
    """

    kind: ClassVar[str] = "weighted"
    interval: float
    scores: Floats  #: the last 688, shape (S, 688); NaN: none yet
    seen: Floats  #: outcomes, shape (S,)

    @classmethod
    def start(cls, interval: float, series: int) -> Weighted:
        """Return the rule without scores: its intervals are infinite."""
        return cls(interval, empty_window(series, _LENGTH), np.zeros(series))

    def ends(self, number: int) -> tuple[Floats, Floats, Floats]:  # noqa: ARG002
        """Return both ends; infinite while the weights sum to less than (1 − α)/α."""
        series = len(self.scores)
        place = np.arange(_LENGTH)
        age = (self.seen[:, None] - 1 - place) % _LENGTH + 1
        weight = np.where(np.isnan(self.scores), 0.0, _RHO**age)
        order = np.argsort(self.scores, axis=1)
        reached = np.take_along_axis(weight, order, axis=1).cumsum(axis=1)
        needed = self.interval * (reached[:, -1] + 1) - 1e-12
        first = (reached < needed[:, None]).sum(axis=1)
        ordered = np.take_along_axis(self.scores, order, axis=1)
        bound = ordered[np.arange(series), np.minimum(first, _LENGTH - 1)]
        bound = np.where(reached[:, -1] < needed, np.inf, bound)
        return *ends_at(bound), np.empty((series, 0))

    def learn(self, learnt: Learnt) -> None:
        """Keep the score."""
        self.scores = add_score(self.scores, self.seen, scores_of(learnt.residual))
        self.seen = self.seen + 1
