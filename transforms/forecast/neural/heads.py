"""Likelihood heads: from a network's raw scores to a law.

The laws and links are those of `transforms.distributions`: y = loc + scale z with z normal, a t of
ν = 2 + softplus degrees of freedom, or the skewed t of Fernández and Steel with log ξ (Michańków,
arXiv 2508.18921). Here are their log densities for JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from transforms.distributions import normal, skew_t, student_t

if TYPE_CHECKING:
    from jax import Array

Floats = NDArray[np.float64]
HeadName = Literal["normal", "student_t", "skew_t"]

_LOG_SCALES = (-7.0, 4.0)  # in units of the row: no exponent overflows
_LOG_SKEWS = (-2.0, 2.0)
_START = (0.0, 0.0, 3.0, 0.0)  # loc 0, scale 1, ν about 5, ξ 1: of returns, or near


@dataclass(frozen=True, slots=True)
class Head:
    """A law of `transforms.distributions` and where its raw scores begin."""

    name: HeadName
    parameters: tuple[str, ...]
    quantile: Callable[..., Floats]

    @property
    def start(self) -> tuple[float, ...]:
        """Return the raw scores to begin with."""
        return _START[: len(self.parameters)]


HEADS = {
    head.name: head
    for head in (
        Head("normal", ("loc", "scale"), normal.quantile),
        Head("student_t", ("loc", "scale", "nu"), student_t.quantile),
        Head("skew_t", ("loc", "scale", "nu", "xi"), skew_t.quantile),
    )
}


def law(raw: NDArray[np.float32], centre: float, unit: Floats) -> dict[str, Floats]:
    """Return the parameters of each row's law in the target's unit, each shape (n,).

    Parameters
    ----------
    raw : shape (n, parameters), of the network
    centre : of the target
    unit : of each row, shape (n,)
    """
    scores = raw.astype(np.float64).T
    found = {
        "loc": centre + unit * scores[0],
        "scale": unit * np.exp(np.clip(scores[1], *_LOG_SCALES)),
    }
    if len(scores) > 2:
        found["nu"] = 2 + np.logaddexp(0, scores[2])
    if len(scores) > 3:
        found["xi"] = np.exp(np.clip(scores[3], *_LOG_SKEWS))
    return found


def log_density(y: Array, raw: Array) -> Array:
    """Return the log density of each standardised outcome given its raw scores, in JAX."""
    from jax import nn, scipy
    from jax import numpy as jnp

    log_scale = jnp.clip(raw[:, 1], *_LOG_SCALES)
    z = (y - raw[:, 0]) * jnp.exp(-log_scale)
    if raw.shape[1] == 2:
        density: Array = -0.5 * z * z - log_scale - 0.5 * np.log(2 * np.pi)
        return density
    nu = 2 + nn.softplus(raw[:, 2])
    skew = jnp.zeros_like(z)
    if raw.shape[1] == 4:
        log_xi = jnp.clip(raw[:, 3], *_LOG_SKEWS)
        z = z * jnp.exp(jnp.where(z >= 0, -log_xi, log_xi))
        skew = -jnp.log(jnp.cosh(log_xi))  # of 2 / (ξ + 1/ξ)
    beta = scipy.special.betaln(0.5, nu / 2)
    tail = -(nu + 1) / 2 * jnp.log1p(z * z / nu)
    found: Array = skew - beta - 0.5 * jnp.log(nu) + tail - log_scale
    return found
