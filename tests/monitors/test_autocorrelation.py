from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from monitors.autocorrelation import autocorrelation_time


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_the_autocorrelation_time_of_ar1_is_known(rng: np.random.Generator, phi: float) -> None:
    """(1 + φ)/(1 − φ)."""
    series = signal.lfilter([1.0], [1, -phi], rng.standard_normal(100_000))
    assert autocorrelation_time(series) == pytest.approx((1 + phi) / (1 - phi), rel=0.1)


def test_a_constant_series_has_no_autocorrelation_time() -> None:
    """One row is worth one row."""
    assert autocorrelation_time(np.full(50, 3.0)) == 1.0
