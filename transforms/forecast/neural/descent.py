"""Stochastic gradient descent that stops where later rows are forecast no better."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import StreamFileError
from transforms.forecast.neural.networks import Weights

if TYPE_CHECKING:
    from jax import Array

    Batch = tuple[Array, ...]  #: arrays of some rows, the last one the rows' weights
    #: Mean loss of weights over some rows, given a key for random numbers.
    Loss = Callable[[Weights, Batch, Array], Array]
    Carry = tuple[Weights, Weights, Any]  #: weights, their running mean, and Adam's state

Start = dict[str, NDArray[np.float32]]

_BATCH = 128
_ROUND = 8  # steps between two looks at the held-out rows
_MOST_ROUNDS, _PATIENCE = 400, 30
_HELD_OUT = 0.15  # of the rows, the last ones
_MOST_HELD_OUT = 20_000  # evenly spread over them
_RATE, _NORM = 0.002, 1.0  # the rate as published
_PRIOR = 2000.0  # rows: how hard a layer's weights, not its biases, are drawn to 0; of 200 rows
_MOST_DECAY = 10.0  # the most
_MEMORY = 0.99  # of the running mean of weights, which is what is kept


@dataclass(frozen=True, slots=True)
class Descent:
    """Fits one architecture; what is compiled serves all its fits."""

    round: Callable[..., Any]  #: (carry, batches, keys, decay) -> carry after `_ROUND` steps
    loss: Callable[..., Any]  #: `Loss`
    begin: Callable[..., Any]  #: Adam's state for some weights

    def fit(
        self,
        start: Start,
        arrays: tuple[NDArray[np.float32], ...],
        seed: int,
        rounds: int | None = None,
    ) -> tuple[Start, int, float]:
        """Fit on rows in order of time.

        Parameters
        ----------
        start : first weights
        arrays : one row each of n; the last one holds the rows' weights
        seed : the same seed and machine give the same weights
        rounds : so many on all rows; None: the last 15 % are held out, and it stops after 30
            rounds of 8 steps without gain there

        Returns
        -------
        weights, rounds and the mean loss on the rows held out (NaN: none were)
        """
        import jax

        rng = np.random.default_rng(seed)
        key = jax.random.key(seed)
        n = len(arrays[0])
        last = n if rounds is not None else n - max(1, round(_HELD_OUT * n))
        held_out = _padded(tuple(part[last:] for part in arrays)) if rounds is None else ()
        carry = start, start, self.begin(start)
        decay = np.float32(_RATE * min(_PRIOR / n, _MOST_DECAY))
        order = np.empty(0, np.int64)
        best, best_round, best_loss = start, 0, np.inf
        for count in range(1, 1 + (_MOST_ROUNDS if rounds is None else rounds)):
            while len(order) < _ROUND * _BATCH:
                order = np.concatenate([order, rng.permutation(last)])
            rows, order = order[: _ROUND * _BATCH].reshape(_ROUND, _BATCH), order[_ROUND * _BATCH :]
            keys = jax.random.split(jax.random.fold_in(key, count), _ROUND)
            batches = tuple(part[rows] for part in arrays)
            carry = self.round(carry, batches, keys, decay)
            if rounds is not None:
                continue
            mean = carry[1]
            loss = float(self.loss(mean, held_out, key))
            if loss < best_loss:
                best, best_round, best_loss = mean, count, loss
            elif count >= best_round + _PATIENCE:
                break
        found = best if rounds is None else carry[1]
        weights = {name: np.asarray(value, np.float32) for name, value in found.items()}
        return weights, rounds or best_round, best_loss if rounds is None else np.nan


def check_installed(kind: str) -> None:
    """Refuse a kind whose packages are not there.

    Raises
    ------
    StreamFileError
        When JAX or Optax is not installed.
    """
    for package in ("jax", "optax"):
        if importlib.util.find_spec(package) is None:
            raise StreamFileError(
                f"model `{kind}` needs the package {package}, which is not installed; install "
                "tidegauge with its extra: pip install 'tidegauge[neural]'"
            )


def descent(loss: Loss) -> Descent:
    """Compile Adam with decoupled decay of weights (AdamW) on a loss."""
    import jax
    import optax

    method = optax.chain(optax.clip_by_global_norm(_NORM), optax.adam(_RATE))

    def step(decay: Array, carry: Carry, given: tuple[Batch, Array]) -> tuple[Carry, None]:
        weights, mean, state = carry
        batch, key = given
        slope = jax.grad(loss)(weights, batch, key)
        change, state = method.update(slope, state, weights)
        kept = {
            name: value * (1 - decay) if name.endswith(" W") else value
            for name, value in weights.items()
        }
        weights = optax.apply_updates(kept, change)
        mean = jax.tree.map(lambda old, new: _MEMORY * old + (1 - _MEMORY) * new, mean, weights)
        return (weights, mean, state), None

    def rounds(carry: Carry, batches: Batch, keys: Array, decay: Array) -> Carry:
        return jax.lax.scan(functools.partial(step, decay), carry, (batches, keys))[0]

    return Descent(round=jax.jit(rounds), loss=jax.jit(loss), begin=jax.jit(method.init))


def _padded(arrays: tuple[NDArray[np.float32], ...]) -> tuple[NDArray[np.float32], ...]:
    """Return rows to a whole number of batches, those added without weight: few shapes compile."""
    n = len(arrays[0])
    rows = np.arange(0, n, -(-n // _MOST_HELD_OUT))
    more = -len(rows) % _BATCH
    filled = [np.concatenate([part[rows], np.repeat(part[:1], more, axis=0)]) for part in arrays]
    filled[-1][len(rows) :] = 0.0
    return tuple(filled)
