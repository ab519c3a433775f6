"""Likelihoods that boosting can climb: slopes and Fisher information, coordinate by coordinate.

A head holds one number per row and coordinate, anywhere on the line (raw scores). What a
coordinate's booster needs is the slope of the negative log-likelihood in its own raw score and the
expectation of its square, the Fisher information: their ratio is the natural gradient (Amari,
Neural Computation 1998; for boosting Duan et al., ICML 2020), taken here for one coordinate at a
time. The raw score of a scale is its logarithm, whose information does not depend on the scale.

Targets are in units of the head: `Head.standard` turns y into t, and `Head.parameters` raw scores
into parameters of y's own law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, expit, psi, zeta

from transforms.distributions.families import FAMILIES, Family

Floats = NDArray[np.float64]
#: from t and the raw scores of all coordinates, each of shape (n,), to slope and information
Derivative = Callable[..., tuple[Floats, Floats]]

_NU_5 = 2.9489  # the raw score of ν = 5
_SHAPES_AFTER = 40  # rounds: earlier, shapes would take missing location for tails and skew
_LEAN = 1.5  # of the mode, away from the location: see `_mode`


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One coordinate of a head; its raw scores are kept between `low` and `high`."""

    derivative: Derivative
    low: float
    high: float
    every: int = 1  #: it grows a tree in every so-manieth round …
    after: int = 0  #: … after this one
    #: where its raw scores start; None: at the maximum-likelihood constant
    start: float | None = None

    def due(self, step: int) -> bool:
        """Whether it grows a tree in this round, counted from 1."""
        return step % self.every == 0 and step > self.after


@dataclass(frozen=True, slots=True)
class Head:
    """A family as boosting sees it."""

    family: Family
    coordinates: tuple[Coordinate, ...]
    logs: bool = False  #: whether t is made of the logarithm of y; NaN where y is 0

    def standard(self, y: Floats) -> tuple[float, float]:
        """Return centre and unit of the target, or of its logarithm."""
        if self.family.name == "gamma":
            return 0.0, float(y.mean())
        own = np.log(y[y > 0]) if self.logs else y
        low, centre, high = np.quantile(own, [0.25, 0.5, 0.75])
        # the normal-consistent interquartile range; where values tie, the deviation
        unit = float(high - low) / 1.349 or float(own.std())
        return float(centre), unit or 1.0

    def scaled(self, y: Floats, centre: float, unit: float) -> Floats:
        """Return t of each row."""
        if not self.logs:
            return (y - centre) / unit
        return (np.log(np.where(y > 0, y, np.nan)) - centre) / unit

    def parameters(self, raw: Floats, centre: float, unit: float) -> tuple[Floats, ...]:
        """Return the family's parameters, each of shape (n,), from raw scores, shape (d, n)."""
        columns = list(raw)
        if self.family.name == "skew_t":
            columns[0] = _mode(raw[0], raw[1], raw[3])
        found = [link.inverse(own) for link, own in zip(self.family.links, columns, strict=True)]
        for place, name in enumerate(self.family.parameters):
            if name in {"loc", "mu"}:
                found[place] = centre + unit * found[place]
            elif name in {"scale", "sigma", "mean"}:
                found[place] = unit * found[place]
        return tuple(found)


def _normal_location(t: Floats, location: Floats, log_scale: Floats) -> tuple[Floats, Floats]:
    precision = np.exp(-2 * log_scale)
    return (location - t) * precision, precision


def _normal_scale(t: Floats, location: Floats, log_scale: Floats) -> tuple[Floats, Floats]:
    z = (t - location) * np.exp(-log_scale)
    return 1 - z * z, np.full(len(t), 2.0)


def _t_location(t: Floats, location: Floats, log_scale: Floats, v: Floats) -> tuple[Floats, Floats]:
    nu, precision = _nu(v), np.exp(-2 * log_scale)
    error = t - location
    weight = (nu + 1) / (nu + error * error * precision)
    return -weight * error * precision, (nu + 1) / (nu + 3) * precision


def _t_scale(t: Floats, location: Floats, log_scale: Floats, v: Floats) -> tuple[Floats, Floats]:
    nu = _nu(v)
    return 1 - _pull((t - location) * np.exp(-log_scale), nu), 2 * nu / (nu + 3)


def _t_nu(t: Floats, location: Floats, log_scale: Floats, v: Floats) -> tuple[Floats, Floats]:
    return _nu_derivative((t - location) * np.exp(-log_scale), v)


def _skew_location(
    t: Floats, location: Floats, log_scale: Floats, v: Floats, log_xi: Floats
) -> tuple[Floats, Floats]:
    nu = _nu(v)
    u, stretch = _sides(t, location, log_scale, log_xi)
    weight = (nu + 1) / (nu + u * u)
    scale = np.exp(log_scale)
    return -weight * u / (stretch * scale), (nu + 1) / (nu + 3) / (scale * scale)


def _skew_scale(
    t: Floats, location: Floats, log_scale: Floats, v: Floats, log_xi: Floats
) -> tuple[Floats, Floats]:
    nu = _nu(v)
    u, stretch = _sides(t, location, log_scale, log_xi)
    lean = _LEAN * _gudermann(log_xi)  # the mode moves with the scale
    slope = 1 - _pull(u, nu) + lean * (nu + 1) / (nu + u * u) * u / stretch
    return slope, (2 * nu + lean * lean * (nu + 1)) / (nu + 3)


def _skew_nu(
    t: Floats, location: Floats, log_scale: Floats, v: Floats, log_xi: Floats
) -> tuple[Floats, Floats]:
    return _nu_derivative(_sides(t, location, log_scale, log_xi)[0], v)


def _skew_xi(
    t: Floats, location: Floats, log_scale: Floats, v: Floats, log_xi: Floats
) -> tuple[Floats, Floats]:
    nu = _nu(v)
    u, stretch = _sides(t, location, log_scale, log_xi)
    lean = _LEAN / np.cosh(log_xi)  # the mode moves with the skew
    tanh = np.tanh(log_xi)
    slope = tanh - np.sign(u) * _pull(u, nu) + lean * (nu + 1) / (nu + u * u) * u / stretch
    at_zero = np.exp(-betaln(0.5, 0.5 * nu)) / np.sqrt(nu)  # the density of t_ν at 0
    mixed = 8 * at_zero * lean / np.cosh(log_xi)
    return slope, (nu + 1) / (nu + 3) * (3 + lean * lean - mixed) - tanh * tanh


def _gamma_mean(t: Floats, log_mean: Floats, log_shape: Floats) -> tuple[Floats, Floats]:
    shape = np.exp(log_shape)
    return shape * (1 - t * np.exp(-log_mean)), shape


def _gamma_shape(t: Floats, log_mean: Floats, log_shape: Floats) -> tuple[Floats, Floats]:
    shape, ratio = np.exp(log_shape), t * np.exp(-log_mean)
    slope = shape * (psi(shape) - log_shape - 1 - np.log(ratio) + ratio)
    return slope, shape * shape * zeta(2, shape) - shape  # zeta(2, k) is the trigamma function


def _chance(t: Floats, logit: Floats, *_: Floats) -> tuple[Floats, Floats]:
    chance = expit(logit)
    return chance - ~np.isnan(t), chance * (1 - chance)


def _above_zero(derivative: Derivative) -> Derivative:
    """Return the derivative of a law of the rows above zero: the others say nothing about it."""

    def found(t: Floats, _: Floats, *raw: Floats) -> tuple[Floats, Floats]:
        slope, information = derivative(t, *raw)
        zero = np.isnan(t)
        return np.where(zero, 0, slope), np.where(zero, 0, information)

    return found


def _nu(v: Floats) -> Floats:
    return 2 + np.logaddexp(0, v)


def _pull(z: Floats, nu: Floats) -> Floats:
    """Return w z² with w = (ν + 1)/(ν + z²): 1 on average, at most ν + 1."""
    square = z * z
    return (nu + 1) * square / (nu + square)


def _nu_derivative(z: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Return slope and information in v of the standard t (Lange, Little and Taylor, JASA 1989)."""
    nu, link = _nu(v), expit(v)
    score = psi((nu + 1) / 2) - psi(nu / 2) - np.log1p(z * z / nu) + (_pull(z, nu) - 1) / nu
    information = (zeta(2, nu / 2) - zeta(2, (nu + 1) / 2)) / 4
    information = information - (nu + 5) / (2 * nu * (nu + 1) * (nu + 3))
    return -0.5 * score * link, information * link * link


def _sides(t: Floats, location: Floats, log_scale: Floats, log_xi: Floats) -> tuple[Floats, Floats]:
    """Return the residual in units of its own side, and the stretch of that side."""
    z = (t - _mode(location, log_scale, log_xi)) * np.exp(-log_scale)
    stretch = np.exp(np.where(z >= 0, log_xi, -log_xi))
    return z / stretch, stretch


def _mode(location: Floats, log_scale: Floats, log_xi: Floats) -> Floats:
    """Return the mode: location − 1.5 scale gd(log ξ).

    The mode and the skew of a Fernández–Steel law are strongly confounded (correlation .88 at
    ν = 5), so that boosting them in turn would crawl. With I(mode, mode) = (ν + 1)/((ν + 3) s²)
    and I(mode, log ξ) = 4 t_ν(0) sech(log ξ) (ν + 1)/((ν + 3) s), a location whose mode moves by
    −4 t_ν(0) s sech(log ξ) with log ξ is orthogonal to it; the integral of sech is the
    Gudermannian function gd, and 4 t_ν(0) runs from 1.41 (ν = 2) to 1.60: 1.5 serves all.
    """
    return location - _LEAN * np.exp(log_scale) * _gudermann(log_xi)


def _gudermann(x: Floats) -> Floats:
    return np.arctan(np.sinh(x))


# Logarithms of scales are in units of the target. ν runs from 2 to 30: beyond, it is a normal, and
# tells nothing that would bring it back; so it does not start at the constant either, which is
# that of a mixture of locations.
_NORMAL = (
    Coordinate(_normal_location, -np.inf, np.inf),
    Coordinate(_normal_scale, -5.0, 4.0, every=4),
)

HEADS: Mapping[str, Head] = {
    head.family.name: head
    for head in (
        Head(FAMILIES["normal"], _NORMAL),
        Head(
            FAMILIES["student_t"],
            (
                Coordinate(_t_location, -np.inf, np.inf),
                Coordinate(_t_scale, -5.0, 4.0, every=4),
                Coordinate(_t_nu, -4.0, 28.0, every=16, after=_SHAPES_AFTER, start=_NU_5),
            ),
        ),
        Head(
            FAMILIES["skew_t"],
            (
                Coordinate(_skew_location, -np.inf, np.inf),
                Coordinate(_skew_scale, -5.0, 4.0, every=4),
                Coordinate(_skew_nu, -4.0, 28.0, every=16, after=_SHAPES_AFTER, start=_NU_5),
                Coordinate(_skew_xi, -1.5, 1.5, every=4, after=_SHAPES_AFTER, start=0.0),
            ),
        ),
        Head(FAMILIES["lognormal"], _NORMAL, logs=True),
        Head(
            FAMILIES["gamma"],
            (
                Coordinate(_gamma_mean, -12.0, 12.0),
                Coordinate(_gamma_shape, -5.0, 9.0, every=4),
            ),
        ),
        Head(
            FAMILIES["zero_inflated_lognormal"],
            (
                Coordinate(_chance, -9.0, 9.0),
                *(replace(own, derivative=_above_zero(own.derivative)) for own in _NORMAL),
            ),
            logs=True,
        ),
    )
}
