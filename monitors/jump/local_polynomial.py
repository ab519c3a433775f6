"""Local polynomials on one side of a cutoff: what the outcome tends to there.

Kernel-weighted least squares on the units of one side (Fan and Gijbels, Local Polynomial Modelling
and Its Applications, 1996, §3.1), with the Epanechnikov kernel. The estimate at the cutoff is a
weighted sum of the outcomes, Σ w_i Y_i, whose weights depend on the distances alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitors.encoder import FloatArray


@dataclass(frozen=True, slots=True)
class SideFit:
    """The local polynomial of one side."""

    weights: FloatArray  #: shape (n,): of the outcomes, in the estimate at the cutoff; sum 1
    limit: FloatArray  #: shape (q,): the estimate at the cutoff
    curvature: FloatArray  #: shape (q,): coefficient of the squared distance; 0 below order 2
    residuals: FloatArray  #: shape (n, q)
    leverage: FloatArray  #: shape (n,): how far each unit's fit is its own outcome


def epanechnikov(u: FloatArray) -> FloatArray:
    """Return the kernel's values, 3/4 (1 − u²) within ±1."""
    return np.where(np.abs(u) < 1.0, 0.75 * (1.0 - u * u), 0.0)


def powers(u: FloatArray, order: int) -> FloatArray:
    """Return 1, u, …, u^order; shape (n, order + 1)."""
    return np.vander(u, order + 1, increasing=True)


def fit_side(distance: FloatArray, outcomes: FloatArray, bandwidth: float, order: int) -> SideFit:
    """Fit the units of one side.

    Parameters
    ----------
    distance : shape (n,), from the cutoff, signed, of one sign.
    outcomes : shape (n, q)
    bandwidth : in units of the distance; ∞ weighs all units alike.
    order : of the polynomial.

    Raises
    ------
    numpy.linalg.LinAlgError
        When the units within the bandwidth have fewer distinct distances than coefficients.
    """
    scale = bandwidth if np.isfinite(bandwidth) else float(np.abs(distance).max())
    u = distance / scale
    kernel = epanechnikov(u) if np.isfinite(bandwidth) else np.ones_like(u)
    design = powers(u, order)
    weighted = design * kernel[:, None]
    operator = np.linalg.solve(design.T @ weighted, weighted.T)
    coefficients = operator @ outcomes
    return SideFit(
        weights=operator[0],
        limit=coefficients[0],
        curvature=coefficients[2] / scale**2 if order > 1 else np.zeros(outcomes.shape[1]),
        residuals=outcomes - design @ coefficients,
        leverage=np.einsum("ij,ji->i", design, operator),
    )


def boundary_constants(order: int) -> tuple[float, float]:
    """Return the bias and the variance constant of an estimate at the end of the data.

    With m the outcome's mean, f the density of the running variable and σ² the outcome's variance
    at the cutoff, the estimate's bias is bias · h^(order+1) · m^(order+1) / (order + 1)! and its
    variance is variance · σ² / (n h f).
    """
    nodes, gauss = np.polynomial.legendre.leggauss(32)  # exact: the integrands are polynomials
    u, du = (nodes + 1.0) / 2.0, gauss / 2.0
    design, kernel = powers(u, order), epanechnikov(u)
    weights = np.linalg.solve((design.T * (kernel * du)) @ design, design.T * kernel)[0]
    return float(weights @ (du * u ** (order + 1))), float(weights**2 @ du)
