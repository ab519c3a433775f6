"""The maps between two sets of rows, of every family; see `monitors.explain.maps`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from monitors.encoder import FloatArray
from monitors.explain.clusters import ClusterMap, cluster_map
from monitors.explain.comparison import LEAST_ROWS, Comparison, compare, sample_size
from monitors.explain.coordinates import Coordinates, fit_coordinates
from monitors.explain.gaussian import affine_map
from monitors.explain.maps import MapStep, ShiftMap, in_order, shift_map
from monitors.explain.sparse import by_mean, by_transport, replace_features
from schemas.stream import Column

MAX_FEATURES = 10  # of a sparse map
MAX_CLUSTERS = 6
_ALL = 0.98  # a larger map would only follow noise


def shift_maps(
    before: pa.Table,
    after: pa.Table,
    columns: Mapping[str, Column],
    names: Sequence[str],
    *,
    seed: int,
) -> tuple[ShiftMap, ...]:
    """Explain the difference between rows of the reference and rows of a window.

    Parameters
    ----------
    before, after : typed rows; nulls allowed (see `monitors.explain.coordinates`). At most 400 of
        either are compared, and of `before` at most half.
    names : columns to compare; those of times, or with few values, are left out.
    seed : of the draw of rows and of the clusters.

    Returns
    -------
    tuple of ShiftMap
        One per family, the one to show first: the simplest whose chosen map reaches the target,
        or what explains most. Empty where there are fewer than 40 rows to compare, or no column.
    """
    if sample_size(before.num_rows, after.num_rows) < LEAST_ROWS:
        return ()
    coordinates = fit_coordinates(before, after, columns, names)
    if not coordinates.axes:
        return ()
    rng = np.random.default_rng(seed)
    found = compare(coordinates.of(before, rng), coordinates.of(after, rng), rng)
    maps = [
        _sparse_mean(found, coordinates),
        _sparse_transport(found, coordinates),
        _cluster(found, coordinates, seed),
    ]
    if len(coordinates.numbers):
        maps.append(_gaussian(found, coordinates))
    return in_order(maps)


def _sparse_mean(found: Comparison, coordinates: Coordinates) -> ShiftMap:
    """Shift k features by the difference of their means.

    A constant shift keeps the optimal plan, so that Σ δ_j² of the shifted features is what it takes
    off the distance, exactly; (σ²_X + σ²_Y) / n of each is sampling.
    """
    groups = coordinates.groups
    shift = found.Y.mean(axis=0) - found.X.mean(axis=0)
    sampling = (found.X.var(axis=0) + found.Y.var(axis=0)) / len(found.X)
    moves = coordinates.moves(shift)
    order = by_mean(shift, groups)
    gain = explained = 0.0
    steps: list[MapStep] = []
    for k, feature in enumerate(order[:MAX_FEATURES], 1):
        own = groups[feature]
        gain += float((shift[own] ** 2).sum())
        explained += max(float((shift[own] ** 2 - sampling[own]).sum()), 0.0)
        steps.append(
            MapStep(
                size=k,
                columns=_names(coordinates, order[:k]),
                explained=found.share(explained),
                distance=found.total - gain,
                moves=(_at(moves, order[:k]),),
            )
        )
    return shift_map("sparse-mean", found.total, found.beyond, steps)


def _sparse_transport(found: Comparison, coordinates: Coordinates) -> ShiftMap:
    """Move k features as the optimal plan does, and leave the others."""
    groups = coordinates.groups
    moves = coordinates.moves(found.Y.mean(axis=0) - found.X.mean(axis=0))
    order = by_transport(found.X, found.Z, groups)
    steps: list[MapStep] = []
    for k in range(1, min(len(order), MAX_FEATURES) + 1):
        fit = functools.partial(replace_features, groups=groups, chosen=order[:k])
        left, explained = found.assess(fit(found.X, found.Z), fit, parameters=False)
        names = _names(coordinates, order[:k])
        steps.append(MapStep(k, names, explained, left, (_at(moves, order[:k]),)))
        if explained >= _ALL or not found.beyond:
            break
    return shift_map("sparse-transport", found.total, found.beyond, steps)


def _cluster(found: Comparison, coordinates: Coordinates, seed: int) -> ShiftMap:
    """Shift each of k clusters of rows by a vector of its own."""

    def fit(k: int, X: FloatArray, Z: FloatArray) -> ClusterMap:
        return cluster_map(X, Z, k, coordinates.categories, np.random.default_rng(seed))

    def move(k: int, X: FloatArray, Z: FloatArray) -> FloatArray:
        return fit(k, X, Z).moved

    steps: list[MapStep] = []
    for k in range(1, MAX_CLUSTERS + 1):
        own = fit(k, found.X, found.Z)
        left, explained = found.assess(own.moved, functools.partial(move, k), parameters=True)
        weight = own.sizes @ own.shifts**2
        lengths = [float(weight[group].sum()) for group in coordinates.groups]
        order = np.argsort(lengths)[::-1].tolist()
        steps.append(
            MapStep(
                size=len(own.sizes),
                columns=_names(coordinates, order),
                explained=explained,
                distance=left,
                moves=[_at(coordinates.moves(shift), order) for shift in own.shifts],
                sizes=own.sizes.tolist(),
                starts=[_at(coordinates.places(centre), order) for centre in own.centres],
            )
        )
        if explained >= _ALL or len(own.sizes) < k or not found.beyond:
            break
    return shift_map("cluster", found.total, found.beyond, steps)


def _gaussian(found: Comparison, coordinates: Coordinates) -> ShiftMap:
    """Map the numbers linearly, so that means and covariances become the window's."""
    own = coordinates.numbers
    shift = (found.Y.mean(axis=0) - found.X.mean(axis=0))[own]
    order = np.argsort(-np.abs(shift), kind="stable").tolist()
    numbers = [axis for axis in coordinates.axes if not axis.levels]

    def fit(X: FloatArray, Z: FloatArray) -> FloatArray:
        moved = X.copy()
        moved[:, own] = affine_map(X[:, own], Z[:, own])
        return moved

    left, explained = found.assess(fit(found.X, found.Z), fit, parameters=True)
    step = MapStep(
        size=len(numbers),
        columns=tuple(numbers[j].name for j in order),
        explained=explained,
        distance=left,
        moves=([float(shift[j] * numbers[j].spread) for j in order],),
    )
    return shift_map("gaussian", found.total, found.beyond, [step])


def _names(coordinates: Coordinates, order: Sequence[int]) -> tuple[str, ...]:
    return tuple(coordinates.axes[j].name for j in order)


def _at(values: Sequence[float], order: Sequence[int]) -> list[float]:
    return [values[j] for j in order]
