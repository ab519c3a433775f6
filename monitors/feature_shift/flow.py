"""The Fisher score of every feature, by normalizing flows.

The paper's γ_j, the mean square of the difference δ_j of the score functions ∂_j log p̂ and
∂_j log q̂ of densities fitted to the two tables (Kulinski, Bagchi and Inouye, Feature Shift
Detection, NeurIPS 2020, §3.2), with masked autoregressive flows for the densities (Papamakarios,
Pavlakou and Murray, NeurIPS 2017).

Refitting both flows for every draw of the null would take minutes. So the flows are fitted to half
of the blocks of each table and γ_j is estimated on the others. For a density p with score s,
E_p (f s + ∂_j f) = 0 for every f that does not grow too fast (Stein's identity; Hyvärinen, JMLR
2005), so that the contrast

    h_j = δ_j (∂_j log p̂ + ∂_j log q̂) / 2 + ∂_j δ_j

has E_q h_j − E_p h_j = γ_j where the flows are right. The estimate is a difference of two means;
the flows have seen none of these blocks, and to deal them anew to the two sides costs a sum. It is
an exact permutation test, whatever the flows have learned, and as powerful as halves can be.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.feature_shift.rows import Dealing, Rows, block_sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowjax.distributions import AbstractDistribution
    from jax import Array

LAYERS, WIDTH = 2, 32  # of the flow, and of its networks
RATE = 1e-2  # of Adam
EPOCHS, PATIENCE = 100, 5  # at most so many, and so many without gain on a tenth of the rows
BATCH = 100  # rows of a step
NOISE = 0.1  # standard deviation, of a column's: ties and rounding have no density without it
_AT_ONCE = 256  # rows whose second derivatives are held at a time


def prepare(rows: Rows, rng: np.random.Generator) -> Dealing:
    """Fit flows to half of the blocks; return the estimate of γ_j on the others."""
    held_out = _half(rows.in_window, rng)
    window = rows.in_window[rows.block]
    noisy = rows.phi + NOISE * rng.standard_normal(rows.phi.shape)
    own = noisy[:, rows.tested]
    given = np.delete(rows.phi, rows.tested, axis=1)
    unseen = held_out[rows.block]
    scores = []
    for side in (~window, window):
        fitted = fit(own[side & ~unseen], given[side & ~unseen])
        scores.append(score_and_slope(fitted, own[unseen], given[unseen]))
    contrast, information = contrast_of(*scores)
    number = np.cumsum(held_out) - 1  # of the blocks that are held out
    block = number[rows.block[unseen]]
    count = int(np.count_nonzero(held_out))
    sums = block_sums(contrast / information, block, count)
    sizes = np.bincount(block, minlength=count).astype(np.float64)

    def statistic(in_window: NDArray[np.bool_]) -> FloatArray:
        inside = in_window.astype(np.float64)
        here = (inside @ sums) / (inside @ sizes)[:, None]
        there: FloatArray = ((1.0 - inside) @ sums) / ((1.0 - inside) @ sizes)[:, None]
        return here - there

    return Dealing(statistic, rows.in_window[held_out])


def squared_effect(score: FloatArray) -> FloatArray:
    """Return the squared conditional mean shift, in standard deviations, that has such a score."""
    return np.maximum(score, 0.0)


def contrast_of(
    reference: tuple[FloatArray, FloatArray], window: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return h_j of each row, from scores and their slopes, and the mean squared score.

    The inverse of the latter is a conditional variance, the unit of γ_j.
    """
    (score_p, slope_p), (score_q, slope_q) = reference, window
    contrast = 0.5 * (score_p - score_q) * (score_p + score_q) + slope_p - slope_q
    information: FloatArray = 0.5 * np.mean(score_p**2 + score_q**2, axis=0)
    return contrast, information


def _half(in_window: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose half of the blocks of each table."""
    chosen = np.zeros(len(in_window), dtype=np.bool_)
    for side in (False, True):
        own = rng.permutation(np.flatnonzero(in_window == side))
        chosen[own[: len(own) // 2]] = True
    return chosen


def fit(rows: FloatArray, given: FloatArray) -> AbstractDistribution:
    """Fit a flow to rows, given the columns that only explain (none: shape (n, 0))."""
    import jax
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_data

    optimizer, loss = _training()
    flow = masked_autoregressive_flow(
        jax.random.key(0),
        base_dist=Normal(jax.numpy.zeros(rows.shape[1])),
        cond_dim=given.shape[1] or None,
        flow_layers=LAYERS,
        nn_width=WIDTH,
        nn_activation=jax.numpy.tanh,  # smooth, as Stein's identity asks
    )
    fitted: AbstractDistribution
    fitted, _ = fit_to_data(
        jax.random.key(1),
        flow,
        tuple(_single(part) for part in (rows, given) if part.shape[1]),
        optimizer=optimizer,
        loss_fn=loss,
        max_epochs=EPOCHS,
        max_patience=PATIENCE,
        batch_size=BATCH,
        show_progress=False,
    )
    return fitted


@functools.cache
def _training() -> tuple[Any, Any]:
    """Return the optimizer and the loss; the same ones, or every fit would be compiled anew."""
    import optax
    from flowjax.train.losses import MaximumLikelihoodLoss

    return optax.adam(RATE), MaximumLikelihoodLoss()


def score_and_slope(
    flow: AbstractDistribution, rows: FloatArray, given: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return ∂_j log p and ∂_j² log p at each row, each of shape (n, columns)."""
    found = _derivatives()(flow, _single(rows), _single(given))
    score, slope = (np.asarray(part, dtype=np.float64) for part in found)
    return score, slope


@functools.cache
def _derivatives() -> Callable[[AbstractDistribution, Array, Array], tuple[Array, Array]]:
    """Return the compiled derivatives; one function, or each call would compile it anew."""
    import equinox
    import jax

    @equinox.filter_jit
    def of_rows(flow: AbstractDistribution, rows: Array, given: Array) -> tuple[Array, Array]:
        def of_row(row: tuple[Array, Array]) -> tuple[Array, Array]:
            own, condition = row

            def log_density(x: Array) -> Array:
                found: Array = flow.log_prob(x, condition if len(condition) else None)
                return found

            score = jax.grad(log_density)
            directions = jax.numpy.eye(len(own))
            second = jax.vmap(lambda d: jax.jvp(score, (own,), (d,))[1] @ d)(directions)
            return score(own), second

        found: tuple[Array, Array] = jax.lax.map(of_row, (rows, given), batch_size=_AT_ONCE)
        return found

    return of_rows


def _single(values: FloatArray) -> Array:
    import jax

    return jax.numpy.asarray(values, dtype=jax.numpy.float32)
