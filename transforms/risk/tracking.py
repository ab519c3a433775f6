"""Quantile levels that are held online: each quantile moves by what its own outcomes teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transforms.scores import aligned

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tracked:
    """Quantiles as they were issued, and where the tracker stood after the last outcome."""

    quantiles: Floats  #: unit of the target, shape (n, k), non-decreasing along k
    offsets: Floats  #: of the next forecast, in units of the scale, shape (k,)


def track_levels(
    outcome: ArrayLike,
    quantiles: ArrayLike,
    levels: Sequence[float] | Floats,
    scale: ArrayLike,
    *,
    memory: float = 200.0,
    offsets: ArrayLike | None = None,
) -> Tracked:
    """Hold each level online, whatever the forecaster does and the stream.

    The issued quantile is q + θ s, and after its outcome θ ← θ − η (1{y < q + θ s} − p): the
    quantile tracker of Angelopoulos, Candès and Tibshirani (Conformal PID Control, NeurIPS 2023,
    §2.1) on scaled residuals, one θ for each level. When the residuals are at most b in size and η
    is fixed, the share of outcomes below differs from p by at most (b + η)/(η n), for any sequence
    of outcomes.

    θ returns to where the level holds by a share η f of its distance in each row, f the density of
    the scaled residual there. So that tails and middle do so alike, η = 1/(f m), with m the memory
    and 1/f the slope of the forecast quantiles over their levels.

    Levels move apart from each other, so issued rows are sorted, which no pinball loss is worse for
    (Chernozhukov, Fernández-Val and Galichon, Econometrica 2010); each θ learns from its own
    quantile.

    Parameters
    ----------
    outcome : shape (n,), in order of time
        Each is known before the next forecast; where it is NaN nothing is learnt.
    quantiles : shape (n, k), non-decreasing along k
    levels : k >= 2 increasing floats in (0, 1)
    scale : shape (n,), positive
        Of each forecast, in the unit of the target, such as its standard deviation.
    memory : rows
        Shorter ones hold the level sooner, at a worse score.
    offsets : shape (k,)
        `Tracked.offsets` of earlier rows; None: start at 0.
    """
    y, q, tau = aligned(outcome, quantiles, levels)
    s = np.asarray(scale, np.float64)[:, None]
    theta = np.zeros(len(tau)) if offsets is None else np.array(offsets, np.float64)
    steps = np.gradient(q, tau, axis=1) / s / memory
    issued = np.empty_like(q)
    for t in range(len(y)):
        issued[t] = q[t] + theta * s[t]
        if not np.isnan(y[t]):
            theta = theta - steps[t] * ((y[t] < issued[t]) - tau)
    issued.sort(axis=1)
    return Tracked(quantiles=issued, offsets=theta)
