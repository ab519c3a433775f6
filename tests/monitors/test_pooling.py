from __future__ import annotations

import numpy as np
import pytest

from monitors.blocks import pack
from monitors.encoder import fit_encoder
from monitors.feature_shift.reference import Reference
from monitors.gram import profile, profile_blocks
from monitors.pooling import WINDOWS_DRAWN, is_drawn, pool, windows_drawn
from tests.monitors.simulated import Floats, chain, columns_of, likely, table

ROWS, D, PER_WINDOW = 100, 4, 4


def key_rows(rng: np.random.Generator, windows: int) -> Floats:
    """Return the rows of a new key, with a level of its own in every column."""
    return np.asarray(chain(rng, windows * ROWS, D) + 0.3 * rng.normal(size=D))


def pooled(rng: np.random.Generator, keys: int, windows: int) -> Reference:
    """Return the reference that so many keys share."""
    parts = {f"k{i}": key_rows(rng, windows) for i in range(keys)}
    rows = table(np.concatenate(list(parts.values())))
    encoder = fit_encoder(rows, columns_of(rows), features=rows.column_names, window_rows=ROWS)
    numbers = 1000 + np.arange(windows * ROWS) // (ROWS // PER_WINDOW)
    own = {key: pack(profile_blocks(encoder, table(x), numbers)) for key, x in parts.items()}
    blocks = pool(own, PER_WINDOW)
    return Reference(
        encoder, "moments", blocks.numbers, blocks.grams, blocks.counts, PER_WINDOW
    ).fit_nulls(0)


def test_no_window_of_the_pool_crosses_keys() -> None:
    """Every stretch lies within one key, and no block is lost."""
    reference = pooled(np.random.default_rng(1), 5, 2)
    assert len(reference.numbers) == 5 * 2 * PER_WINDOW
    assert reference.total.rows == 5 * 2 * ROWS
    for size in (PER_WINDOW // 2, PER_WINDOW, 2 * PER_WINDOW):
        windows = reference.windows(size)
        assert windows
        for own in windows:
            assert own[0] // (2 * PER_WINDOW) == own[-1] // (2 * PER_WINDOW)
    assert len(reference.windows(2 * PER_WINDOW)) == 5


def test_windows_are_drawn_at_the_share_asked_for_and_always_the_same() -> None:
    """By key and time alone."""
    drawn = [is_drawn(f"k{key}", pair, 0.1) for key in range(100) for pair in range(50)]
    assert likely(sum(drawn), len(drawn), 0.1)
    assert drawn[:50] == [is_drawn("k0", pair, 0.1) for pair in range(50)]
    assert all(is_drawn(f"k{key}", 3, 1.0) for key in range(50))


def test_a_pool_of_wide_tables_holds_fewer_windows() -> None:
    """Its Gram matrices stay within bounds."""
    assert windows_drawn(20, 8) == WINDOWS_DRAWN
    assert 100 <= windows_drawn(150, 8) < WINDOWS_DRAWN


@pytest.mark.slow
def test_new_keys_alarm_against_the_pool_as_often_as_allowed() -> None:
    """Six pools of forty keys; what parts the keys is in the law of the pool's windows."""
    rng, pools, each, level = np.random.default_rng(3), 6, 40, 0.05
    alarms = np.zeros(pools)
    for i in range(pools):
        reference = pooled(rng, 40, 4)
        for _ in range(each):
            window = profile(reference.encoder, table(key_rows(rng, 1)))
            found = reference.test(window, level=level, ignore_below=0.0, seed=1)
            alarms[i] += any(item.alarm for item in found)
    share, error = alarms.mean() / each, alarms.std(ddof=1) / each
    binomial = np.sqrt(level * (1 - level) / (pools * each))
    assert share <= level + 2.58 * max(error / np.sqrt(pools), binomial)
