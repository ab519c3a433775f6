from __future__ import annotations

import functools
import operator

import numpy as np
import pytest

from monitors.blocks import Blocks, pack
from monitors.encoder import Encoder, fit_encoder
from monitors.feature_shift.locate import Evidence
from monitors.feature_shift.reference import Reference
from monitors.gram import Profile, profile, profile_blocks
from monitors.rollup import centred, mean_of, shifted
from tests.monitors.simulated import Floats, chain, columns_of, serial, table

ROWS, D, KEYS, PER_WINDOW = 100, 4, 6, 4  # rows of a window of one key


def keyed(rng: np.random.Generator, windows: int, shared: float = 0.6) -> Floats:
    """Return rows of keys that share a slow cause, shape (keys, rows, columns)."""
    common = serial(rng, windows * ROWS, D, 0.9)
    own = np.stack([chain(rng, windows * ROWS, D) for _ in range(KEYS)])
    return np.asarray(shared * common + np.sqrt(1.0 - shared**2) * own)


def levels() -> Floats:
    """Return a level of its own for every key and column."""
    return np.random.default_rng(5).normal(size=(KEYS, 1, D))


def reference_of(x: Floats) -> tuple[Encoder, list[Blocks], Reference]:
    """Return the encoder, the blocks of each key, and the reference of all keys together."""
    rows = table(x.reshape(-1, D))
    encoder = fit_encoder(rows, columns_of(rows), features=rows.column_names, window_rows=ROWS)
    numbers = np.arange(x.shape[1]) // (ROWS // PER_WINDOW)
    blocks = [pack(profile_blocks(encoder, table(own), numbers)) for own in x]
    whole = functools.reduce(operator.add, map(centred, blocks))
    reference = Reference(encoder, "moments", whole.numbers, whole.grams, whole.counts, PER_WINDOW)
    return encoder, blocks, reference.fit_nulls(0)


def window_of(encoder: Encoder, blocks: list[Blocks], x: Floats) -> Profile:
    """Return one window of all keys together."""
    parts = []
    for own, rows in zip(blocks, x, strict=True):
        part = profile(encoder, table(rows))
        mean = mean_of(own.grams.sum(axis=0))
        parts.append(Profile(shifted(part.gram, mean), part.counts))
    return functools.reduce(operator.add, parts)


def judged(reference: Reference, window: Profile, level: float = 0.05) -> list[Evidence]:
    """Return what is found."""
    return reference.test(window, level=level, ignore_below=0.0, seed=1)


def test_a_shifted_gram_matrix_is_that_of_the_shifted_rows() -> None:
    """To rounding."""
    x = np.random.default_rng(2).normal(size=(50, 3))
    move = np.array([0.5, -1.0, 2.0])
    before, after = (np.column_stack([np.ones(50), y]) for y in (x, x - move))
    np.testing.assert_allclose(shifted(before.T @ before, move), after.T @ after, atol=1e-12)


def test_centred_blocks_have_a_mean_of_zero_and_their_rows() -> None:
    """All together, not each."""
    _, blocks, _ = reference_of(keyed(np.random.default_rng(3), 4) + levels())
    total = centred(blocks[0]).grams.sum(axis=0)
    np.testing.assert_allclose(mean_of(total), 0.0, atol=1e-12)
    assert total[0, 0] == 4 * ROWS


def test_a_silent_key_is_no_shift_of_all_keys() -> None:
    """Though its level is far from that of the others."""
    rng = np.random.default_rng(4)
    encoder, blocks, reference = reference_of(keyed(rng, 30) + levels())
    x = keyed(rng, 1) + levels()
    assert not any(e.alarm for e in judged(reference, window_of(encoder, blocks[:3], x[:3]), 0.01))


def test_a_shift_that_is_weak_in_each_key_and_common_to_all_is_found() -> None:
    """A seventh of a standard deviation, at a level shared by the keys and the roll-up."""
    rng, level = np.random.default_rng(8), 0.01 / (KEYS + 1)
    encoder, blocks, reference = reference_of(keyed(rng, 30, 0.0) + levels())
    x = keyed(rng, 1, 0.0)
    x[:, :, 2] += 0.15
    found = judged(reference, window_of(encoder, blocks, x + levels()), level)
    assert [e.feature for e in found if e.alarm] == [2]
    for own, rows in zip(blocks, x + levels(), strict=True):
        alone = Reference(encoder, "moments", own.numbers, own.grams, own.counts, PER_WINDOW)
        single = judged(alone.fit_nulls(0), profile(encoder, table(rows)), level)
        assert not any(e.alarm for e in single)


@pytest.mark.slow
def test_all_keys_together_alarm_as_often_as_allowed_though_they_depend_on_each_other() -> None:
    """Ten references, 20 windows each, of keys that share a slow cause."""
    rng, references, each = np.random.default_rng(7), 10, 20
    alarms = np.zeros(references)
    for i in range(references):
        encoder, blocks, reference = reference_of(keyed(rng, 30) + levels())
        windows = [window_of(encoder, blocks, keyed(rng, 1) + levels()) for _ in range(each)]
        alarms[i] = sum(any(e.alarm for e in judged(reference, w)) for w in windows)
    share, error = alarms.mean() / each, alarms.std(ddof=1) / each
    binomial = np.sqrt(0.05 * 0.95 / (references * each))
    assert share <= 0.05 + 2.58 * max(error / np.sqrt(references), binomial)
