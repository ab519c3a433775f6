"""GARCH, GJR and EGARCH with normal, t or Hansen skewed t innovations, fitted by the package arch.

With e = y − μ, z = e/σ and one lag each, all of the step before,

    garch   σ² = ω + α e² + β σ²                   (Bollerslev, Journal of Econometrics 1986)
    gjr     σ² = ω + α e² + γ e² 1{e < 0} + β σ²   (Glosten, Jagannathan and Runkle, JF 1993)
    egarch  ln σ² = ω + α (|z| − √(2/π)) + γ z + β ln σ²             (Nelson, Econometrica 1991)

The parameters are fitted to the series. A forecast runs the recursion over the lags of its row, for
all rows at once, and needs no arch.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from schemas.errors import StreamFileError
from transforms.distributions import hansen, normal
from transforms.forecast.own_lags import Lags, own_lags, past, stride, unfold
from transforms.forecast.training import CrossFit, TrainingSet

Floats = NDArray[np.float64]
Recursion = Literal["garch", "gjr", "egarch"]
Innovations = Literal["normal", "t", "skewt"]

_MEAN_SIZE = math.sqrt(2 / math.pi)  # E|z| of a normal z
# The variance before the first known lag, as arch has it: a weighted mean of the first squares.
_FIRST, _FADING = 75, 0.94
_LOG_VARIANCES = (-30.0, 30.0)  # in units of the target's variance: no exponent overflows

_MOST_SKEW = 0.99  # |λ|: arch allows 1, where half of the law is gone


@dataclass(frozen=True, slots=True)
class Garch:
    """A fitted model of the conditional variance."""

    kind: ClassVar[str] = "garch"
    recursion: Recursion
    innovations: Innovations
    lags: Lags
    centre: float  #: of the target, in its unit
    unit: float  #: standard deviation of the target, 1 where it is constant; unit of what follows
    mu: float
    recursive: tuple[float, float, float, float]  #: ω, α, γ, β
    shape: tuple[float, ...]  #: (): normal; (η, λ): t, where λ is 0, and skewt
    levels: tuple[float, ...]

    @property
    def boosters(self) -> tuple[str, ...]:
        """Return nothing: there is no booster."""
        return ()

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        law, levels = self.parameters(X), np.array(self.levels)
        standard = (
            hansen.quantile(levels, 0.0, 1.0, *self.shape)
            if self.shape
            else normal.quantile(levels, 0.0, 1.0)
        )
        return law["loc"][:, None] + law["scale"][:, None] * standard

    def parameters(self, X: Floats) -> dict[str, Floats]:
        """Return the parameters of each row's law, each shape (n,), in the target's unit.

        ``loc`` and ``scale`` of `transforms.distributions.normal`, or with ``eta`` and ``lam``
        those of `transforms.distributions.hansen`. An unknown lag counts as its expectation; a row
        without any has the variance of the target.
        """
        shocks = (past(X, self.lags) - self.centre) / self.unit - self.mu
        run = _log_variance if self.recursion == "egarch" else _variance
        law = {
            "loc": np.full(len(X), self.centre + self.unit * self.mu),
            "scale": self.unit * np.sqrt(run(shocks[:, ::-1], *self.recursive)),
        }
        for name, value in zip(("eta", "lam"), self.shape, strict=False):
            law[name] = np.full(len(X), value)
        return law

    def log_density(self, y: Floats, X: Floats) -> Floats:
        """Return the log density of each outcome given its row, shape (n,)."""
        density = hansen.log_density if self.shape else normal.log_density
        found: Floats = density(y, **self.parameters(X))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "recursion": self.recursion,
            "innovations": self.innovations,
            "lags": [list(pair) for pair in self.lags],
            "centre": self.centre,
            "unit": self.unit,
            "mu": self.mu,
            "recursive": list(self.recursive),
            "shape": list(self.shape),
            "levels": list(self.levels),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> Garch:  # noqa: ARG003
        """Return what `to_dict` wrote."""
        omega, alpha, gamma, beta = state["recursive"]
        return cls(
            recursion=state["recursion"],
            innovations=state["innovations"],
            lags=tuple((back, place) for back, place in state["lags"]),
            centre=state["centre"],
            unit=state["unit"],
            mu=state["mu"],
            recursive=(omega, alpha, gamma, beta),
            shape=tuple(state["shape"]),
            levels=tuple(state["levels"]),
        )


def cross_fit_garch(training: TrainingSet) -> CrossFit:
    """Choose recursion, then innovations, by the log score out of fold; GJR skewed t where tied.

    One step ahead. A fold is forecast with parameters from the series without it: where it is cut
    out, the past of a few values is not their own. Weights of rows have a part in the choice alone.

    Raises
    ------
    StreamFileError
        When arch is not installed, the features hold no lags of the target, or they do not repeat
        its outcomes: the rows are not one series in order of time.
    """
    if importlib.util.find_spec("arch") is None:
        raise StreamFileError(
            "model `garch` needs the package arch, which is not installed; install tidegauge with "
            "its extra: pip install 'tidegauge[garch]'"
        )
    lags = own_lags(training)
    step = stride(past(training.X, lags), training.y)
    if not step:
        raise StreamFileError(
            "model `garch` is fitted to one series in order of time, but the lags do not repeat "
            "the outcomes of the rows before; give lags of one step onwards (1, 2, 3 …) and one "
            "series, or take model `har`, which reads each row alone"
        )
    y, folds, weights = training.y, training.folds, training.weights
    tried: dict[tuple[Recursion, Innovations], tuple[float, Floats]] = {}

    def loss(recursion: Recursion, innovations: Innovations) -> float:
        score = np.empty(len(y))
        quantiles = np.empty((len(y), len(training.levels)))
        for fold in np.unique(folds):
            test = folds == fold
            fitted = fit_garch(training.take(~test), lags, step, recursion, innovations)
            score[test] = -fitted.log_density(y[test], training.X[test])
            quantiles[test] = fitted.quantiles(training.X[test])
        mean = float(np.average(score, weights=weights))
        tried[recursion, innovations] = mean, quantiles
        return mean

    recursions: tuple[Recursion, ...] = ("gjr", "garch", "egarch")
    recursion = min(recursions, key=lambda name: loss(name, "skewt"))
    for other in ("t", "normal"):
        loss(recursion, other)
    chosen = min(tried, key=lambda names: tried[names][0])
    return CrossFit(
        quantiles=tried[chosen][1], refit=lambda: fit_garch(training, lags, step, *chosen)
    )


def fit_garch(
    training: TrainingSet,
    lags: Lags,
    step: int,
    recursion: Recursion = "gjr",
    innovations: Innovations = "skewt",
) -> Garch:
    """Fit one model by maximum likelihood.

    Parameters
    ----------
    training : rows of one series in order of time
    lags : as `own_lags` returns them
    step : from one row to the next, as `stride` returns it
    """
    from arch import arch_model

    y = training.y
    centre, unit = float(y.mean()), float(y.std())
    levels = tuple(training.levels.tolist())
    if unit == 0:  # a constant series has no likelihood
        least = float(np.exp(_LOG_VARIANCES[0]))
        return Garch("garch", "normal", lags, centre, 1.0, 0.0, (least, 0.0, 0.0, 0.0), (), levels)
    series = (unfold(past(training.X, lags), y, step) - centre) / unit
    model = arch_model(
        series,
        mean="Constant",
        vol="EGARCH" if recursion == "egarch" else "GARCH",
        o=0 if recursion == "garch" else 1,
        dist=innovations,
        rescale=False,
    )
    found = model.fit(disp="off", show_warning=False).params
    shape = [float(found[name]) for name in ("nu", "eta") if name in found]
    if shape:
        shape.append(float(np.clip(found.get("lambda", 0.0), -_MOST_SKEW, _MOST_SKEW)))
    return Garch(
        recursion=recursion,
        innovations=innovations,
        lags=lags,
        centre=centre,
        unit=unit,
        mu=float(found["mu"]),
        recursive=(
            float(found["omega"]),
            float(found["alpha[1]"]),
            float(found.get("gamma[1]", 0.0)),
            float(found["beta[1]"]),
        ),
        shape=tuple(shape),
        levels=levels,
    )


def _variance(shocks: Floats, omega: float, alpha: float, gamma: float, beta: float) -> Floats:
    """Run the recursion of GARCH and GJR over shocks, oldest first, shape (n, steps)."""
    known, begun, first = _start(shocks)
    falls = shocks < 0  # NaN is none
    variance = np.where(begun[:, -1], omega + (alpha + gamma / 2 + beta) * first, first)
    for t in range(shocks.shape[1]):
        square = shocks[:, t] ** 2
        news = np.where(
            known[:, t], (alpha + gamma * falls[:, t]) * square, (alpha + gamma / 2) * variance
        )
        variance = np.where(begun[:, t], omega + news + beta * variance, variance)
    return variance


def _log_variance(shocks: Floats, omega: float, alpha: float, gamma: float, beta: float) -> Floats:
    """Run the recursion of EGARCH over shocks, oldest first, shape (n, steps)."""
    known, begun, first = _start(shocks)
    log_first = np.log(first)
    log_variance = np.where(begun[:, -1], omega + beta * log_first, log_first)
    for t in range(shocks.shape[1]):
        z = shocks[:, t] * np.exp(-log_variance / 2)
        news = np.where(known[:, t], alpha * (np.abs(z) - _MEAN_SIZE) + gamma * z, 0.0)
        following = np.clip(omega + news + beta * log_variance, *_LOG_VARIANCES)
        log_variance = np.where(begun[:, t], following, log_variance)
    variance: Floats = np.exp(log_variance)
    return variance


def _start(shocks: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Floats]:
    """Return which shocks are known, from where on there are any, and the variance before them.

    The latter is what arch starts a series with: Σ w_i e_i² over the first 75 shocks, w_i ∝ .94^i.
    Those that are not known count as 1, the variance of the target.
    """
    known = ~np.isnan(shocks)
    begun = np.logical_or.accumulate(known, axis=1)
    age = np.cumsum(begun, axis=1) - 1
    weight = np.where(known & (age < _FIRST), _FADING**age, 0.0)
    weight *= (1 - _FADING) / (1 - _FADING**_FIRST)  # a whole start weighs 1
    squares = np.where(known, shocks, 0.0) ** 2
    first: Floats = 1.0 + (weight * (squares - 1.0)).sum(axis=1)
    return known, begun, np.maximum(first, np.exp(_LOG_VARIANCES[0]))
