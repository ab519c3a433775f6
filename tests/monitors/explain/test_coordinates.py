from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from monitors.explain.coordinates import fit_coordinates
from schemas.stream import Column

COLUMNS = {
    "x": Column(type="number", unit="°F"),
    "n": Column(type="integer"),
    "open": Column(type="boolean"),
    "carrier": Column(type="category"),
    "time": Column(type="timestamp", role="ignore"),
}


def table(rng: np.random.Generator, rows: int = 400) -> pa.Table:
    """Return rows of every type, with gaps."""
    carriers = rng.choice(["AA", "DL", "UA"], rows, p=[0.5, 0.3, 0.2]).tolist()
    return pa.table(
        {
            "x": pa.array([None, *(50.0 + 10.0 * rng.normal(size=rows - 1))]),
            "n": pa.array(rng.poisson(3.0, rows)),
            "open": pa.array([None, *(rng.random(rows - 1) < 0.3)], pa.bool_()),
            "carrier": pa.array([None, *carriers[1:]]),
            "time": pa.array(np.arange(rows), pa.timestamp("us", "UTC")),
        }
    )


def test_every_column_has_variance_one_in_the_reference(rng: np.random.Generator) -> None:
    """Numbers, booleans and categories weigh alike."""
    before = table(rng)
    coordinates = fit_coordinates(before, before, COLUMNS, list(COLUMNS))
    assert [axis.name for axis in coordinates.axes] == ["x", "n", "open", "carrier"]
    points = coordinates.of(before, rng)
    for group in coordinates.groups:
        assert points[:, group].var(axis=0).sum() == pytest.approx(1.0, abs=0.25)
    assert not np.isnan(points).any()


def test_a_wild_value_does_not_set_the_scale(rng: np.random.Generator) -> None:
    """One value in a hundred at −9999 leaves the spread near that of the others."""
    x = rng.normal(size=1000)
    x[::100] = -9999.0
    before = pa.table({"x": x})
    axis = fit_coordinates(before, before, {"x": Column(type="number")}, ["x"]).axes[0]
    assert 0.8 < axis.spread < 1.1


def test_a_constant_reference_is_scaled_by_both_sides() -> None:
    """A column that is constant in the reference has the spread of all rows."""
    before, after = pa.table({"x": [5.0] * 100}), pa.table({"x": [7.0] * 100})
    columns = {"x": Column(type="number")}
    assert fit_coordinates(before, after, columns, ["x"]).axes[0].spread == pytest.approx(1.0)
    assert fit_coordinates(before, before, columns, ["x"]).axes[0].spread == 1.0


def test_a_column_with_few_values_is_left_out() -> None:
    """A column that is missing in more than half of the window, or has no type, is not mapped."""
    before = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 4.0]})
    after = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, None, float("nan"), float("inf")]})
    columns = {"x": Column(type="number"), "y": Column(type="number")}
    found = fit_coordinates(before, after, columns, ["x", "y", "x 1 h ago"])
    assert [axis.name for axis in found.axes] == ["x"]


def test_gaps_are_filled_from_the_column_itself(rng: np.random.Generator) -> None:
    """A missing number is given a value that its table holds."""
    x = np.where(rng.random(500) < 0.3, np.nan, rng.integers(0, 5, 500))
    rows = pa.table({"x": pa.array(x, from_pandas=True)})
    coordinates = fit_coordinates(rows, rows, {"x": Column(type="number")}, ["x"])
    axis = coordinates.axes[0]
    filled = coordinates.of(rows, rng)[:, 0] * axis.spread + axis.centre
    assert set(np.round(filled, 9)) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert filled.mean() == pytest.approx(np.nanmean(x), abs=3 * 1.5 / np.sqrt(350))


def test_moves_are_in_the_units_of_the_columns(rng: np.random.Generator) -> None:
    """A shift of a mean comes back in °F, as a share of true rows, and as rows that change."""
    before = table(rng)
    carriers = ["DL" if one == "AA" else one for one in before["carrier"].to_pylist()]
    after = pa.table(
        {
            "x": [None if one is None else one + 3.1 for one in before["x"].to_pylist()],
            "n": before["n"],
            "open": [None, *([True] * 399)],
            "carrier": carriers,
        }
    )
    coordinates = fit_coordinates(before, after, COLUMNS, ["x", "n", "open", "carrier"])
    old, new = coordinates.of(before, rng).mean(axis=0), coordinates.of(after, rng).mean(axis=0)
    x, n, is_open, carrier = coordinates.moves(new - old)
    assert x == pytest.approx(3.1, abs=0.2)  # the one gap is filled at random
    assert n == pytest.approx(0.0, abs=1e-9)
    share = np.mean([one is True for one in before["open"].to_pylist()])
    assert is_open == pytest.approx(399 / 400 - share)
    changed = np.mean([one == "AA" for one in before["carrier"].to_pylist()])
    assert carrier == pytest.approx(changed)
    assert coordinates.places(old)[0] == pytest.approx(50.0, abs=2.0)
    assert coordinates.places(old)[2] == pytest.approx(share)


def test_rare_values_of_a_category_are_one(rng: np.random.Generator) -> None:
    """A category with hundreds of values has a coordinate for the frequent ones, and one more."""
    ids = [f"v{i}" for i in rng.integers(0, 300, 1000)]
    rows = pa.table({"id": ids})
    coordinates = fit_coordinates(rows, rows, {"id": Column(type="category")}, ["id"])
    points = coordinates.of(rows, rng)
    assert points.shape == (1000, 17)
    assert ((points > 0).sum(axis=1) == 1).all()
