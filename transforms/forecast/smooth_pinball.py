"""The pinball loss with a rounded corner, for fits that need its gradient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def smooth_pinball(error: Floats, levels: Floats, width: float) -> tuple[Floats, Floats]:
    """Pinball loss convolved with a uniform kernel, and its derivative.

    ψ_τ(e) = (τ − ½) e + ½|e|, where |e| becomes e²/(2w) + w/2 for |e| < w: the loss of convolution
    smoothing (Fernandes, Guerre and Horta, Journal of Business & Economic Statistics 2021, uniform
    kernel), convex, above the pinball loss by at most w/4.

    Parameters
    ----------
    error : float64 array, shape (n, k)
        Outcome minus quantile.
    levels : float64 array, shape (k,)
    width : float
        w, positive, in the unit of the error.

    Returns
    -------
    loss, slope : float64 arrays, shape (n, k)
        The slope is the derivative with respect to the error.
    """
    inside = np.clip(error, -width, width)
    tilt = levels - 0.5
    # beyond the corner inside²/2w + w/2 is w, and the two terms add up to |e|
    loss = tilt * error + 0.5 * (np.abs(error - inside) + inside * inside / (2 * width) + width / 2)
    return loss, tilt + inside / (2 * width)
