"""How many rows of a series are worth one independent row."""

from __future__ import annotations

import numpy as np

from monitors.encoder import FloatArray


def autocorrelation_time(series: FloatArray) -> float:
    """Return 1 + 2 Σ ρ_k over Geyer's initial positive sequence (Geyer 1992, §3.3), at least 1.

    Parameters
    ----------
    series : FloatArray, shape (n,)
    """
    n = len(series)
    centred = series - series.mean()
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), size)[:n]
    if covariance[0] <= 0:
        return 1.0
    rho = covariance / covariance[0]
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(axis=1)
    stop = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs)
    return max(1.0, float(2.0 * pairs[:stop].sum() - 1.0))
