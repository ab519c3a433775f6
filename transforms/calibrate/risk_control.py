"""Control of a monotone loss, recent rows counting more (non-exchangeable conformal risk control).

Coverage is one loss of an interval. Others say more: how far outcomes fall outside, the cost of
what was missed, the share of labels left out of a set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from transforms.calibrate.online import Floats


@dataclass(frozen=True, slots=True)
class Controlled:
    """What was chosen, and the loss that it was chosen by."""

    parameter: float  #: λ̂; the largest candidate where none keeps the promise
    loss: float  #: weighted mean of the calibration losses at λ̂
    bound: float  #: (n_w × loss + B)/(n_w + 1), at most the target where `kept`
    kept: bool


def recency_weights(rows: int, rho: float) -> Floats:
    """Return ρ^(n + 1 − i) of rows i = 1 … n in order of time; they sum to less than ρ/(1 − ρ)."""
    return rho ** np.arange(rows, 0, -1, dtype=np.float64)


def control_risk(
    losses: ArrayLike,
    parameters: ArrayLike,
    target: float,
    *,
    largest: float,
    weights: ArrayLike | None = None,
) -> Controlled:
    """Non-exchangeable conformal risk control (Farinhas, Zerva, Ulmer and Martins, ICLR 2024).

    λ̂ = inf{λ : (n_w R̂(λ) + B)/(n_w + 1) ≤ target}, with n_w the sum of the weights and R̂ the
    weighted mean of the losses. Then the expected loss of the next row exceeds the target by at
    most (B − A) Σ w_i/(n_w + 1) d_TV, how far the rows are from exchangeable with it; not at all
    where they are (Angelopoulos et al., ICLR 2024, with weights 1).

    B/(n_w + 1) never vanishes under weights that decay: with ρ = .99 it is at least .01 B, and no
    λ can keep a target below it. `kept` is false then, whatever the losses are.

    Parameters
    ----------
    losses : array, shape (n, k)
        Loss of each row at each parameter, in [A, B], not increasing along k.
    parameters : array, shape (k,)
        Candidates for λ, increasing.
    target : float
        In the unit of the loss.
    largest : float
        B.
    weights : array, shape (n,), of numbers in [0, 1]
        Ones when left out.

    Raises
    ------
    ValueError
        When a loss increases with λ, or exceeds B.
    """
    table = np.asarray(losses, np.float64)
    candidates = np.asarray(parameters, np.float64)
    if np.any(np.diff(table, axis=1) > 0):
        raise ValueError("losses increase with the parameter: only a decreasing loss is controlled")
    if np.any(table > largest):
        raise ValueError(f"losses exceed {largest:g}, given as their largest")
    weight = np.ones(len(table)) if weights is None else np.asarray(weights, np.float64)
    total = float(weight.sum())
    bounds = (weight @ table + largest) / (total + 1)
    kept = bounds <= target
    chosen = int(np.argmax(kept)) if kept.any() else len(candidates) - 1
    return Controlled(
        parameter=float(candidates[chosen]),
        loss=float(weight @ table[:, chosen]) / total if total else float("nan"),
        bound=float(bounds[chosen]),
        kept=bool(kept.any()),
    )
