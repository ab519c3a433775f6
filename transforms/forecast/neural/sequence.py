"""Networks on the target's own past, convolutional or recurrent, with a likelihood head.

Kinds `cnn` and `lstm`: a network reads the nearest lags in order, a dense layer joins what it read
with the other features, and its scores are the parameters of each row's law (Michańków, arXiv
2508.18921). They are fitted by the mean log density. Each row is in a unit of its own, the running
size of its past (exponentially weighted squares, RiskMetrics 1996): a network need not learn what
that says already, only how the next value differs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import StreamFileError
from transforms.forecast.neural.descent import Descent, check_installed, descent
from transforms.forecast.neural.heads import HEADS, HeadName, law, log_density
from transforms.forecast.neural.inputs import Inputs, learn_inputs
from transforms.forecast.neural.networks import Network, Weights, sequence_scores, start_sequence
from transforms.forecast.own_lags import Lags, own_lags
from transforms.forecast.packed import pack, unpack
from transforms.forecast.training import CrossFit, TrainingSet

if TYPE_CHECKING:
    from jax import Array

Floats = NDArray[np.float64]

_STEPS = 22  # the nearest lags that are read; a month of trading days
_FADING, _PRIOR = 0.94, 1.0  # of squares from step to step; the target's variance counts as one
_ROWS_AT_ONCE = 4096  # forecast at a time


@dataclass(frozen=True, slots=True)
class SequenceNetwork:
    """A fitted network."""

    network: Network
    head: HeadName
    lags: Lags  #: of the target; the nearest 22 are read in order, all make the row's unit
    inputs: Inputs  #: of the other features
    weights: Mapping[str, NDArray[np.float32]]
    centre: float
    unit: float
    levels: tuple[float, ...]

    @property
    def kind(self) -> str:
        """Return the network's name."""
        return self.network

    @property
    def boosters(self) -> tuple[str, ...]:
        """Return nothing: there is no booster."""
        return ()

    def parameters(self, X: Floats) -> dict[str, Floats]:
        """Return the parameters of each row's law by name, each of shape (n,)."""
        parts = []
        for at in range(0, len(X), _ROWS_AT_ONCE):
            some = X[at : at + _ROWS_AT_ONCE]
            sequence, features, size = _read(some, self.lags, self.inputs, self.centre, self.unit)
            raw = sequence_scores(np, self.network, self.weights, sequence, features)
            parts.append(law(raw, self.centre, self.unit * size))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        parameters = (part[:, None] for part in self.parameters(X).values())
        found = HEADS[self.head].quantile(np.array(self.levels), *parameters)
        return np.maximum.accumulate(found, axis=1)  # neighbours may differ by rounding

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "network": self.network,
            "head": self.head,
            "lags": [list(pair) for pair in self.lags],
            "inputs": self.inputs.to_dict(),
            "weights": {name: pack(value) for name, value in self.weights.items()},
            "centre": self.centre,
            "unit": self.unit,
            "levels": list(self.levels),
        }

    @classmethod
    def from_dict(
        cls,
        state: Mapping[str, Any],
        boosters: tuple[str, ...],  # noqa: ARG003
    ) -> SequenceNetwork:
        """Return what `to_dict` wrote."""
        return cls(
            network=state["network"],
            head=state["head"],
            lags=tuple((back, place) for back, place in state["lags"]),
            inputs=Inputs.from_dict(state["inputs"]),
            weights={name: unpack(value) for name, value in state["weights"].items()},
            centre=state["centre"],
            unit=state["unit"],
            levels=tuple(state["levels"]),
        )


def cross_fit_sequence(training: TrainingSet, network: Network) -> CrossFit:
    """Fit on each fold's complement, stopped on its last rows; then on all rows as long.

    One step ahead, and each row alone: rows of several series may follow one another. The head is
    the one with the highest log density on the rows held out of the first fold's complement.

    Raises
    ------
    StreamFileError
        When the extra `neural` is not installed, or the features hold fewer than two lags of the
        target.
    """
    check_installed(network)
    lags = own_lags(training)
    if len(lags) < 2:
        raise StreamFileError(
            f"model `{network}` reads the target's past in order and needs two lags of it or more; "
            "give the stream `lags:` such as [1d, 2d, 3d]"
        )
    numbers = np.unique(training.folds)
    first = training.take(training.folds != numbers[0])
    losses = {head: fit_sequence(first, network, head, lags)[2] for head in HEADS}
    head = min(losses, key=losses.__getitem__)
    quantiles = np.empty((len(training.y), len(training.levels)))
    rounds = []
    for fold in numbers:
        test = training.folds == fold
        fitted, count, _ = fit_sequence(training.take(~test), network, head, lags)
        quantiles[test] = fitted.quantiles(training.X[test])
        rounds.append(count)
    longest = max(1, round(float(np.median(rounds))))
    return CrossFit(
        quantiles=quantiles,
        refit=lambda: fit_sequence(training, network, head, lags, longest)[0],
    )


def fit_sequence(
    training: TrainingSet,
    network: Network,
    head: HeadName,
    lags: Lags,
    rounds: int | None = None,
) -> tuple[SequenceNetwork, int, float]:
    """Fit one network.

    Parameters
    ----------
    training : rows in order of time
    lags : as `own_lags` returns them
    rounds : as `Descent.fit` takes them

    Returns
    -------
    the network, its rounds, and its mean negative log density on the rows held out, each
    outcome in its row's unit (NaN: none were)
    """
    X, y = training.X, training.y
    own_columns = {place for _, place in lags}
    others = [place for place in range(X.shape[1]) if place not in own_columns]
    inputs = learn_inputs(X, others, training.categories)
    centre, unit = float(y.mean()), float(y.std()) or 1.0
    own = np.ones(len(y)) if training.weights is None else training.weights
    sequence, features, size = _read(X, lags, inputs, centre, unit)
    standard = ((y - centre) / (unit * size)).astype(np.float32)
    arrays = (sequence, features, standard, own.astype(np.float32))
    rng = np.random.default_rng(training.seed)
    shape = sequence.shape[1], features.shape[1]
    start = start_sequence(rng, network, *shape, HEADS[head].start)
    weights, count, loss = _descent(network).fit(start, arrays, training.seed, rounds)
    levels = tuple(training.levels.tolist())
    fitted = SequenceNetwork(network, head, lags, inputs, weights, centre, unit, levels)
    return fitted, count, loss


def _read(
    X: Floats, lags: Lags, inputs: Inputs, centre: float, unit: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], Floats]:
    """Return what a network reads of each row, and the row's own unit.

    Returns
    -------
    sequence : shape (n, steps, 2), the oldest lag first: the values, and whether they are known
    features : shape (n, k), with the logarithm of the size
    size : shape (n,), of the past of the row, in units of the target's standard deviation
    """
    values = (X[:, [place for _, place in lags]] - centre) / unit
    known = np.isfinite(values)
    values = np.where(known, values, 0.0)
    weight = known * _FADING ** (np.array([back for back, _ in lags]) - 1)
    size = np.sqrt(((weight * values**2).sum(axis=1) + _PRIOR) / (weight.sum(axis=1) + _PRIOR))
    # the inverse hyperbolic sine: as the value near 0, as its logarithm far out
    past = np.arcsinh(values[:, :_STEPS] / size[:, None])
    sequence = np.stack([past, known[:, :_STEPS]], axis=2)[:, ::-1].astype(np.float32)
    features = np.column_stack([inputs.matrix(X), np.log(size)]).astype(np.float32)
    return sequence, features, size


@functools.cache
def _descent(network: Network) -> Descent:
    from jax import numpy as jnp

    def loss(weights: Weights, rows: tuple[Array, ...], _key: Array) -> Array:
        """Mean negative log density."""
        past, features, y, own = rows
        raw = sequence_scores(jnp, network, weights, past, features)
        found: Array = -(own * log_density(y, raw)).sum() / own.sum()
        return found

    return descent(loss)
