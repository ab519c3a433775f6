"""Two samples compared by optimal transport, and what a map explains beyond sampling noise.

Two samples of one law are not at distance 0: in 18 dimensions, 400 rows of one law are further from
400 others than a shift of one sensor by two standard deviations brings them, and no map can explain
that. So what sampling alone would show is taken off, for a map T as for the identity:

    W²(P, Q)    ≈ W² of the samples             − ½ (N_P + N_Q)
    W²(T#P, Q)  ≈ W² of the samples, one mapped − ½ (N_T#P + N_Q) + G_T

N is the distance of two samples of one law. That of the reference is measured between samples of
it; there are no others of the window, nor of the mapped rows, so theirs is that of two halves of
the sample, times what halving costs the reference. G_T is by how much the family of the map brings
two halves of the window together, by following their noise. (Sinkhorn divergences are debiased in
this way, with the regularised distance of a sample to itself: Genevay, Peyré and Cuturi, AISTATS
2018, eq. 5.)

W²(P, Q) is never below that of the Gaussian laws of the same moments (Gelbrich, Mathematische
Nachrichten 1990), which few rows tell more exactly. Where that is the larger estimate it holds, and
all noise is taken to be as much smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.explain.emd import squared_distance, transport
from monitors.explain.gaussian import gaussian_distance

#: Maps rows X, given where the optimal plan takes them.
Fit: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]

ROWS = 400  # of each sample: an assignment takes a hundredth of a second, and O(n³)
LEAST_ROWS = 40
_OTHERS = 3  # further samples of the reference
_SPLIT_ROWS = 800  # of all splits of a sample into halves together: few rows are split more often
_DRAWS = 16  # of two samples of the reference, to see how their distance varies
_RESOLVED = 3.0  # deviations of a distance, below which it may be none
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Comparison:
    """A sample of the reference, one of the window, and what their distance is made of."""

    X: FloatArray  #: shape (n, p), rows of the reference
    Y: FloatArray  #: shape (n, p), rows of the window
    Z: FloatArray  #: shape (n, p), where the optimal plan takes X: Y in another order
    total: float  #: squared W2 distance of X and Y
    beyond: float  #: squared distance of the laws; 0 where it cannot be told from none
    halving: float  #: noise of n rows per distance of samples of n / 2
    splits: tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]
    window_noise: float  #: N_Q
    #: of each split: half of Y, where the optimal plan takes it, and the other half
    null: tuple[tuple[FloatArray, FloatArray, FloatArray], ...]

    def assess(self, moved: FloatArray, fit: Fit, *, parameters: bool) -> tuple[float, float]:
        """Return what distance a map leaves, and the share of the distance that it explains.

        Parameters
        ----------
        moved : FloatArray, shape (n, p)
            Where the map takes X.
        fit : gives the map, here of halves of the window.
        parameters : whether the map has a fixed number of parameters, so that it follows half as
            much noise in twice the rows.
        """
        left = squared_distance(moved, self.Y)
        if left <= _ROUNDING * self.total:
            return left, self.share(self.beyond)
        kept = np.mean([squared_distance(fit(a, to), b) for a, to, b in self.null])
        followed = self.window_noise - self.halving * float(kept)
        followed *= 0.5 if parameters else 1.0
        own = self.halving * _halves(moved, self.splits)
        noise = 0.5 * (own + self.window_noise) - followed
        return left, self.share(self.beyond - (left - noise))

    def share(self, gain: float) -> float:
        """Return what part of the distance of the laws a gain is, within [0, 1]."""
        return min(max(gain / self.beyond, 0.0), 1.0) if self.beyond else 0.0


def sample_size(before: int, after: int) -> int:
    """Return how many rows of either side are compared.

    At most half of the reference's: the rest says what sampling does.
    """
    return min(ROWS, after, before // 2)


def compare(before: FloatArray, after: FloatArray, rng: np.random.Generator) -> Comparison:
    """Compare rows of a reference, shape (N, p), with those of a window, shape (M, p).

    Of both, `sample_size` rows are drawn, which is at least LEAST_ROWS.
    """
    n = sample_size(len(before), len(after))
    order = rng.permutation(len(before))
    X, Y = before[order[:n]], after[rng.permutation(len(after))[:n]]
    plan, total = transport(X, Y)
    others = range(n, min(len(before) // n, 1 + _OTHERS) * n, n)
    own = float(np.mean([squared_distance(X, before[order[at : at + n]]) for at in others]))
    half = n // 2
    draws = [rng.permutation(len(before))[: 2 * half] for _ in range(_DRAWS)]
    of_half = [squared_distance(before[rows[:half]], before[rows[half:]]) for rows in draws]
    halving = own / float(np.mean(of_half)) if own > 0 else 0.0
    shuffled = [rng.permutation(n) for _ in range(-(-_SPLIT_ROWS // n))]
    splits = tuple((rows[:half], rows[half : 2 * half]) for rows in shuffled)
    plans = [transport(Y[a], Y[b]) for a, b in splits]
    of_window = float(np.mean([distance for _, distance in plans]))
    noise = 0.5 * (own + halving * of_window)
    beyond = max(
        _resolved(total - noise, halving * np.std(of_half)), _of_moments(X, Y, before, rng)
    )
    if beyond:
        halving *= (total - beyond) / noise if noise > 0 else 1.0
    return Comparison(
        X=X,
        Y=Y,
        Z=Y[plan],
        total=total,
        beyond=beyond,
        halving=halving,
        splits=splits,
        window_noise=halving * of_window,
        null=tuple(
            (Y[a], Y[b][inner], Y[b]) for (a, b), (inner, _) in zip(splits, plans, strict=True)
        ),
    )


def _halves(
    rows: FloatArray, splits: tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]
) -> float:
    """Return the squared distance of two halves of some rows, a mean over splits."""
    return float(np.mean([squared_distance(rows[a], rows[b]) for a, b in splits]))


def _of_moments(
    X: FloatArray, Y: FloatArray, before: FloatArray, rng: np.random.Generator
) -> float:
    """Return Gelbrich's lower bound of the distance of the laws, less what sampling adds to it."""
    n = len(X)
    draws = [rng.permutation(len(before))[: 2 * n] for _ in range(_DRAWS)]
    null = [gaussian_distance(before[rows[:n]], before[rows[n:]]) for rows in draws]
    return _resolved(gaussian_distance(X, Y) - float(np.mean(null)), np.std(null))


def _resolved(distance: float, deviation: float | np.floating[Any]) -> float:
    return distance if distance > _RESOLVED * float(deviation) else 0.0
