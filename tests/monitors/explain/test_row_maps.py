from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from monitors.encoder import FloatArray
from monitors.explain.maps import Family, ShiftMap
from monitors.explain.row_maps import shift_maps
from schemas.stream import Column


def rows_of(rng: np.random.Generator, count: int, d: int) -> FloatArray:
    """Return correlated Gaussian rows of variance 1."""
    root = np.linalg.cholesky(np.full((d, d), 0.6) + 0.4 * np.eye(d))
    return rng.normal(size=(count, d)) @ root.T


def maps_of(before: FloatArray, after: FloatArray, scale: float = 1.0) -> dict[Family, ShiftMap]:
    """Return the maps between rows of numbers, by family."""
    names = [f"s{j}" for j in range(before.shape[1])]
    columns = {name: Column(type="number") for name in names}
    old, new = (pa.table(dict(zip(names, scale * X.T, strict=True))) for X in (before, after))
    return {found.family: found for found in shift_maps(old, new, columns, names, seed=1)}


def explained(found: ShiftMap) -> list[float]:
    """Return what the maps of a family explain."""
    return [step.explained for step in found.steps]


def test_a_mean_shift_is_explained_by_a_mean_map(rng: np.random.Generator) -> None:
    """The shifts are found in their order and size; both together explain all of it."""
    before, after = rows_of(rng, 2000, 6), rows_of(rng, 500, 6)
    after[:, 3] += 2.0
    after[:, 1] -= 1.0
    found = maps_of(before, after, scale=10.0)["sparse-mean"]
    two = found.steps[1]
    assert two.columns == ("s3", "s1")
    assert two.moves[0] == pytest.approx([20.0, -10.0], abs=3 * 10 * np.sqrt(2 / 400))
    assert explained(found)[0] == pytest.approx(4.0 / 5.0, abs=0.1)
    assert two.explained == pytest.approx(1.0, abs=0.1)
    assert found.chosen == 1


def test_sampling_noise_is_not_left_unexplained(rng: np.random.Generator) -> None:
    """In 18 dimensions the right map takes an eighth off the distance of the samples, and explains
    the rest of what is no noise.
    """
    shares, published = [], []
    for _ in range(3):
        before, after = rows_of(rng, 2000, 18), rows_of(rng, 500, 18)
        after[:, 0] += 1.0
        found = maps_of(before, after)["sparse-mean"]
        shares.append(found.steps[0].explained)
        published.append(1.0 - found.steps[0].distance / found.total)
    assert np.mean(published) == pytest.approx(0.12, abs=0.03)
    assert np.mean(shares) > 0.85


def test_each_family_explains_what_it_is_made_for(rng: np.random.Generator) -> None:
    """Mean maps do not explain a wider sensor, nor a shift of some rows; the right family does."""
    before = rows_of(rng, 2000, 5)
    wide, part = rows_of(rng, 500, 5), rows_of(rng, 500, 5)
    wide[:, 2] *= 3.0
    part[:, 2] += np.where(part[:, 4] > 0.8, 6.0, 0.0)
    found = maps_of(before, wide)
    assert found["sparse-transport"].steps[0].columns == ("s2",)
    assert explained(found["sparse-transport"])[0] > 0.9
    assert explained(found["gaussian"])[0] > 0.85
    assert max(explained(found["sparse-mean"])) < 0.1
    found = maps_of(before, part)
    assert explained(found["cluster"])[1] > 0.85
    assert explained(found["cluster"])[0] < 0.5
    assert max(explained(found["sparse-mean"])) < 0.5
    two = found["cluster"].steps[1]
    small = two.moves[1][two.columns.index("s2")]
    assert two.sizes[1] == pytest.approx((part[:, 4] > 0.8).mean(), abs=0.1)
    assert small == pytest.approx(6.0, abs=1.0)


def test_larger_maps_leave_less(rng: np.random.Generator) -> None:
    """The distance left falls with the size of the map, to 0 when all features are moved."""
    before, after = rows_of(rng, 600, 4), 1.5 * rows_of(rng, 300, 4) ** 2
    found = maps_of(before, after)
    for family in ("sparse-mean", "sparse-transport", "cluster"):
        left = np.array([found[family].total, *(step.distance for step in found[family].steps)])
        slack = 0.01 * left[0] if family == "cluster" else 1e-9
        assert (np.diff(left) <= slack).all(), family
    transport = found["sparse-transport"].steps[-1]
    assert transport.size < 4 or transport.distance == pytest.approx(0.0, abs=1e-9)


def test_units_do_not_matter(rng: np.random.Generator) -> None:
    """Rescaled columns give the same shares, and moves in the new unit."""
    before, after = rows_of(rng, 400, 3), rows_of(rng, 200, 3) + np.array([1.0, 0.0, 0.5])
    one, other = maps_of(before, after), maps_of(before, after, scale=1000.0)
    for family, found in one.items():
        assert explained(found) == pytest.approx(explained(other[family]))
        for step, scaled in zip(found.steps, other[family].steps, strict=True):
            assert step.columns == scaled.columns
            assert 1000.0 * np.array(step.moves) == pytest.approx(np.array(scaled.moves))


def test_the_same_seed_gives_the_same_maps(rng: np.random.Generator) -> None:
    """All of the result depends on rows and seed alone."""
    before, after = rows_of(rng, 400, 3), rows_of(rng, 200, 3) ** 3
    assert maps_of(before, after) == maps_of(before, after)


@pytest.mark.slow
@pytest.mark.parametrize("heavy", [False, True])
def test_nothing_is_explained_where_nothing_changed(
    rng: np.random.Generator, *, heavy: bool
) -> None:
    """Of 25 windows like the reference, at most 5 seem to differ (a chance of 0.1 % at 1 in 20);
    heavy tails are no excuse.
    """

    def rows(count: int) -> FloatArray:
        width = np.sqrt(rng.chisquare(3, size=(count, 1)) / 3) if heavy else 1.0
        return rows_of(rng, count, 10) / width

    seen = 0
    for _ in range(25):
        found = maps_of(rows(1000), rows(200))
        seen += any(share > 0 for one in found.values() for share in explained(one))
    assert seen <= 5


def test_booleans_and_categories_are_mapped_too(rng: np.random.Generator) -> None:
    """A change of shares is found, in rows that change; cluster maps give the window's shares."""
    columns = {
        "x": Column(type="number"),
        "open": Column(type="boolean"),
        "carrier": Column(type="category"),
    }

    def rows(count: int, share: float, weights: list[float]) -> pa.Table:
        return pa.table(
            {
                "x": pa.array([None, *rng.normal(size=count - 1)]),
                "open": rng.random(count) < share,
                "carrier": rng.choice(["AA", "DL", "UA"], count, p=weights),
            }
        )

    before, after = rows(2000, 0.2, [0.6, 0.3, 0.1]), rows(500, 0.6, [0.2, 0.3, 0.5])
    found = {one.family: one for one in shift_maps(before, after, columns, list(columns), seed=0)}
    step = found["sparse-mean"].steps[1]
    assert dict(zip(step.columns, step.moves[0], strict=True)) == pytest.approx(
        {"open": 0.4, "carrier": 0.4}, abs=3 * np.sqrt(2 * 0.25 / 400)
    )
    assert explained(found["sparse-transport"])[-1] > 0.9
    assert explained(found["cluster"])[-1] > 0.8
    plain = shift_maps(before, after, columns, ["open", "carrier"], seed=0)
    assert "gaussian" not in {one.family for one in plain}


def test_nothing_to_map() -> None:
    """Few rows, or no column with values, give no maps."""
    few = pa.table({"x": np.arange(50.0)})
    columns = {"x": Column(type="number")}
    assert shift_maps(few, few, columns, ["x"], seed=0) == ()
    assert shift_maps(few, few.slice(0, 0), columns, ["x"], seed=0) == ()
    gone = pa.table({"x": pa.nulls(200, pa.float64())})
    assert shift_maps(gone, gone, columns, ["x"], seed=0) == ()


def test_constant_tables_do_not_crash() -> None:
    """Rows that are all alike are at distance 0 or at that of a shift."""
    columns = {"x": Column(type="number"), "c": Column(type="category")}
    before = pa.table({"x": np.zeros(200), "c": ["a"] * 200})
    after = pa.table({"x": np.full(100, 3.0), "c": ["a"] * 100})
    for one in shift_maps(before, before, columns, ["x", "c"], seed=0):
        assert one.total == pytest.approx(0.0)
        assert explained(one)[0] == 0.0
    moved = shift_maps(before, after, columns, ["x", "c"], seed=0)
    assert moved[0].family == "sparse-mean"
    assert explained(moved[0])[0] == pytest.approx(1.0)
    assert moved[0].steps[0].moves[0][0] == pytest.approx(3.0)
