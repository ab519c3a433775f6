from __future__ import annotations

import functools
import itertools
import operator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors import gram
from monitors.encoder import Encoder, fit_encoder
from monitors.gram import Profile, gram_matrix, moments, profile, profile_blocks
from tests.monitors.simulated import chain, columns_of, table

ROWS = 120


def mixed(seed: int, rows: int = ROWS) -> pa.Table:
    """Return numbers with gaps, a category with gaps and a boolean."""
    rng = np.random.default_rng(seed)
    x = chain(rng, rows, 3)
    x[rng.random(x.shape) < 0.2] = np.nan
    words = [None if u < 0.1 else f"c{int(u * 5)}" for u in rng.random(rows)]
    return table(
        x, {"word": pa.array(words, pa.string()), "flag": pa.array(rng.random(rows) < 0.3)}
    )


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Return an encoder of mixed rows."""
    return encoder_of_mixed()


@functools.cache
def encoder_of_mixed() -> Encoder:
    """Return an encoder of mixed rows."""
    rows = mixed(0, 500)
    return fit_encoder(
        rows, columns_of(rows), features=["x0", "x1", "x2", "word", "flag"], window_rows=500
    )


def assert_equal(a: Profile, b: Profile) -> None:
    """Profiles agree up to the rounding of sums."""
    np.testing.assert_allclose(a.gram, b.gram, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(a.counts, b.counts)


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, ROWS), max_size=6),
    st.randoms(use_true_random=False),
)
def test_any_split_of_the_rows_in_any_order_adds_up_to_the_whole(
    cuts: list[int], shuffler: object
) -> None:
    """Shards of any size, empty ones too, merged in any order and grouping."""
    rows, encoder = mixed(1), encoder_of_mixed()
    ends = [0, *sorted(cuts), ROWS]
    shards = [
        profile(encoder, rows.slice(start, stop - start))
        for start, stop in itertools.pairwise(ends)
    ]
    shuffler.shuffle(shards)  # type: ignore[attr-defined]
    whole = profile(encoder, rows)
    assert_equal(functools.reduce(operator.add, shards), whole)
    half = len(shards) // 2 or 1
    left, right = shards[:half], shards[half:]
    grouped = functools.reduce(operator.add, left)
    if right:
        grouped = grouped + functools.reduce(operator.add, right)
    assert_equal(grouped, whole)


def test_merging_is_commutative_to_the_last_bit(encoder: Encoder) -> None:
    """Floating-point addition of two is commutative, and nothing else is done."""
    a, b = profile(encoder, mixed(1)), profile(encoder, mixed(2))
    np.testing.assert_array_equal((a + b).gram, (b + a).gram)
    np.testing.assert_array_equal((a + b).counts, (b + a).counts)


@settings(max_examples=25)
@given(st.lists(st.integers(-2, 4), min_size=ROWS, max_size=ROWS))
def test_block_profiles_add_up_to_the_profile(labels: list[int]) -> None:
    """Whatever the labels of the rows and their order; each block is the profile of its rows."""
    rows, encoder, block = mixed(3), encoder_of_mixed(), np.array(labels)
    blocks = profile_blocks(encoder, rows, block)
    assert sorted(blocks) == sorted(set(labels))
    assert_equal(functools.reduce(operator.add, blocks.values()), profile(encoder, rows))
    for label, part in blocks.items():
        assert_equal(part, profile(encoder, rows.take(np.flatnonzero(block == label))))


def test_chunks_do_not_show(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table longer than a chunk, with blocks that span chunks, has the same profiles."""
    rows, block = mixed(4), np.arange(ROWS) // 50
    whole, blocks = profile(encoder, rows), profile_blocks(encoder, rows, block)
    monkeypatch.setattr(gram, "CHUNK", 7)
    assert_equal(profile(encoder, rows), whole)
    for label, part in profile_blocks(encoder, rows, block).items():
        assert_equal(part, blocks[label])


def test_a_profile_counts_its_rows_its_gaps_and_what_the_reference_never_had(
    encoder: Encoder,
) -> None:
    """Counts are exact integers."""
    rows = mixed(5)
    rows = rows.set_column(3, "word", pa.array(["new"] * 7 + [None] * 3 + ["c1"] * (ROWS - 10)))
    found = profile(encoder, rows)
    assert found.rows == ROWS
    assert found.counts[:3, 0].tolist() == [rows[f"x{j}"].null_count for j in range(3)]
    assert found.counts[3].tolist() == [3, 7]


def test_no_rows_have_a_profile_of_zeros(encoder: Encoder) -> None:
    """The empty table is the identity of merging."""
    none, some = profile(encoder, mixed(6).slice(0, 0)), profile(encoder, mixed(6))
    assert none.rows == 0
    np.testing.assert_array_equal((none + some).gram, some.gram)


def test_moments_are_those_of_the_rows(rng: np.random.Generator) -> None:
    """Means and maximum-likelihood covariances, for one matrix and for a stack."""
    x = chain(rng, 50, 4)
    rows, mean, covariance = moments(np.stack([gram_matrix(x), gram_matrix(x[:20])]))
    assert rows.tolist() == [50, 20]
    np.testing.assert_allclose(mean[0], x.mean(axis=0))
    np.testing.assert_allclose(covariance[1], np.cov(x[:20].T, bias=True))
