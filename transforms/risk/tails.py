"""Expected shortfall and expectiles of a sample, or of the law behind forecast quantiles.

Values are returns: a loss is negative, and so are the value at risk q_p, the p-quantile, and the
expected shortfall below it. Those who report losses turn the signs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

#: From levels, shape (k,), to their quantiles, shape (k,) or (n, k), non-decreasing along levels.
Law = Callable[[Floats], Floats]

_NODES = 32  # of Gauss and Legendre, on each side
# Nodes crowd at the end of a tail as p v³ does: the quantile of a t with two or more degrees of
# freedom, which grows as v^(−3/2) there, is then integrated without a pole.
_CROWDING = 3
_ROUNDS = 100  # of the expectile's iteration; it ends in a few


def expected_shortfall(law: Law, level: float) -> Floats:
    """Return the mean of the outcomes below the quantile at a level: 1/p ∫₀ᵖ q_u du.

    Parameters
    ----------
    law : its quantiles, such as
        ``lambda u: hansen.quantile(u, *(part[:, None] for part in parameters))``
    level : in (0, 1)

    Returns
    -------
    float64 array, shape () or (n,)
    """
    levels, weights = _tail_nodes(level)
    found: Floats = law(levels) @ weights / level
    return found


def sample_of(law: Law) -> tuple[Floats, Floats]:
    """Return quantiles that stand for a law, shape (k,) or (n, k), and their weights, (k,)."""
    levels, weights = _tail_nodes(0.5)
    return law(np.concatenate([levels, 1 - levels[::-1]])), np.concatenate([weights, weights[::-1]])


def expectile(values: ArrayLike, level: float, weights: ArrayLike | None = None) -> Floats:
    """Return the expectile e of a sample: τ E(Y − e)₊ = (1 − τ) E(e − Y)₊.

    By iteratively reweighted means (Newey and Powell, Econometrica 1987): with weight τ above the
    last e and 1 − τ below it. Each step is one of Newton's on a piecewise linear function, and so
    it ends exactly. At τ = ½ it is the mean.

    Parameters
    ----------
    values : shape (k,) or (n, k)
        Samples, or with `weights` the quantiles that `sample_of` returns.
    level : τ in (0, 1)
    weights : shape (k,), positive; None: all alike

    Returns
    -------
    float64 array, shape () or (n,), in the unit of the values
    """
    x = np.asarray(values, np.float64)
    w = np.ones(x.shape[-1]) if weights is None else np.asarray(weights, np.float64)
    found: Floats = x @ w / w.sum()
    for _ in range(_ROUNDS):
        sided = w * np.where(x > found[..., None], level, 1 - level)
        following = (sided * x).sum(axis=-1) / sided.sum(axis=-1)
        if np.array_equal(following, found):
            break
        found = following
    return found


def expectile_level(
    values: ArrayLike, point: ArrayLike, weights: ArrayLike | None = None
) -> Floats:
    """Return the level τ whose expectile is a point: E(e − Y)₊ / E|Y − e|.

    At the point of a value at risk q_p it is the level at which the expectile is as prudent: the
    expectile-based value at risk (Taylor, Journal of Financial Econometrics 2008).

    Parameters
    ----------
    values, weights : as for `expectile`
    point : shape () or (n,), inside the range of the values

    Returns
    -------
    float64 array, shape () or (n,), in [0, 1]
    """
    x = np.asarray(values, np.float64)
    w = np.ones(x.shape[-1]) if weights is None else np.asarray(weights, np.float64)
    distance = x - np.asarray(point, np.float64)[..., None]
    below = np.maximum(-distance, 0.0) @ w
    found: Floats = below / (np.abs(distance) @ w)
    return found


def _tail_nodes(level: float) -> tuple[Floats, Floats]:
    """Return levels in (0, level), increasing, and weights that sum to `level`."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    v = (nodes + 1) / 2
    return level * v**_CROWDING, level * weights / 2 * _CROWDING * v ** (_CROWDING - 1)
