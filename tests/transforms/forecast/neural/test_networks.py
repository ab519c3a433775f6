from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from transforms.distributions import normal, skew_t, student_t
from transforms.forecast.neural.heads import HEADS, HeadName, law, log_density
from transforms.forecast.neural.networks import (
    Network,
    quantile_at,
    sequence_scores,
    start_quantiles,
    start_sequence,
)

jax = pytest.importorskip("jax")

STEPS, FEATURES = 7, 3
DENSITIES = {"normal": normal, "student_t": student_t, "skew_t": skew_t}


def filled(rng: np.random.Generator, start: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return weights of the same shapes, none of them 0."""
    return {
        name: rng.normal(scale=0.5, size=value.shape).astype(np.float32)
        for name, value in start.items()
    }


def rows(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences and features of 20 rows."""
    sequence = rng.normal(size=(20, STEPS, 2)).astype(np.float32)
    return sequence, rng.normal(size=(20, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("network", ["cnn", "lstm"])
def test_numpy_and_jax_agree_on_sequences(rng: np.random.Generator, network: Network) -> None:
    """The forward pass that forecasts is the one that was learnt, to 1e-5."""
    weights = filled(rng, start_sequence(rng, network, STEPS, FEATURES, (0.0,) * 4))
    given = rows(rng)
    own = sequence_scores(np, network, weights, *given)
    assert own.dtype == np.float32
    other = jax.jit(lambda w, *x: sequence_scores(jax.numpy, network, w, *x))(weights, *given)
    np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-5)


def test_numpy_and_jax_agree_on_quantiles(rng: np.random.Generator) -> None:
    """As above, with levels of each row's own, and levels that all rows share."""
    start = start_quantiles(rng, FEATURES, rng.normal(size=50).astype(np.float32))
    weights, features = filled(rng, start), rows(rng)[1]
    levels = rng.uniform(size=(20, 4)).astype(np.float32)
    own = quantile_at(np, weights, features, levels)
    assert own.dtype == np.float32
    other = jax.jit(lambda w, *x: quantile_at(jax.numpy, w, *x))(weights, features, levels)
    np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-5)
    shared = quantile_at(np, weights, features, levels[:1])
    np.testing.assert_allclose(shared[0], own[0], rtol=1e-5, atol=1e-5)


def test_first_weights_say_what_they_start_from(rng: np.random.Generator) -> None:
    """Before a step, every row has the quantiles of y, or the scores of the head."""
    y = rng.gamma(2.0, size=400).astype(np.float32)
    sequence, features = rows(rng)
    weights = start_quantiles(rng, FEATURES, y)
    levels = np.array([[0.25, 0.5, 0.75]], np.float32)
    found = quantile_at(np, weights, features, levels)
    np.testing.assert_allclose(found, np.tile(np.quantile(y, levels[0]), (20, 1)), rtol=1e-5)
    weights = start_sequence(rng, "cnn", STEPS, FEATURES, (0.0, 1.0, 3.0))
    scores = sequence_scores(np, "cnn", weights, sequence, features)
    np.testing.assert_array_equal(scores, np.tile([0.0, 1.0, 3.0], (20, 1)))


def test_recurrent_layer_is_the_textbook_one(rng: np.random.Generator) -> None:
    """One row, gate by gate: c = f c + i tanh g and h = o tanh c, two layers, then two dense."""
    w = filled(rng, start_sequence(rng, "lstm", STEPS, FEATURES, (0.0, 0.0)))
    sequence, features = rows(rng)
    values = [step.astype(float) for step in sequence[0]]
    for layer in (0, 1):
        W, b = w[f"gates {layer} W"].astype(float), w[f"gates {layer} b"]
        h = c = np.zeros(len(b) // 4)
        outputs = []
        for value in values:
            i, f, o, g = np.split(np.concatenate([value, h]) @ W + b, 4)
            c = expit(f) * c + expit(i) * np.tanh(g)
            h = expit(o) * np.tanh(c)
            outputs.append(h)
        values = outputs
    read = np.concatenate([values[-1], features[0]]) @ w["dense W"] + w["dense b"]
    expected = np.where(read > 0, read, np.expm1(read)) @ w["scores W"] + w["scores b"]
    found = sequence_scores(np, "lstm", w, sequence, features)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [6, 7])
def test_convolution_reads_every_step_once(rng: np.random.Generator, steps: int) -> None:
    """Each step moves the scores, and the order of steps matters."""
    w = filled(rng, start_sequence(rng, "cnn", steps, 0, (0.0,)))
    w["filters b"] = w["filters b"] + 3  # no filter is shut
    w["dense b"] = w["dense b"] * 0
    sequence, none = rng.normal(size=(1, steps, 2)).astype(np.float32), np.zeros((1, 0), np.float32)
    base = sequence_scores(np, "cnn", w, sequence, none)
    for step in range(steps):
        moved = sequence.copy()
        moved[:, step] += 2
        assert abs(sequence_scores(np, "cnn", w, moved, none) - base) > 1e-3
    assert abs(sequence_scores(np, "cnn", w, sequence[:, ::-1], none) - base) > 1e-3


@pytest.mark.parametrize("name", list(HEADS))
def test_likelihood_is_that_of_the_law(rng: np.random.Generator, name: HeadName) -> None:
    """The log density that is learnt by is that of the distribution that forecasts."""
    raw = rng.normal(size=(50, len(HEADS[name].parameters))).astype(np.float32)
    y = 3 * rng.normal(size=50).astype(np.float32)
    parameters = law(raw, 0.0, np.ones(50))
    assert tuple(parameters) == HEADS[name].parameters
    found = log_density(jax.numpy.asarray(y), jax.numpy.asarray(raw))
    expected = DENSITIES[name].log_density(y, **parameters)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_law_moves_with_centre_and_unit(rng: np.random.Generator) -> None:
    """Quantiles in the target's unit are those of the standard law, moved and stretched."""
    raw = rng.normal(size=(9, 4)).astype(np.float32)
    plain, moved = law(raw, 0.0, np.ones(9)), law(raw, 3.0, np.full(9, 2.0))
    own, other = (skew_t.quantile(0.1, **parameters) for parameters in (plain, moved))
    np.testing.assert_allclose(other, 3 + 2 * own)
