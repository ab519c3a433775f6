"""Implicit quantile networks: one network whose input, beside the features, is the level."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.neural.descent import Descent, check_installed, descent
from transforms.forecast.neural.inputs import Inputs, learn_inputs
from transforms.forecast.neural.networks import Weights, quantile_at, start_quantiles
from transforms.forecast.packed import pack, unpack
from transforms.forecast.training import CrossFit, TrainingSet

if TYPE_CHECKING:
    from jax import Array

Floats = NDArray[np.float64]

_DRAWS = 8  # levels of a row in each step
_ROWS_AT_ONCE = 4096  # forecast at a time: the network holds rows × levels × 64 numbers


@dataclass(frozen=True, slots=True)
class ImplicitQuantiles:
    """A fitted network."""

    kind: ClassVar[str] = "implicit_quantiles"
    inputs: Inputs
    weights: Mapping[str, NDArray[np.float32]]
    centre: float
    unit: float
    levels: tuple[float, ...]
    limits: tuple[float, float]  #: the target's range, widened by itself on both sides

    @property
    def boosters(self) -> tuple[str, ...]:
        """Return nothing: there is no booster."""
        return ()

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, sorted, shape (n, levels)."""
        levels = np.array([self.levels], np.float32)
        parts = [
            quantile_at(np, self.weights, self.inputs.matrix(X[at : at + _ROWS_AT_ONCE]), levels)
            for at in range(0, len(X), _ROWS_AT_ONCE)
        ]
        raw = np.concatenate([np.empty((0, len(self.levels))), *parts])
        return np.clip(np.sort(self.centre + self.unit * raw, axis=1), *self.limits)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "inputs": self.inputs.to_dict(),
            "weights": {name: pack(value) for name, value in self.weights.items()},
            "centre": self.centre,
            "unit": self.unit,
            "levels": list(self.levels),
            "limits": list(self.limits),
        }

    @classmethod
    def from_dict(
        cls,
        state: Mapping[str, Any],
        boosters: tuple[str, ...],  # noqa: ARG003
    ) -> ImplicitQuantiles:
        """Return what `to_dict` wrote."""
        return cls(
            inputs=Inputs.from_dict(state["inputs"]),
            weights={name: unpack(value) for name, value in state["weights"].items()},
            centre=state["centre"],
            unit=state["unit"],
            levels=tuple(state["levels"]),
            limits=(state["limits"][0], state["limits"][1]),
        )


def cross_fit_implicit_quantiles(training: TrainingSet) -> CrossFit:
    """Fit on each fold's complement, stopped on its last rows; then on all rows as long.

    Raises
    ------
    StreamFileError
        When the extra `neural` is not installed.
    """
    check_installed(ImplicitQuantiles.kind)
    quantiles = np.empty((len(training.y), len(training.levels)))
    rounds = []
    for fold in np.unique(training.folds):
        test = training.folds == fold
        fitted, count = _fit(training.take(~test))
        quantiles[test] = fitted.quantiles(training.X[test])
        rounds.append(count)
    longest = max(1, round(float(np.median(rounds))))
    return CrossFit(quantiles=quantiles, refit=lambda: _fit(training, longest)[0])


def _fit(training: TrainingSet, rounds: int | None = None) -> tuple[ImplicitQuantiles, int]:
    X, y = training.X, training.y
    inputs = learn_inputs(X, range(X.shape[1]), training.categories)
    centre, unit = float(y.mean()), float(y.std()) or 1.0
    own = np.ones(len(y)) if training.weights is None else training.weights
    arrays = (inputs.matrix(X), ((y - centre) / unit).astype(np.float32), own.astype(np.float32))
    start = start_quantiles(np.random.default_rng(training.seed), inputs.width, arrays[1])
    weights, count, _ = _descent().fit(start, arrays, training.seed, rounds)
    limits = (float(2 * y.min() - y.max()), float(2 * y.max() - y.min()))
    levels = tuple(training.levels.tolist())
    return ImplicitQuantiles(inputs, weights, centre, unit, levels, limits), count


@functools.cache
def _descent() -> Descent:
    import jax
    from jax import numpy as jnp

    def loss(weights: Weights, rows: tuple[Array, ...], key: Array) -> Array:
        """Pinball loss at levels drawn one from each eighth of (0, 1), mean over rows."""
        features, y, own = rows
        part = jax.random.uniform(key, (len(y), _DRAWS))
        levels = (jnp.arange(_DRAWS) + part) / _DRAWS
        miss = y[:, None] - quantile_at(jnp, weights, features, levels)
        each = jnp.maximum(levels * miss, (levels - 1) * miss).mean(axis=1)
        return (own * each).sum() / own.sum()

    return descent(loss)
