"""Forward passes of the networks, written once: JAX runs them to learn, NumPy to forecast.

`xp` is `numpy` or `jax.numpy`; weights are arrays by name, float32, and so is all arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = Any  #: of NumPy or of JAX
Weights = Mapping[str, Array]
Network = Literal["cnn", "lstm"]

# Less than published (256 filters; 128, 64 and 32 units): a fit takes seconds on one core.
_FILTERS, _UNITS, _DENSE = 32, (24, 16), 16
_WIDTH, _COSINES = 64, 64
_MARGINAL = np.linspace(0.0, 1.0, 33, dtype=np.float32)  # levels of the shared quantiles


def start_sequence(
    rng: np.random.Generator, network: Network, steps: int, features: int, bias: tuple[float, ...]
) -> dict[str, NDArray[np.float32]]:
    """Return first weights of `sequence_scores`, which then scores every row `bias`."""
    weights: dict[str, NDArray[np.float32]] = {}
    if network == "cnn":
        _start(rng, weights, "filters", 2 * 2, _FILTERS)
        read = steps // 2 * _FILTERS  # a pair fewer than steps, and half of that, rounded up
    else:
        incoming = 2
        for layer, units in enumerate(_UNITS):
            _start(rng, weights, f"gates {layer}", incoming + units, 4 * units)
            weights[f"gates {layer} b"][units : 2 * units] = 1.0  # to remember, at first
            incoming = units
        read = incoming
    _start(rng, weights, "dense", read + features, _DENSE)
    weights["scores W"] = np.zeros((_DENSE, len(bias)), np.float32)
    weights["scores b"] = np.array(bias, np.float32)
    return weights


def sequence_scores(
    xp: ModuleType, network: Network, weights: Weights, sequence: Array, features: Array
) -> Array:
    """Return raw scores of each row's law, shape (n, parameters).

    Parameters
    ----------
    sequence : shape (n, steps, 2): values, oldest first, and whether they are known
    features : shape (n, k), which enter beside what was read of the sequence
    """
    read = (_convolved if network == "cnn" else _last_state)(xp, weights, sequence)
    hidden = _elu(xp, _dense(weights, "dense", xp.concatenate([read, features], axis=1)))
    return _dense(weights, "scores", hidden)


def start_quantiles(
    rng: np.random.Generator, features: int, y: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Return first weights of `quantile_at`, which are near the quantiles of y for every row."""
    weights = {"marginal": np.quantile(y, _MARGINAL).astype(np.float32)}
    _start(rng, weights, "first", features, _WIDTH)
    _start(rng, weights, "second", _WIDTH, _WIDTH)
    _start(rng, weights, "level", _COSINES, _WIDTH)
    _start(rng, weights, "joint", _WIDTH, _WIDTH // 2)
    weights["quantile W"] = np.zeros((_WIDTH // 2, 1), np.float32)
    weights["quantile b"] = np.zeros(1, np.float32)
    return weights


def quantile_at(xp: ModuleType, weights: Weights, features: Array, levels: Array) -> Array:
    """Return the quantile of each row at levels of its own, both of shape (n, k).

    ψ(x) ⊙ φ(τ) with φ_j(τ) = ReLU(Σ_{i < 64} cos(πiτ) w_ij + b_j), and a layer above (Dabney et
    al., ICML 2018, arXiv 1806.06923, eq. 4), and a layer above; here with 1 + φ(τ), and added to
    quantiles that all rows share. `levels` of shape (1, k) serve all rows.
    """
    hidden = _elu(xp, _dense(weights, "first", features))
    hidden = _elu(xp, _dense(weights, "second", hidden))
    waves = xp.cos(np.float32(np.pi) * levels[..., None] * np.arange(_COSINES, dtype=np.float32))
    level = xp.maximum(_dense(weights, "level", waves), 0)
    joint = _elu(xp, _dense(weights, "joint", hidden[:, None, :] * (1 + level)))
    shared = xp.interp(levels, _MARGINAL, weights["marginal"]).astype(np.float32)
    return _dense(weights, "quantile", joint)[..., 0] + shared


def _convolved(xp: ModuleType, weights: Weights, sequence: Array) -> Array:
    """Convolve pairs of neighbours, keep the larger of two, shape (n, steps // 2 · filters)."""
    pairs = xp.concatenate([sequence[:, :-1], sequence[:, 1:]], axis=2)
    found = xp.maximum(_dense(weights, "filters", pairs), 0)
    if found.shape[1] % 2:
        found = xp.concatenate([found[:, :1], found], axis=1)  # the oldest pair stands alone
    n, count, filters = found.shape
    return found.reshape(n, count // 2, 2, filters).max(axis=2).reshape(n, -1)


def _last_state(xp: ModuleType, weights: Weights, sequence: Array) -> Array:
    """Run the layers of long short-term memory, and return the last one's last state."""
    outputs = sequence
    for layer, units in enumerate(_UNITS):
        W = weights[f"gates {layer} W"]
        given = outputs @ W[:-units] + weights[f"gates {layer} b"]
        outputs = _recurrent(xp, given.swapaxes(0, 1), W[-units:]).swapaxes(0, 1)
    return outputs[:, -1]


def _recurrent(xp: ModuleType, given: Array, across: Array) -> Array:
    """Run one layer over what each step gives its gates, (steps, n, 4 units); return its states."""
    units = len(across)

    def step(carry: tuple[Array, Array], one: Array) -> tuple[tuple[Array, Array], Array]:
        state, cell = carry
        gates = one + state @ across
        enter, keep, give = (
            _logistic(xp, gates[:, at : at + units]) for at in (0, units, 2 * units)
        )
        cell = keep * cell + enter * xp.tanh(gates[:, 3 * units :])
        state = give * xp.tanh(cell)
        return (state, cell), state

    nothing = xp.zeros((given.shape[1], units), np.float32)
    carry = nothing, nothing
    if xp is np:
        states = np.empty((*given.shape[:2], units), np.float32)
        for place, one in enumerate(given):
            carry, states[place] = step(carry, one)
        return states
    from jax import lax  # which compiles the loop's body once, not once for each step

    return lax.scan(step, carry, given)[1]


def _dense(weights: Weights, name: str, x: Array) -> Array:
    return x @ weights[f"{name} W"] + weights[f"{name} b"]


def _elu(xp: ModuleType, x: Array) -> Array:
    return xp.where(x > 0, x, xp.expm1(xp.minimum(x, 0)))


def _logistic(xp: ModuleType, x: Array) -> Array:
    return 0.5 * (1 + xp.tanh(0.5 * x))  # exact, and cannot overflow


def _start(
    rng: np.random.Generator,
    weights: dict[str, NDArray[np.float32]],
    name: str,
    incoming: int,
    outgoing: int,
) -> None:
    """Add a layer's first weights, of variance 1/incoming (LeCun), and biases of 0."""
    scale = incoming**-0.5 if incoming else 0.0
    weights[f"{name} W"] = rng.normal(scale=scale, size=(incoming, outgoing)).astype(np.float32)
    weights[f"{name} b"] = np.zeros(outgoing, np.float32)
