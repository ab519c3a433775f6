"""What each feature reads given the others, those that were named set aside."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from monitors.cause.residuals import residual_table
from monitors.encoder import Encoder, FloatArray, fit_encoder
from monitors.gram import Profile, profile
from schemas.stream import Column

NAMES = ["a", "b", "c", "d"]
OFFSET = 3.0


def correlated(rng: np.random.Generator, rows: int) -> FloatArray:
    """Return four sensors of one cause, with noise of 0.3 each."""
    return 5.0 * rng.standard_normal((rows, 1)) + 0.3 * rng.standard_normal((rows, 4))


@pytest.fixture
def fitted(rng: np.random.Generator) -> tuple[Encoder, Profile]:
    """Return the encoder and the profile of a reference."""
    table = pa.table(dict(zip(NAMES, correlated(rng, 5000).T, strict=True)))
    columns = {name: Column(type="number") for name in NAMES}
    encoder = fit_encoder(table, columns, features=NAMES, window_rows=400)
    return encoder, profile(encoder, table)


def moved(rng: np.random.Generator) -> pa.Table:
    """Return a window in which `b` reads too high, and one value of `c` is missing."""
    values = correlated(rng, 400)
    values[:, 1] += OFFSET
    columns = dict(zip(NAMES, values.T, strict=True))
    return pa.table(columns | {"c": pa.array(values[:, 2], mask=np.arange(400) == 7)})


def means(table: pa.Table) -> dict[str, float]:
    """Return the mean of each column."""
    return {name: float(np.nanmean(table[name].to_numpy())) for name in table.column_names}


def test_named_feature_alone_is_off(
    fitted: tuple[Encoder, Profile], rng: np.random.Generator
) -> None:
    """With the fault's name known, its neighbours are as expected, and it is off by its offset."""
    found = means(residual_table(*fitted, moved(rng), [1]))
    # the standard error of a mean of 400 residuals of 0.35 is 0.018
    assert found["b"] == pytest.approx(OFFSET, abs=0.15)
    assert all(abs(found[name]) < 0.09 for name in "acd")


def test_unnamed_fault_spreads_over_its_neighbours(
    fitted: tuple[Encoder, Profile], rng: np.random.Generator
) -> None:
    """Without the name the neighbours look wrong the other way: that is why it is set aside."""
    found = means(residual_table(*fitted, moved(rng), []))
    assert found["b"] > 1.5
    assert all(found[name] < -0.3 for name in "acd")


def test_rows_keep_their_place_and_gaps(
    fitted: tuple[Encoder, Profile], rng: np.random.Generator
) -> None:
    """One row per row, columns in the order of the features, a gap where there is no value."""
    found = residual_table(*fitted, moved(rng), [1])
    assert (found.num_rows, found.column_names) == (400, NAMES)
    assert [found[name].null_count for name in NAMES] == [0, 0, 1, 0]
    assert found["c"][7].as_py() is None
