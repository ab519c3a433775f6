from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.blocks import pack
from monitors.encoder import fit_encoder
from monitors.gram import profile, profile_blocks
from monitors.marginals.histograms import BINS, CELLS, Bins, bins_of, histogram, histograms
from tests.monitors.simulated import columns_of

ROWS = 3000


@functools.cache
def reference() -> pa.Table:
    """Return numbers of several kinds and a category, some missing."""
    rng = np.random.default_rng(7)
    normal = rng.normal(size=ROWS)
    normal[::50] = np.nan
    return pa.table(
        {
            "normal": pa.array(normal, from_pandas=True),
            "heavy": rng.standard_cauchy(ROWS) ** 3,
            "counts": rng.poisson(1.0, ROWS).astype(np.float64),
            "line": pa.array(rng.choice(list("abc"), ROWS, p=[0.6, 0.3, 0.1])),
        }
    )


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """Return the reference."""
    return reference()


@functools.cache
def reference_bins() -> Bins:
    """Return its bins."""
    rows = reference()
    return bins_of(fit_encoder(rows, columns_of(rows), features=rows.column_names, window_rows=300))


@pytest.fixture(scope="module")
def bins() -> Bins:
    """Return its bins."""
    return reference_bins()


def test_the_bins_of_a_number_are_equally_likely_in_the_reference(
    rows: pa.Table, bins: Bins
) -> None:
    """Up to the knots of the quantile table; nothing of it lies outside."""
    found = histogram(bins, rows)
    for j, name in enumerate(["normal", "heavy"]):
        values = ROWS - rows[name].null_count
        assert found[j, 1 : BINS + 1] == pytest.approx(values / BINS, abs=4)
        assert found[j, [0, CELLS - 1]].sum() == 0


def test_every_value_is_in_one_cell_and_a_missing_one_in_none(rows: pa.Table, bins: Bins) -> None:
    """Also where values tie, and far outside the range."""
    found = histogram(bins, rows)[:, :CELLS].sum(axis=1)
    assert found.tolist() == [len(rows[name]) - rows[name].null_count for name in rows.column_names]


def test_the_cells_are_those_of_a_search(bins: Bins) -> None:
    """The lookup table is as exact as the search that it replaces, at and beside every edge."""
    for table in bins.tables.values():
        edges = np.array([table.low, *table.edges, table.high])
        values = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)])
        expected = 1 + np.searchsorted(table.edges, values, side="right")
        expected = expected - (values < table.low) + (values > table.high)
        assert table(values).tolist() == expected.tolist()


def test_ties_stay_together(rows: pa.Table, bins: Bins) -> None:
    """A value that many rows have is in one cell, whatever its share."""
    values, counts = np.unique(rows["counts"].to_numpy(), return_counts=True)
    found = histogram(bins, rows)[2, :CELLS]
    frequent = int((counts >= ROWS / BINS).sum())  # rarer ones may share a cell
    cells = np.flatnonzero(found)[:frequent]
    assert frequent >= 4
    assert found[cells].tolist() == counts[:frequent].tolist()
    assert bins.positions[2][cells] == pytest.approx(values[:frequent])


def test_values_outside_the_range_are_counted_with_their_distance(
    rows: pa.Table, bins: Bins
) -> None:
    """In standard deviations of the reference, on their side."""
    table = bins.tables[0]
    out = rows.slice(1, 3).set_column(
        0, "normal", pa.array([table.high + 2 * bins.scale[0], table.low - bins.scale[0], 0.0])
    )
    found = histogram(bins, out)[0]
    assert (found[0], found[CELLS - 1]) == (1, 1)
    assert found[CELLS:] == pytest.approx([1.0, 2.0])


def test_new_values_of_a_category_have_a_cell_of_their_own(rows: pa.Table, bins: Bins) -> None:
    """The known ones follow, the most frequent first."""
    lines = pa.array(["z", "a", "b", "c", "a", None])
    found = histogram(bins, rows.slice(0, 6).set_column(3, "line", lines))[3]
    assert found[:4].tolist() == [1, 2, 1, 1]


@given(st.lists(st.integers(0, 4), min_size=60, max_size=60))
def test_histograms_of_parts_add_up_to_that_of_the_whole(groups: list[int]) -> None:
    """However the rows are cut and in whatever order the parts are added."""
    bins = reference_bins()
    some = reference().slice(100, 60)
    parts = histograms(bins, some, np.array(groups, dtype=np.int64), 5)
    assert np.allclose(parts.sum(axis=0), histogram(bins, some))
    assert parts[..., :CELLS].sum(axis=(1, 2)).tolist() == [
        sum(
            some[name].is_valid().to_numpy()[np.array(groups) == group].sum()
            for name in some.column_names
        )
        for group in range(5)
    ]


def test_a_profile_carries_its_histograms_through_blocks(rows: pa.Table, bins: Bins) -> None:
    """Profiles of blocks, packed and merged, add up to the histogram of all rows."""
    encoder = fit_encoder(rows, columns_of(rows), features=rows.column_names, window_rows=300)
    number = np.arange(ROWS) // 700
    halves = [
        pack(profile_blocks(encoder, rows.slice(start, 1500), number[start : start + 1500], bins))
        for start in (0, 1500)
    ]
    merged = halves[1] + halves[0]
    assert np.allclose(merged.histograms.sum(axis=0), profile(encoder, rows, bins).histograms)
    assert merged.histograms[2, 1, :CELLS].sum() == 700
