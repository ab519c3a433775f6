"""The default online rule: experts of several memories, mixed end by end, and held to coverage.

An expert says centre + scale × shape for either end. Ten follow the residuals with exponential
memories of five half-lives, with a centre of their own or none; short ones are quick after a
change, long ones exact without. The eleventh regresses the size of a residual on the scales that
were known at its issue. What an outcome may still depend on when it comes late, the phase of a
season or a volatility on its way back to the mean, is in those coefficients, for any delay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np

from transforms.calibrate.online import Floats, Learnt

_HALF_LIVES = np.array([15.0, 40.0, 120.0, 400.0, 1600.0])
_N = len(_HALF_LIVES)
_RATES = np.tile(1 - 0.5 ** (1 / _HALF_LIVES), 2)
_CENTRED = np.repeat([1.0, 0.0], _N)
_SYMMETRIC = slice(_N, 2 * _N)
_MIDDLE = 2  # whose centre the regression has, and whose scale it starts from

_FAR = 10.0  # scales beyond which a residual counts as this far: one outlier moves little
_FLOOR = 1e-6  # of a scale, in half-widths of the base interval
_SETTLED = 20  # outcomes before shapes are learnt: the scales come first
_SHAPE = 0.01  # step of the shapes in the long run, per outcome
# of what each expert lost: as issued, and as it would say now (which sees a change that late
# outcomes tell of while those issued before it are still coming in)
_MEMORIES = np.array([[0.999], [0.98]])
_SHARE = 0.002  # the least weight of an expert, so that it can come back

_REGRESSION = 0.999  # memory of the regression
_RIDGE = np.eye(_N) * 0.6
_START = np.eye(_N)[_MIDDLE]  # coefficients without any outcome
_BOUNDS = 0.25, 4.0  # of its scale, times that of the longest memory

# of the misses allowed, how many are aimed at: the rest, .007 at most, is for what changes cost
_INSIDE, _MOST_INSIDE = 0.93, 0.007
_INTEGRAL = 0.003  # step of the correction per outcome, in scales
_RECENT = 0.5 ** (1 / 60)  # memory of recent coverage
_DEAD = 1.5  # its standard deviations that are taken for chance
_GAIN = 20.0  # scales per unit of coverage missing beyond that


@dataclass(slots=True)
class Tracker:
    """The experts, what each lost, and the correction; shapes with S series, E = 11 experts."""

    kind: ClassVar[str] = "tracker"
    interval: float
    centre: Floats  #: shape (S, 10)
    scale: Floats  #: mean absolute residual about the centre, shape (S, 10)
    shape: Floats  #: of the lower and the upper end, in scales, shape (S, 2, E)
    loss: Floats  #: shape (S, 2, 2, E): end, memory, expert
    gram: Floats  #: of the regression, shape (S, 5, 5)
    moment: Floats  #: shape (S, 5)
    excess: Floats  #: the integral of misses, shape (S,)
    recent: Floats  #: recent share of misses, less the one aimed at, shape (S,)
    seen: Floats  #: outcomes, shape (S,)

    @classmethod
    def start(cls, interval: float, series: int) -> Tracker:
        """Return the rule before any outcome: the base interval as it is, its noise normal."""
        shape = NormalDist().inv_cdf((1 + interval) / 2) / math.sqrt(2 / math.pi)
        return cls(
            interval=interval,
            centre=np.zeros((series, 2 * _N)),
            scale=np.full((series, 2 * _N), 1 / shape),
            shape=np.tile([[-shape], [shape]], (series, 1, 2 * _N + 1)),
            loss=np.zeros((series, 2, 2, 2 * _N + 1)),
            gram=np.tile(_RIDGE, (series, 1, 1)),
            moment=np.tile(_RIDGE @ _START, (series, 1)),
            excess=np.zeros(series),
            recent=np.zeros(series),
            seen=np.zeros(series),
        )

    @property
    def aim(self) -> float:
        """The share of misses that is aimed at."""
        allowed = 1 - self.interval
        return max(_INSIDE * allowed, allowed - _MOST_INSIDE)

    def ends(self, number: int) -> tuple[Floats, Floats, Floats]:  # noqa: ARG002
        """Return both ends, the weighted means of what the experts say, after the correction.

        The memo has their scale, what the regression read and said, and each expert's ends.
        """
        known = self.scale[:, :_N]
        coefficients = np.linalg.solve(self.gram, self.moment[:, :, None])[:, :, 0]
        longest = known[:, -1]
        regressed = np.clip(
            (known * coefficients).sum(axis=1), _BOUNDS[0] * longest, _BOUNDS[1] * longest
        )
        scale = np.column_stack([self.scale, regressed])
        centre = np.column_stack([self.centre, self.centre[:, _MIDDLE]])
        said = centre[:, None] + scale[:, None] * self.shape

        weights = _weights(self.loss.sum(axis=2))
        low, high = (weights * said).sum(axis=2).T
        unit = (weights.mean(axis=1) * scale).sum(axis=1)
        push = (self.excess + self._answer()) * unit
        low, high = low - push, high + push
        middle = (low + high) / 2
        memo = np.column_stack([unit, known, regressed, centre[:, -1], said.reshape(len(said), -1)])
        return np.minimum(low, middle), np.maximum(high, middle), memo

    def learn(self, learnt: Learnt) -> None:
        """Move everything by one outcome."""
        series = len(learnt.residual)
        unit, known, regressed, own_centre, said = np.split(
            learnt.memo, [1, 1 + _N, 2 + _N, 3 + _N], axis=1
        )
        said = said.reshape(series, 2, -1)
        y = learnt.residual[:, None]
        levels = np.array([[self.aim / 2], [1 - self.aim / 2]])

        now = self.centre[:, None] + self.scale[:, None] * self.shape[:, :, :-1]
        now = np.concatenate([now, said[:, :, -1:]], axis=2)
        error = (y[:, :, None, None] - np.stack([said, now], axis=2)) / unit[:, :, None, None]
        level = levels[:, :, None]
        self.loss = _MEMORIES * self.loss + np.minimum(
            np.maximum(level * error, (level - 1) * error), _FAR
        )

        # a shape is a quantile: Robbins and Monro's steps once there is a scale, then small ones
        scaled = (y - np.column_stack([self.centre, own_centre])) / np.column_stack(
            [self.scale, regressed]
        )
        size = np.where(self.seen < _SETTLED, 0.0, np.maximum(_SHAPE, 8 / (self.seen + 10)))
        step = np.repeat(size[:, None], scaled.shape[1], axis=1)
        # that of the regression answers to what it said when the interval was issued: small enough
        # not to overshoot before it hears of its own answers
        step[:, -1] = np.minimum(step[:, -1], 1 / (learnt.late + 1))
        move = step[:, None] * (levels - (scaled[:, None] < self.shape))
        both = (move[:, 1, _SYMMETRIC] - move[:, 0, _SYMMETRIC]) / 2
        move[:, 0, _SYMMETRIC], move[:, 1, _SYMMETRIC] = -both, both
        self.shape = self.shape + move

        self._correct(learnt)
        self._regress(y - own_centre, known, unit)

        rate = np.maximum(_RATES, 1 / (self.seen[:, None] + 2))
        error = np.clip(y - self.centre, -_FAR * self.scale, _FAR * self.scale)
        self.centre = self.centre + _CENTRED * rate * error
        self.scale = self.scale + rate * (np.abs(error) - self.scale)
        self.scale = np.maximum(self.scale, _FLOOR)
        self.seen = self.seen + 1

    def _correct(self, learnt: Learnt) -> None:
        """Count a miss, for as much as it counts after so many later issues.

        An outcome that comes late weighs what it would in an average that had seen it in time: the
        correction cannot wind up on misses of intervals issued before it could answer.
        """
        fresh = _RECENT**learnt.late
        missed = ((learnt.below | learnt.above) - self.aim) * fresh
        self.excess = self.excess + _INTEGRAL * missed
        self.recent = self.recent + (1 - _RECENT) * (missed - self.recent)

    def _answer(self) -> Floats:
        """Return by how much the ends give way to recent coverage: by nothing for chance."""
        deviation = np.sqrt(self.aim * (1 - self.aim) * (1 - _RECENT) / (1 + _RECENT))
        beyond = np.maximum(np.abs(self.recent) - _DEAD * deviation, 0.0)
        answer: Floats = _GAIN * np.sign(self.recent) * beyond
        return answer

    def _regress(self, error: Floats, known: Floats, unit: Floats) -> None:
        """Take one row into the discounted ridge regression, weighted by its scale."""
        row = np.minimum(known / unit, _FAR)
        size = np.minimum(np.abs(error) / unit, _FAR)
        rest = 1 - _REGRESSION
        self.gram = _REGRESSION * self.gram + rest * _RIDGE + row[:, :, None] * row[:, None, :]
        self.moment = _REGRESSION * self.moment + rest * (_RIDGE @ _START) + row * size


def _weights(loss: Floats) -> Floats:
    """Exponential weights of cumulated losses over the last axis."""
    raw = np.exp(loss.min(axis=-1, keepdims=True) - loss)
    weights = raw / raw.sum(axis=-1, keepdims=True)
    shared: Floats = (1 - _SHARE * loss.shape[-1]) * weights + _SHARE
    return shared
