from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monitors.encoder import fit_encoder
from monitors.feature_shift.reference import (
    MOST_BLOCKS,
    Reference,
    blocks_per_window,
    interpolate,
    reference_from_blocks,
)
from monitors.gram import Profile, profile, profile_blocks
from monitors.null import Null
from schemas.errors import ReferenceDataError
from tests.monitors.simulated import Floats, columns_of, likely_at_least, serial, table

ROWS = 200  # of a window
D = 6


def reference_of(x: Floats, per_window: int = 4) -> Reference:
    """Return the reference of some rows, in windows of ROWS."""
    rows = table(x)
    encoder = fit_encoder(rows, columns_of(rows), features=rows.column_names, window_rows=ROWS)
    block = np.arange(len(x)) // (ROWS // per_window)
    return reference_from_blocks(
        encoder, "moments", profile_blocks(encoder, rows, block), per_window
    )


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Return a reference of twenty windows, with its nulls."""
    return reference_of(serial(np.random.default_rng(1), 20 * ROWS, D, 0.0)).fit_nulls(0)


def alarmed(reference: Reference, x: Floats, level: float = 0.05) -> list[int]:
    """Return the features named in a window of rows, in order."""
    window = profile(reference.encoder, table(x))
    found = reference.test(window, level=level, ignore_below=0.1, seed=1)
    return [item.feature for item in found if item.alarm]


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_windows_of_the_references_law_alarm_as_often_as_allowed(phi: float) -> None:
    """Twelve references, 25 windows each; windows of one reference share its errors."""
    rng, references, each = np.random.default_rng(17), 12, 25
    alarms = np.zeros((2, references))
    for i in range(references):
        reference = reference_of(serial(rng, 30 * ROWS, D, phi)).fit_nulls(i)
        windows = [
            profile(reference.encoder, table(serial(rng, ROWS, D, phi))) for _ in range(each)
        ]
        for j, level in enumerate((0.05, 0.2)):
            alarms[j, i] = sum(
                any(e.alarm for e in reference.test(w, level=level, ignore_below=0.0, seed=1))
                for w in windows
            )
    shares, errors = alarms.mean(axis=1) / each, alarms.std(axis=1, ddof=1) / each
    for level, share, error in zip((0.05, 0.2), shares, errors, strict=True):
        binomial = np.sqrt(level * (1 - level) / (references * each))
        assert share <= level + 2.58 * max(error / np.sqrt(references), binomial)
        assert share >= level / 4  # and the level is spent


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_a_shuffled_feature_is_found_and_no_other_is_named(phi: float) -> None:
    """Its marginal law is untouched: only its dependence tells."""
    rng = np.random.default_rng(18)
    reference = reference_of(serial(rng, 30 * ROWS, D, phi)).fit_nulls(0)
    found = 0
    for number in range(40):
        x, j = serial(rng, ROWS, D, phi), number % D
        x[:, j] = rng.permutation(x[:, j])
        found += alarmed(reference, x) == [j]
    assert likely_at_least(found, 40, 0.9)


def test_a_window_of_another_size_is_tested_against_its_own_null(reference: Reference) -> None:
    """Half and double windows of the same law raise nothing; half a replayed one does."""
    rng = np.random.default_rng(3)
    for rows in (ROWS // 2, ROWS, 2 * ROWS):
        x = serial(rng, rows, D, 0.0)
        assert alarmed(reference, x, level=0.001) == []
        x[:, 2] = rng.permutation(x[:, 2])
        assert alarmed(reference, x, level=0.001) == [2]


def test_the_same_window_gives_the_same_evidence(reference: Reference) -> None:
    """Whoever asks, and in whatever order."""
    x = serial(np.random.default_rng(4), ROWS, D, 0.0)
    x[:, 1] += 1
    window = profile(reference.encoder, table(x))
    one, other = (reference.test(window, level=0.01, ignore_below=0.1, seed=5) for _ in range(2))
    assert one == other


def test_a_reference_of_less_than_two_windows_is_refused() -> None:
    """The message says how long it is, and how long a window."""
    short = reference_of(serial(np.random.default_rng(5), ROWS, D, 0.0))
    with pytest.raises(ReferenceDataError, match="less than two windows of about 200 rows"):
        short.fit_nulls(0)


def test_a_window_with_too_few_rows_is_not_tested_and_it_says_why(reference: Reference) -> None:
    """An eighth of a window, or a row per basis column."""
    assert reference.too_few(ROWS) is None
    said = reference.too_few(20)
    assert said is not None
    assert said.startswith("not tested: the window has 20 rows, and a comparison needs 25")


def gaps(reference: Reference, left_out: list[int]) -> Reference:
    """Return the reference without some of its blocks."""
    kept = ~np.isin(reference.numbers, left_out)
    return replace(
        reference,
        numbers=reference.numbers[kept],
        grams=reference.grams[kept],
        counts=reference.counts[kept],
    )


def test_windows_of_the_reference_are_stretches_of_time(reference: Reference) -> None:
    """Blocks on both sides of a long gap are never one window."""
    assert len(reference.windows(4)) == 20 * 4 - 3
    holed = gaps(reference, list(range(20, 40)))
    stretches = [holed.numbers[window] for window in holed.windows(4)]
    assert len(stretches) == (20 - 3) + (40 - 3)
    assert all(numbers[-1] - numbers[0] == 3 for numbers in stretches)
    assert not any(set(numbers.tolist()) & set(range(20, 40)) for numbers in stretches)


def test_blocks_come_in_the_order_of_time_whatever_their_order(reference: Reference) -> None:
    """A shuffle hands them over in any."""
    parts = {
        int(number): Profile(gram, counts)
        for number, gram, counts in zip(
            reference.numbers, reference.grams, reference.counts, strict=True
        )
    }
    backwards = reference_from_blocks(
        reference.encoder, "moments", dict(reversed(parts.items())), reference.per_window
    )
    np.testing.assert_array_equal(backwards.numbers, reference.numbers)
    np.testing.assert_array_equal(backwards.grams, reference.grams)
    assert backwards.total.rows == 20 * ROWS


@pytest.mark.parametrize(("windows", "blocks"), [(1, 8), (26, 8), (100, 4), (365, 1), (10**6, 1)])
def test_a_long_reference_has_fewer_blocks_per_window(windows: float, blocks: int) -> None:
    """Some hundreds of blocks in all."""
    assert blocks_per_window(windows) == blocks
    assert blocks_per_window(windows) * min(windows, MOST_BLOCKS) <= 2 * MOST_BLOCKS


def law(rows: float, mean: float, shape: float) -> Null:
    """Return a law of two features, the second without basis columns."""
    return Null(
        rows,
        np.array([[shape, np.nan]]),
        np.array([[mean / shape, 1.0]]),
        np.ones((1, 2)),
        np.ones(1),
        np.arange(9.0),
        (0.0, 1.0),
    )


def test_between_two_sizes_the_law_is_between_theirs() -> None:
    """Log-linear in the rows, and held beyond the ends."""
    nulls = (law(100, 4, 2), law(400, 16, 8))
    between = interpolate(nulls, 200)
    assert between.mean()[0, 0] == pytest.approx(8)
    assert between.shape[0, 0] == pytest.approx(4)
    assert np.isnan(between.shape[0, 1])
    assert interpolate(nulls, 100) is nulls[0]
    assert interpolate(nulls, 5) is nulls[0]
    assert interpolate(nulls, 10**6) is nulls[1]


def test_rows_that_depend_on_each_other_count_for_less() -> None:
    """The second terms are tested only where a window has the independent rows for them."""
    rng = np.random.default_rng(6)
    independent, slow = (reference_of(serial(rng, 30 * ROWS, D, phi)) for phi in (0.0, 0.95))
    assert independent.dependence < 1.6
    assert 20 < slow.dependence < 60  # (1 + φ) / (1 − φ) = 39
    assert len(slow.bases) == 1
