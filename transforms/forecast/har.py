"""The scale of a series from its own past at three horizons, with leverage and skewed heavy tails.

The heterogeneous autoregression of volatility (Corsi, Journal of Financial Econometrics 2009) in
logs and with leverage at each horizon (Corsi and Renò, JBES 2012), on squares of the series itself:

    log s = b₀ + Σ_h b_h ½ log(V_h + ε) + Σ_h c_h R_h / √(V_22 + ε),   y = m + s z,

where V_h and R_h are means of the squares and of the values themselves over the past, weighted by
½^(age/h), h = 1, 5 and 22 steps; and z has Hansen's skewed t with mean 0 and variance 1. There is
no recursion to run: what GARCH learns of its decay is here a regression on three decays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transforms.distributions import hansen
from transforms.forecast.own_lags import Lags, own_lags, past
from transforms.forecast.training import CrossFit, TrainingSet

Floats = NDArray[np.float64]

_HALF_LIVES = (1.0, 5.0, 22.0)  # steps; of daily data: a day, a week and a month
_FLOOR = 0.01  # ε, of the variance: a day without a move is no day without risk
# a priori the scale is that of the longest horizon; this counts as one row does
_PRIOR = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
_LOG_SCALES = (-7.0, 7.0)  # of the standard deviation
_SHAPES = ((-3.0, 5.0), (-2.0, 2.0))  # log(η − 2) and artanh λ
_START_SHAPE = (np.log(6.0), 0.0)
_STEP = 1e-5  # of the shape, for its slope


@dataclass(frozen=True, slots=True)
class Har:
    """A fitted heterogeneous autoregression of the scale."""

    kind: ClassVar[str] = "har"
    lags: Lags
    centre: float  #: of the target, in its unit
    unit: float  #: standard deviation of the target; 1 where it is constant
    location: float  #: m, in standard deviations from the centre
    coefficients: tuple[float, ...]  #: b₀, b_h, c_h
    shape: tuple[float, float]  #: η and λ
    levels: tuple[float, ...]

    @property
    def boosters(self) -> tuple[str, ...]:
        """Return nothing: there is no booster."""
        return ()

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        law = self.parameters(X)
        standard = hansen.quantile(np.array(self.levels), 0.0, 1.0, *self.shape)
        return law["loc"][:, None] + law["scale"][:, None] * standard

    def parameters(self, X: Floats) -> dict[str, Floats]:
        """Return the parameters of each row's law in `transforms.distributions.hansen`, each (n,).

        Lags may be missing: the means are taken over those that are known, and a row without any
        has the variance of the target.
        """
        scale = np.exp(_log_scale(_terms(self._past(X)), np.array(self.coefficients)))
        n = len(X)
        return {
            "loc": np.full(n, self.centre + self.unit * self.location),
            "scale": self.unit * scale,
            "eta": np.full(n, self.shape[0]),
            "lam": np.full(n, self.shape[1]),
        }

    def _past(self, X: Floats) -> Floats:
        return (past(X, self.lags) - self.centre) / self.unit

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "lags": [list(pair) for pair in self.lags],
            "centre": self.centre,
            "unit": self.unit,
            "location": self.location,
            "coefficients": list(self.coefficients),
            "shape": list(self.shape),
            "levels": list(self.levels),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> Har:  # noqa: ARG003
        """Return what `to_dict` wrote."""
        return cls(
            lags=tuple((back, place) for back, place in state["lags"]),
            centre=state["centre"],
            unit=state["unit"],
            location=state["location"],
            coefficients=tuple(state["coefficients"]),
            shape=(state["shape"][0], state["shape"][1]),
            levels=tuple(state["levels"]),
        )


def cross_fit_har(training: TrainingSet) -> CrossFit:
    """Fit on each fold's complement, by maximum likelihood.

    One step ahead, for values whose mean does not depend on the past, such as returns. A row is
    read alone, so rows may come in any order, and from several series.

    Raises
    ------
    StreamFileError
        When the features hold no lags of the target.
    """
    lags = own_lags(training)
    quantiles = np.empty((len(training.y), len(training.levels)))
    for fold in np.unique(training.folds):
        test = training.folds == fold
        quantiles[test] = fit_har(training.take(~test), lags).quantiles(training.X[test])
    return CrossFit(quantiles=quantiles, refit=lambda: fit_har(training, lags))


def fit_har(training: TrainingSet, lags: Lags) -> Har:
    """Fit on all rows."""
    from scipy import optimize

    y, weights = training.y, training.weights
    centre, unit = float(y.mean()), float(y.std()) or 1.0
    standard = (y - centre) / unit
    terms = _terms((past(training.X, lags) - centre) / unit)
    found = optimize.minimize(
        _loss,
        np.concatenate([[0.0], _PRIOR, _START_SHAPE]),
        args=(standard, terms, np.ones(len(y)) if weights is None else weights),
        jac=True,
        method="L-BFGS-B",
        bounds=[(None, None)] * (1 + terms.shape[1]) + list(_SHAPES),
    ).x
    return Har(
        lags=lags,
        centre=centre,
        unit=unit,
        location=float(found[0]),
        coefficients=tuple(found[1:-2].tolist()),
        shape=_shape(found[-2:]),
        levels=tuple(training.levels.tolist()),
    )


def _terms(values: Floats) -> Floats:
    """Return the regressors of log s from standardised pasts, shape (n, 7)."""
    known = ~np.isnan(values)
    some = known.any(axis=1)
    filled = np.where(known, values, 0.0)
    ages = np.arange(values.shape[1])
    squares, means = [], []
    for half_life in _HALF_LIVES:
        weight = 0.5 ** (ages / half_life)
        total = _of_rows(known, weight)
        total[~some] = 1.0
        squares.append(np.where(some, _of_rows(filled * filled, weight) / total, 1.0) + _FLOOR)
        means.append(_of_rows(filled, weight) / total)
    longest = np.sqrt(squares[-1])
    return np.column_stack(
        [
            np.ones(len(values)),
            *(0.5 * np.log(square) for square in squares),
            *(mean / longest for mean in means),
        ]
    )


def _log_scale(terms: Floats, coefficients: Floats) -> Floats:
    found: Floats = np.clip(_of_rows(terms, coefficients), *_LOG_SCALES)
    return found


def _of_rows(values: NDArray[Any], weight: Floats) -> Floats:
    """Return the product with a vector; of BLAS a row's last bit depends on the rows beside it."""
    found: Floats = (values * weight).sum(axis=1)
    return found


def _shape(raw: Floats) -> tuple[float, float]:
    return 2.0 + float(np.exp(raw[0])), float(np.tanh(raw[1]))


def _loss(theta: Floats, y: Floats, terms: Floats, weights: Floats) -> tuple[float, Floats]:
    """Mean negative log-likelihood with its prior, and its gradient.

    Hansen's law is a t on two half-lines: with u the distance from its mode in the scale of that
    side, −∂ log f/∂z = (η + 1) u/(η + u²) ∂u/∂z. The slope by the shape is a central difference.
    """
    location, coefficients = theta[0], theta[1:-2]
    log_scale = _log_scale(terms, coefficients)
    z = (y - location) * np.exp(-log_scale)
    share = weights / weights.sum()
    prior = 1.0 / weights.sum()
    away = coefficients - _PRIOR

    def misfit(shape: Floats) -> float:
        return -float(share @ hansen.log_density(z, 0.0, 1.0, *_shape(shape)))

    eta, lam = _shape(theta[-2:])
    mode, size, _, xi = (float(part) for part in hansen.as_skew_t(0.0, 1.0, eta, lam))
    slope = np.where(z >= mode, 1 / xi, xi) / size
    u = (z - mode) * slope
    pull = (eta + 1) * u / (eta + u * u) * slope
    gradient = np.empty_like(theta)
    gradient[0] = -share @ (pull * np.exp(-log_scale))
    gradient[1:-2] = (share * (1 - pull * z)) @ terms + prior * away
    for place in (-2, -1):
        step = np.zeros(2)
        step[place] = _STEP
        rise = misfit(theta[-2:] + step) - misfit(theta[-2:] - step)
        gradient[place] = rise / (2 * _STEP)
    value = misfit(theta[-2:]) + float(share @ log_scale) + prior * float(away @ away) / 2
    return value, gradient
