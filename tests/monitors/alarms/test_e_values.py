from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate

from monitors.alarms.e_values import LEAST_P, cutoff, mixture, power


@pytest.mark.parametrize("kappa", [0.1, 0.5, 0.9])
def test_power_has_mean_one_under_the_null(kappa: float) -> None:
    """The integral over uniform p-values is 1, so no strategy gains on average."""
    # with p = exp(-x), so that the pole at 0 is no difficulty
    mean, _ = integrate.quad(lambda x: power(np.exp(-x), kappa) * np.exp(-x), 0, 600)
    assert mean == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("p", [1e-200, 1e-9, 0.01, 0.5, 0.9999999])
def test_mixture_is_the_mean_of_the_powers(p: float) -> None:
    """The closed form is the integral over κ."""
    mean, _ = integrate.quad(lambda kappa: power(p, kappa), 0, 1, epsabs=0, epsrel=1e-10)
    assert mixture(p) == pytest.approx(mean, rel=1e-6)


def test_mixture_of_any_p_value_is_finite_and_falls_with_p() -> None:
    """Also where p is 0 or 1."""
    values = [mixture(p) for p in (0.0, LEAST_P, 1e-50, 1e-3, 0.5, 1.0 - 1e-9, 1.0)]
    assert np.isfinite(values).all()
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("e", [0.7, 2.0, 400.0, 1e12])
def test_cutoff_inverts_the_mixture(e: float) -> None:
    """The p-value at the cutoff has that e-value."""
    assert mixture(cutoff(e)) == pytest.approx(e, rel=1e-9)


def test_cutoff_of_no_evidence_is_one() -> None:
    """An e-value that every p-value has is asked of none."""
    assert cutoff(0.4) == 1.0
