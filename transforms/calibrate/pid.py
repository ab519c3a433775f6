"""Conformal PID control: the bound follows misses in proportion and by their integral."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transforms.calibrate.online import Floats, Learnt
from transforms.calibrate.score_window import add_score, empty_window, ends_at, scores_of

_RATE, _LENGTH = 0.1, 100  # η: this share of the range of the last scores
_HORIZON = 10_000  # T of the saturation
_SATURATION = 2 / math.pi * (math.ceil(math.log(_HORIZON) * 0.01) - 1 / math.log(_HORIZON))
_STEEPEST = 1.5  # of the tangent's argument, which has its pole at π/2: the bound stays finite


@dataclass(slots=True)
class Pid:
    """Angelopoulos, Candès and Tibshirani, NeurIPS 2023: quantile tracking and error integration.

    q = p + K_I tan(E log(t + 1)/(C (t + 1))), where p moves by η (miss − α), E sums miss − α,
    and K_I is the largest score seen of late. Without a scorecaster. The paper's integrator is
    infinite beyond the pole of the tangent; here it stops short of it.
    """

    kind: ClassVar[str] = "pid"
    interval: float
    tracked: Floats  #: p, shape (S,)
    integral: Floats  #: E, shape (S,)
    scores: Floats  #: shape (S, 100); NaN: none yet
    seen: Floats  #: outcomes, shape (S,)

    @classmethod
    def start(cls, interval: float, series: int) -> Pid:
        """Return the rule before any outcome: the base interval as it is."""
        zeros = np.zeros(series)
        return cls(interval, zeros, zeros, empty_window(series, _LENGTH), zeros)

    def ends(self, number: int) -> tuple[Floats, Floats, Floats]:  # noqa: ARG002
        """Return both ends."""
        largest = np.abs(np.where(np.isnan(self.scores), 0.0, self.scores)).max(axis=1)
        angle = self.integral * np.log(self.seen + 1) / (_SATURATION * (self.seen + 1))
        bound = self.tracked + largest * np.tan(np.clip(angle, -_STEEPEST, _STEEPEST))
        return *ends_at(bound), np.empty((len(bound), 0))

    def learn(self, learnt: Learnt) -> None:
        """Move the bound by one miss or hit, and keep the score."""
        error = (learnt.below | learnt.above) - (1 - self.interval)
        self.scores = add_score(self.scores, self.seen, scores_of(learnt.residual))
        self.seen = self.seen + 1
        span = np.fmax.reduce(self.scores, axis=1) - np.fmin.reduce(self.scores, axis=1)
        self.tracked = self.tracked + _RATE * span * error
        self.integral = self.integral + error
