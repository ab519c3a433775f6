from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from monitors.encoder import fit_encoder
from monitors.explain.maps import ShiftMap
from monitors.explain.profile_maps import profile_maps
from monitors.gram import profile
from schemas.stream import Column

COLUMNS = {
    "a": Column(type="number", unit="°F"),
    "b": Column(type="number"),
    "c": Column(type="number"),
    "kind": Column(type="category"),
}


def rows(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Return rows whose numbers are correlated, and of different units."""
    z = rng.normal(size=(count, 3)) @ np.linalg.cholesky(0.5 + 0.5 * np.eye(3)).T
    kind = rng.choice(["x", "y"], count)
    return {"a": 60 + 10 * z[:, 0], "b": np.exp(z[:, 1]), "c": 1e6 * z[:, 2], "kind": kind}


def maps_of(
    before: dict[str, np.ndarray], after: dict[str, np.ndarray], window_rows: int = 400
) -> tuple[ShiftMap, ...]:
    """Return the maps between the profiles of two tables."""
    encoder = fit_encoder(
        pa.table(before), COLUMNS, features=list(COLUMNS), window_rows=window_rows
    )
    reference, window = (profile(encoder, pa.table(one)) for one in (before, after))
    return profile_maps(encoder, reference, window, COLUMNS)


@pytest.mark.parametrize("window_rows", [40, 1000])  # one basis term per number, and two
def test_a_shift_is_found_in_the_unit_of_its_column(
    rng: np.random.Generator, window_rows: int
) -> None:
    """A sensor 8 °F too high is the first feature of the sparse mean map, and explains it."""
    before, after = rows(rng, 4000), rows(rng, 500)
    after["a"] = after["a"] + 8.0
    mean_map = maps_of(before, after, window_rows)[0]
    assert mean_map.family == "sparse-mean"
    step = mean_map.steps[0]
    assert step.columns == ("a",)
    assert step.moves[0] == pytest.approx([8.0], abs=3 * 10 / np.sqrt(500))
    assert step.explained > 0.85
    assert mean_map.total > mean_map.noise > 0


def test_a_move_of_a_skewed_column_is_that_of_its_mean(rng: np.random.Generator) -> None:
    """The Gaussian map's move of a log-normal column comes back through its quantiles."""
    before, after = rows(rng, 8000), rows(rng, 4000)
    after["b"] = np.exp(0.5 + 0.8 * np.log(after["b"]))
    (gaussian,) = (one for one in maps_of(before, after) if one.family == "gaussian")
    step = gaussian.steps[0]
    expected = after["b"].mean() - before["b"].mean()
    assert step.moves[0][step.columns.index("b")] == pytest.approx(expected, abs=0.12)
    assert step.explained == 1.0


def test_a_shift_of_a_few_whole_numbers_comes_back(rng: np.random.Generator) -> None:
    """The scores of a column with many ties have less than unit variance; its unit survives."""
    before, after = (
        pa.table({"n": np.round(rng.normal(size=8000) / 1.5 + at)}) for at in (0.3, 0.8)
    )
    columns = {"n": Column(type="integer")}
    encoder = fit_encoder(before, columns, features=["n"], window_rows=100)
    maps = profile_maps(encoder, profile(encoder, before), profile(encoder, after), columns)
    for one in maps:
        assert one.steps[0].moves[0] == pytest.approx([0.5], abs=0.04)


def test_a_change_of_spread_is_left_to_the_gaussian_map(rng: np.random.Generator) -> None:
    """No mean map explains a quieter sensor."""
    before, after = rows(rng, 4000), rows(rng, 1000)
    after["a"] = 60 + 0.3 * (after["a"] - 60)
    first, second = maps_of(before, after)
    assert (first.family, second.family) == ("sparse-mean", "gaussian")
    assert first.steps[-1].explained < 0.1
    assert second.steps[0].explained == 1.0


@pytest.mark.slow
def test_nothing_is_explained_where_nothing_changed(rng: np.random.Generator) -> None:
    """Of 200 windows like the reference, at most 14 seem to differ (0.1 % if 3 in 100 did)."""
    before = rows(rng, 4000)
    encoder = fit_encoder(pa.table(before), COLUMNS, features=list(COLUMNS), window_rows=300)
    reference = profile(encoder, pa.table(before))
    seen = 0
    for _ in range(200):
        window = profile(encoder, pa.table(rows(rng, 300)))
        maps = profile_maps(encoder, reference, window, COLUMNS)
        seen += maps[0].noise < maps[0].total
    assert seen <= 14


def test_no_numbers_no_maps(rng: np.random.Generator) -> None:
    """Categories alone have no profile map, and neither has an empty window."""
    before = pa.table({"kind": rng.choice(["x", "y"], 100)})
    encoder = fit_encoder(before, COLUMNS, features=["kind"], window_rows=100)
    own = profile(encoder, before)
    assert profile_maps(encoder, own, own, COLUMNS) == ()
    numbers = pa.table(rows(rng, 100))
    encoder = fit_encoder(numbers, COLUMNS, features=["a"], window_rows=100)
    empty = profile(encoder, numbers.slice(0, 0))
    assert profile_maps(encoder, profile(encoder, numbers), empty, COLUMNS) == ()
