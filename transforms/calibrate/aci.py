"""Adaptive conformal inference: the level itself follows the misses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transforms.calibrate.online import Floats, Learnt
from transforms.calibrate.score_window import (
    add_score,
    empty_window,
    ends_at,
    quantiles_of,
    scores_of,
)

_LENGTH = 500


@dataclass(slots=True)
class Aci:
    """Gibbs and Candès, NeurIPS 2021: α ← α + γ (α₀ − miss), intervals from the last 500 scores.

    The level is not kept inside [0, 1]: at or below 0 the interval is infinite, at or above 1 it is
    its middle. With outcomes in time that bounds |mean miss − α₀| by (max(α₁, 1 − α₁) + γ)/(Tγ),
    whatever the stream does; it says nothing about width.
    """

    kind: ClassVar[str] = "aci"
    interval: float
    step: float  #: γ
    alpha: Floats  #: shape (S,)
    scores: Floats  #: shape (S, 500); NaN: none yet
    seen: Floats  #: outcomes, shape (S,)

    @classmethod
    def start(cls, interval: float, series: int, step: float = 0.005) -> Aci:
        """Return the rule without scores: its intervals are infinite."""
        return cls(
            interval,
            step,
            alpha=np.full(series, 1 - interval),
            scores=empty_window(series, _LENGTH),
            seen=np.zeros(series),
        )

    def ends(self, number: int) -> tuple[Floats, Floats, Floats]:  # noqa: ARG002
        """Return both ends: −inf and inf where the level asks for more than the scores can say."""
        bound = quantiles_of(self.scores, 1 - self.alpha[:, None])[:, 0]
        return *ends_at(bound), np.empty((len(bound), 0))

    def learn(self, learnt: Learnt) -> None:
        """Move the level by one miss or hit, and keep the score."""
        missed = learnt.below | learnt.above
        self.alpha = self.alpha + self.step * (1 - self.interval - missed)
        self.scores = add_score(self.scores, self.seen, scores_of(learnt.residual))
        self.seen = self.seen + 1
