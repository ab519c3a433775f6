"""The loss of a coalition: the reference with the mechanisms of the coalition as in the window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from monitors.attribute.density_ratio import LogRatio
from monitors.attribute.encoded import Encoded
from monitors.attribute.transport import Transport
from monitors.encoder import FloatArray


@dataclass(slots=True)
class Coalitions:
    """Values v(S), each with its influence function.

    v(S) = Σ w_S ℓ / Σ w_S − mean ℓ over the rows of the reference (Zhang et al., ICML 2023),
    w_S the product of the ratios of the mechanisms in S, truncated at √n times its mean (Ionides,
    Journal of Computational and Graphical Statistics 2008). Its error is Σ over blocks of rows of
    what the block added to it, to first order: as one of the rows that are averaged, and through
    the parameters of every ratio and map in S.
    """

    rows: Encoded
    ratios: Mapping[int, LogRatio]
    maps: Mapping[int, Transport]
    loss: Callable[[Mapping[int, FloatArray]], FloatArray]  #: of moved columns, by mechanism
    least_effective: float = field(default=np.inf, init=False)  #: rows, by Kish
    most_clipped: float = field(default=0.0, init=False)  #: share of the weight
    _losses: dict[frozenset[int], FloatArray] = field(default_factory=dict, init=False)
    _slopes: dict[int, FloatArray] = field(default_factory=dict, init=False)

    def value(self, coalition: frozenset[int]) -> FloatArray:
        """Return v(S), and what each block added to its error; shape (1 + blocks,)."""
        source = ~self.rows.window
        weighted = [k for k in coalition if k in self.ratios]
        weights = self.weights(weighted)
        plain = self.of(frozenset())
        moved = self.of(coalition.intersection(self.maps))
        mean = float(weights @ moved)
        errors = np.zeros(len(self.rows.window))
        pull = weights * (moved - mean)
        errors[source] = pull - (plain - plain.mean()) / len(plain)
        influence = self.rows.block_sums(errors)
        for k in weighted:
            ratio = self.ratios[k]
            influence += ratio.moved @ (ratio.terms[source].T @ pull)
        for k in coalition.intersection(self.maps):
            influence += self.maps[k].moved @ (self.maps[k].slopes.T @ (weights * self._slope(k)))
        return np.concatenate([[mean - plain.mean()], influence])

    def weights(self, coalition: list[int]) -> FloatArray:
        """Return the weights of the rows of the reference, with sum 1."""
        source = ~self.rows.window
        logs = np.zeros(np.count_nonzero(source))
        for k in coalition:
            logs += self.ratios[k].values[source]
        raw = np.exp(logs - logs.max())
        raw /= raw.sum()
        weights: FloatArray = np.minimum(raw, 1.0 / np.sqrt(len(raw)))
        self.most_clipped = max(self.most_clipped, float(1.0 - weights.sum()))
        weights /= weights.sum()
        self.least_effective = min(self.least_effective, effective_rows(weights))
        return weights

    def of(self, moved: frozenset[int]) -> FloatArray:
        """Return the loss of each row of the reference with some columns moved."""
        if moved not in self._losses:
            self._losses[moved] = self.loss({k: self.maps[k].values for k in moved})
        return self._losses[moved]

    def _slope(self, k: int) -> FloatArray:
        """Return the slope of each row's loss by the value of a moved column."""
        if k not in self._slopes:
            own, step = self.maps[k].values, self.maps[k].step
            rise = self.loss({k: own + step}) - self.loss({k: own - step})
            self._slopes[k] = np.nan_to_num(rise / (2.0 * step))
        return self._slopes[k]


def effective_rows(weights: FloatArray) -> float:
    """Return how many equally weighted rows are worth as much (Kish, Survey Sampling, 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())
