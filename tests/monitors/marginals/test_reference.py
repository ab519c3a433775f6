from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from monitors.blocks import pack
from monitors.encoder import Encoder, fit_encoder
from monitors.feature_shift.reference import Reference
from monitors.gram import profile, profile_blocks
from monitors.marginals.counted import count_events
from monitors.marginals.histograms import bins_of
from monitors.marginals.reference import MarginalReference, fit_marginals
from monitors.marginals.statistics import DISTANCES
from schemas.monitors import Marginal
from tests.monitors.simulated import columns_of, likely, likely_at_least, serial, table

ROWS, WINDOWS, NEW, LEVEL = 120, 16, 20, 0.1
CATEGORIES, SHARES = list("abcd"), [0.5, 0.3, 0.15, 0.05]


def rows_of(seed: int, windows: int, phi: float = 0.5) -> pa.Table:
    """Return four numbers with serial dependence and a category."""
    rng = np.random.default_rng(seed)
    x = serial(rng, ROWS * windows, 4, phi)
    return table(x, {"c": pa.array(rng.choice(CATEGORIES, len(x), p=SHARES))})


def fitted(rows: pa.Table, names: list[str]) -> Reference:
    """Return a reference with the laws of some monitors."""
    encoder = fit_encoder(rows, columns_of(rows), features=rows.column_names, window_rows=ROWS)
    number = np.arange(rows.num_rows) // (ROWS // 4)
    blocks = pack(profile_blocks(encoder, rows, number, bins_of(encoder)))
    reference = Reference(
        encoder, "moments", blocks.numbers, blocks.grams, blocks.counts, per_window=4
    )
    return replace(reference, marginals=fit_marginals(names, reference, blocks.histograms, 1))


def laws(reference: Reference) -> MarginalReference:
    """Return the marginal laws of a reference."""
    assert reference.marginals is not None
    return reference.marginals


def alarms(reference: Reference, name: str, rows: pa.Table) -> list[str]:
    """Return the features of a window that alarm by a distance."""
    bins = bins_of(reference.encoder)
    window = profile(reference.encoder, rows, bins)
    found, _ = laws(reference).test(name, window.histograms, window.rows, level=LEVEL)
    return [reference.encoder.names[item.feature] for item in found if item.alarm]


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Return a reference with the laws of all monitors."""
    return fitted(rows_of(0, WINDOWS), [*DISTANCES, "range"])


@pytest.mark.parametrize("name", ["ks", "wasserstein", "psi"])
def test_a_distance_alarms_as_often_as_it_may_when_nothing_changed(name: str) -> None:
    """Of rows that depend on each other, over references and windows."""
    false = tested = 0
    for seed in range(5):
        rows = rows_of(seed, WINDOWS + NEW)
        known = fitted(rows.slice(0, ROWS * WINDOWS), [name])
        bins = bins_of(known.encoder)
        for number in range(WINDOWS, WINDOWS + NEW):
            window = profile(known.encoder, rows.slice(ROWS * number, ROWS), bins)
            found, adjusted = laws(known).test(name, window.histograms, ROWS, level=LEVEL)
            false += found[0].evidence > found[0].threshold
            tested += 1
            assert (adjusted[0] < LEVEL) == (found[0].evidence > found[0].threshold)
    assert likely_at_least(tested - false, tested, 1.0 - LEVEL)
    assert false


@pytest.mark.parametrize("name", list(DISTANCES))
def test_a_shift_is_seen_by_every_distance(reference: Reference, name: str) -> None:
    """By one standard deviation, and only in the feature that has it."""
    rows = rows_of(50, 1)
    moved = rows.set_column(1, "x1", pa.array(rows["x1"].to_numpy() + 1.0))
    assert "x1" in alarms(reference, name, moved)
    assert "x1" not in alarms(reference, name, rows)


@pytest.mark.parametrize("name", list(DISTANCES))
def test_a_change_of_spread_is_seen_by_every_distance(reference: Reference, name: str) -> None:
    """Three times as wide, the mean as it was."""
    rows = rows_of(51, 1)
    values = rows["x2"].to_numpy()
    moved = rows.set_column(2, "x2", pa.array(values + 2.0 * (values - values.mean())))
    assert "x2" in alarms(reference, name, moved)


@pytest.mark.parametrize("name", ["psi", "jensen_shannon", "chi_square"])
def test_a_change_of_shares_is_seen(reference: Reference, name: str) -> None:
    """Of a category that all rows now have."""
    rows = rows_of(52, 1)
    same = rows.set_column(4, "c", pa.array(["d"] * ROWS))
    assert alarms(reference, name, same)[0] == "c"


def test_the_laws_survive_json(reference: Reference) -> None:
    """With every number."""
    known = laws(reference)
    again = MarginalReference.from_json(reference.encoder, known.to_json())
    window = profile(reference.encoder, rows_of(53, 1), known.bins).histograms
    for name in DISTANCES:
        first, second = (own.test(name, window, ROWS, level=LEVEL) for own in (known, again))
        assert first == second
    assert again.outside == known.outside


def test_the_range_of_independent_rows_holds_its_level_exactly(reference: Reference) -> None:
    """The share outside the range of n values is Beta(2, n − 1), whatever their law."""
    rng = np.random.default_rng(5)
    n, m, tested = 60, 30, 1000
    law = replace(laws(reference).outside[0], rows=float(n), chi_square=0.0)
    chance = [10.0 ** -law.evidence(count, m, two_sided=False) for count in range(m + 1)]
    for count in (1, 2, 4):
        more = 0
        for _ in range(tested):
            values = rng.standard_t(3, size=n + m)
            low, high = values[:n].min(), values[:n].max()
            more += ((values[n:] < low) | (values[n:] > high)).sum() >= count
        assert likely(more, tested, chance[count])


def test_values_outside_the_range_are_seen(reference: Reference) -> None:
    """Ten of 120, with the count."""
    rows = rows_of(54, 1)
    values = rows["x0"].to_numpy().copy()
    values[:10] = 40.0
    window = profile(
        reference.encoder, rows.set_column(0, "x0", pa.array(values)), laws(reference).bins
    )
    first = count_events("range", [0, 1, 2, 3], reference, window)[0]
    assert (first.feature, first.count, first.rows) == (0, 10, ROWS)
    assert first.evidence > 6


def test_range_alarms_no_oftener_than_it_may_where_extremes_come_in_bursts() -> None:
    """Rows that depend on each other leave the range together."""
    false = tested = 0
    for seed in range(8):
        rows = rows_of(seed, WINDOWS + NEW, 0.9)
        known = fitted(rows.slice(0, ROWS * WINDOWS), ["range"])
        for number in range(WINDOWS, WINDOWS + NEW):
            window = profile(known.encoder, rows.slice(ROWS * number, ROWS), laws(known).bins)
            found = count_events("range", [0, 1, 2, 3], known, window)
            false += found[0].evidence > -np.log10(LEVEL / 4)
            tested += 1
    assert likely_at_least(tested - false, tested, 1.0 - LEVEL)


def test_a_new_category_and_missing_values_are_seen_in_few_rows(reference: Reference) -> None:
    """Three of 40 are enough where the reference has none among two thousand."""
    rows = rows_of(55, 1).slice(0, 40)
    lines = ["new"] * 3 + rows["c"].to_pylist()[3:]
    values = rows["x3"].to_numpy().copy()
    values[:3] = np.nan
    changed = rows.set_column(4, "c", pa.array(lines)).set_column(
        3, "x3", pa.array(values, from_pandas=True)
    )
    encoder: Encoder = reference.encoder
    expected: list[tuple[Marginal, int]] = [("new_category", 4), ("missing_rate", 3)]
    for monitor, feature in expected:
        item = count_events(monitor, range(5), reference, profile(encoder, changed))[0]
        assert (item.feature, item.count, item.rows) == (feature, 3, 40)
        assert item.evidence > 3
        low, high = item.law.interval(item.count, item.rows)
        assert (low, high) == pytest.approx((0.01574, 0.20386), abs=1e-4)
