"""Dynamically tuned adaptive conformal inference: several step sizes of ACI, weighted."""

from __future__ import annotations

import math
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
_STEPS = 0.001 * 2.0 ** np.arange(8)
_SPAN = 500  # outcomes over which regret is bounded
_MIX = 1 / (2 * _SPAN)  # σ: weight that is shared out, so that none dies


@dataclass(slots=True)
class DtAci:
    """Gibbs and Candès, JMLR 2024, with the weighted mean of the levels in place of a draw.

    Each step size γ keeps a level of its own. β is the level at which the interval would just have
    held the outcome; a level α loses α₀ (β − α) − min(0, β − α), and the weights are exponential
    in these losses, at the rate that bounds the regret over any 500 outcomes.
    """

    kind: ClassVar[str] = "dtaci"
    interval: float
    alphas: Floats  #: shape (S, 8)
    weights: Floats  #: shape (S, 8), sum 1
    scores: Floats  #: shape (S, 500); NaN: none yet
    seen: Floats  #: outcomes, shape (S,)

    @classmethod
    def start(cls, interval: float, series: int) -> DtAci:
        """Return the rule without scores: its intervals are infinite."""
        k = len(_STEPS)
        return cls(
            interval,
            alphas=np.full((series, k), 1 - interval),
            weights=np.full((series, k), 1 / k),
            scores=empty_window(series, _LENGTH),
            seen=np.zeros(series),
        )

    def ends(self, number: int) -> tuple[Floats, Floats, Floats]:  # noqa: ARG002
        """Return both ends, infinite where the level asks for more than the scores can say.

        The memo has the bound of each step size.
        """
        mean = (self.weights * self.alphas).sum(axis=1)
        bounds = quantiles_of(self.scores, 1 - np.column_stack([mean, self.alphas]))
        return *ends_at(bounds[:, 0]), bounds[:, 1:]

    def learn(self, learnt: Learnt) -> None:
        """Move each level and the weights by one outcome, and keep the score.

        A miss is counted at the bound that was issued; β takes the scores known by now, which for
        an outcome in time are the same.
        """
        alpha = 1 - self.interval
        score = scores_of(learnt.residual)
        known = (~np.isnan(self.scores)).sum(axis=1)
        smaller = (self.scores < score[:, None]).sum(axis=1)  # NaN is not smaller
        beta = (1 - smaller / (known + 1))[:, None]
        lost = alpha * (beta - self.alphas) - np.minimum(0, beta - self.alphas)
        raw = self.weights * np.exp(-_rate(alpha) * lost)
        self.weights = (1 - _MIX) * raw / raw.sum(axis=1, keepdims=True) + _MIX / len(_STEPS)
        self.alphas = self.alphas + _STEPS * (alpha - (score[:, None] > learnt.memo))
        self.scores = add_score(self.scores, self.seen, score)
        self.seen = self.seen + 1


def _rate(alpha: float) -> float:
    """η, the rate that the paper sets for stretches of `_SPAN` outcomes."""
    spread = (1 - alpha) ** 2 * alpha**3 + alpha**2 * (1 - alpha) ** 3
    return math.sqrt(3 / _SPAN * (math.log(_SPAN * len(_STEPS)) + 2) / spread)
