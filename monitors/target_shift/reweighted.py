"""Whether reference rows, weighted by the ratio of the targets' laws, look like the window's.

Under pure target shift they do. The statistic is the squared maximum mean discrepancy between the
weighted reference rows and the window's. Its null law is a bootstrap from the fitted model: both
sets are drawn again from the reference, those of the window by the weights, and the weights are
estimated again each time, since weights that were fitted to a window bring the reference nearer to
it than the true ones. They are undersmoothed: a bias would be taken for a shift that no weights
undo, while the bootstrap knows of their variance.
"""

from __future__ import annotations

import numpy as np

from monitors.encoder import FloatArray
from monitors.target_shift.retasa import UNDERSMOOTH, bin_rows, choose

DRAWS = 199


def p_reweighted(
    kernel: FloatArray,
    score: FloatArray,
    y: FloatArray,
    score_after: FloatArray,
    rng: np.random.Generator,
) -> float:
    """Return the p-value of: target shift alone explains the window's inputs.

    Parameters
    ----------
    kernel : FloatArray, shape (n + m, n + m), of the inputs of reference rows, then window rows.
    score : FloatArray, shape (n,): a prediction of y that has not seen it.
    y : FloatArray, shape (n,)
    score_after : FloatArray, shape (m,)
    """
    n, m = len(y), len(score_after)
    binned, after = bin_rows(score[:, None], y, score_after[:, None])
    once = np.ones(n)
    width, penalty = choose(binned, after, m, rng)
    alpha = (UNDERSMOOTH * penalty,)
    omega = binned.solve(binned.joint(once), after, width, alpha)[0]
    weights = binned.weights(omega, once) / n
    signs = np.concatenate([weights, np.full(m, -1.0 / m)])
    found = float(signs @ kernel @ signs)

    counts = rng.multinomial(n, once / n, DRAWS).astype(np.float64)
    drawn = rng.multinomial(m, weights / weights.sum(), DRAWS).astype(np.float64)
    again = binned.solve(binned.joint(counts), binned.density(drawn), width, alpha)[:, 0]
    signs = binned.weights(again, counts) * counts / n - drawn / m
    null = ((signs @ kernel[:n, :n]) * signs).sum(axis=1)
    return float((1 + np.count_nonzero(null >= found)) / (1 + DRAWS))
