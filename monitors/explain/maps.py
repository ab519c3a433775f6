"""Transport maps from the reference to a window, and how much of the shift each explains.

Kulinski and Inouye, Towards Explaining Distribution Shifts, ICML 2023. A map T is restricted to a
family that a person can read, and judged by the squared Wasserstein distance W2²(T(X), Y) that it
leaves. In families of growing size the map to show is the smallest that explains enough.

Costs are counted in units of each column's spread in the reference, moves are given in its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from schemas.stream import Column

TARGET = 0.9  # share of the shift; the first map that explains it is shown
_WORTH_SAYING = 0.02  # of the shift: what one more feature has to explain
_NAMED = 3  # columns or clusters in a sentence
_DIFFERENCE = "of the difference from the reference"

Family: TypeAlias = Literal["sparse-mean", "sparse-transport", "cluster", "gaussian"]


@dataclass(frozen=True, slots=True)
class MapStep:
    """A map with some number of features or clusters."""

    size: int  #: features, or clusters
    columns: tuple[str, ...]  #: the features that it moves, the most important first
    explained: float  #: of what is beyond noise, the share that it takes away, within [0, 1]
    distance: float  #: squared Wasserstein distance that is left
    #: per cluster (one, if sparse): mean shift per column, in its unit
    moves: Sequence[Sequence[float]]
    sizes: Sequence[float] = (1.0,)  #: share of the rows of each cluster
    #: per cluster: where the reference's rows of it lie on average, per column, in its unit
    starts: Sequence[Sequence[float]] = ()


@dataclass(frozen=True, slots=True)
class ShiftMap:
    """A family of maps, of increasing size, and the one to show.

    PercentExplained as published is 1 − distance / total; `explained` is what it would be without
    sampling noise. The move of a boolean is the change of the share of true rows, that of any other
    category the share of the rows that change their value.
    """

    family: Family
    total: float  #: squared Wasserstein distance of reference and window, in squared scales
    steps: Sequence[MapStep]
    chosen: int  #: place in `steps`: at the knee, or the first that reaches the target
    noise: float = 0.0  #: of `total`, what sampling alone would show; all of it: nothing to explain


def shift_map(family: Family, total: float, beyond: float, steps: Sequence[MapStep]) -> ShiftMap:
    """Choose among the maps of a family.

    A larger map of a family could do whatever a smaller one does: where it seems to explain less,
    by sampling noise or the chance of k-means, it is given what the smaller one explains.

    Parameters
    ----------
    beyond : of `total`, what is not sampling noise.
    """
    curve = list(itertools.accumulate((step.explained for step in steps), max))
    chosen = choose([step.size for step in steps], curve)
    own = tuple(replace(step, explained=top) for step, top in zip(steps, curve, strict=True))
    return ShiftMap(family, total, own, chosen, max(total - beyond, 0.0))


def choose(sizes: Sequence[int], explained: Sequence[float]) -> int:
    """Return the place of the first map that explains `TARGET`, or of the knee of the curve.

    The knee is where the curve from (0, 0) is furthest above the line to its last point (Satopää
    et al., Finding a "Kneedle" in a Haystack, 2011).
    """
    curve = np.asarray(explained)
    if (curve >= TARGET).any():
        return int(np.argmax(curve >= TARGET))
    line = curve[-1] * np.asarray(sizes) / sizes[-1]
    return int(np.argmax(np.round(curve - line, 9)))


def in_order(maps: Iterable[ShiftMap]) -> tuple[ShiftMap, ...]:
    """Put first what reaches the target, in the order given; then what explains more.

    The Gaussian map comes last: it says how much any linear map could explain, but no more.
    """

    def place(one: ShiftMap) -> tuple[bool, float]:
        return one.family == "gaussian", -min(one.steps[one.chosen].explained, TARGET)

    return tuple(sorted(maps, key=place))


def sentence(found: ShiftMap, columns: Mapping[str, Column]) -> str:
    """Say in words what the chosen map moves, and how much of the difference that explains.

    Parameters
    ----------
    columns : types and units; a column that it lacks has none.
    """
    step = found.steps[found.chosen]
    if found.noise >= found.total:
        return "the rows differ by no more than two samples of the reference would"
    share = _percent(step.explained)
    if found.family == "gaussian":
        return f"a linear map of all {step.size} numbers explains {share} {_DIFFERENCE}"
    if found.family == "cluster" and step.size > 1:
        return f"{_clusters(step, columns)}: this explains {share} {_DIFFERENCE}"
    if found.family == "sparse-transport":
        one = step.size == 1
        said = f"{'a new distribution' if one else 'new distributions'} of {_listed(step.columns)} "
        said += f"alone {'explains' if one else 'explain'} {share} {_DIFFERENCE}"
    else:
        moves = [
            f"{name} {_move(move, columns.get(name))}"
            for name, move in zip(step.columns, step.moves[0], strict=True)
        ]
        one = found.family == "sparse-mean" and step.size == 1
        said = f"{'one shift' if one else 'shifts'} of {_listed(moves)} "
        said += f"{'explains' if one else 'explain'} {share} {_DIFFERENCE}"
    return said + _next(found)


def _next(found: ShiftMap) -> str:
    """Say what one more feature adds, where that is something."""
    if found.family == "cluster" or found.chosen + 1 >= len(found.steps):
        return ""
    step, following = found.steps[found.chosen : found.chosen + 2]
    if following.explained < step.explained + _WORTH_SAYING:
        return ""
    return f"; with {following.columns[-1]}, {_percent(following.explained)}"


def _clusters(step: MapStep, columns: Mapping[str, Column]) -> str:
    """Return what the largest clusters do, by the two columns that matter most."""
    said = []
    for size, moves in list(zip(step.sizes, step.moves, strict=True))[:_NAMED]:
        parts = [
            f"{name} {_move(move, columns.get(name))}"
            for name, move in zip(step.columns[:2], moves, strict=False)
        ]
        said.append(f"in {_percent(size)} of the rows {' and '.join(parts)}")
    return ", ".join(said) + _rest(step.size - _NAMED, "group")


def _listed(parts: Sequence[str]) -> str:
    shown = list(parts[:_NAMED])
    if len(parts) > _NAMED:
        return ", ".join(shown) + _rest(len(parts) - _NAMED, "column")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _rest(count: int, what: str) -> str:
    return f" and {count} more {what}{'s' if count > 1 else ''}" if count > 0 else ""


def _move(move: float, column: Column | None) -> str:
    if column is not None and column.type == "boolean":
        return f"true in {_percent(move, sign='+')} of the rows"
    if column is not None and column.type == "category":
        return f"in {_percent(move)} of the rows"
    unit = f" {column.unit}" if column is not None and column.unit else ""
    number = f"{move:+,.0f}" if abs(move) >= 1000 else f"{move:+.3g}"
    return f"by {number}{unit}".replace("-", "−")


def _percent(share: float, sign: str = "") -> str:
    return f"{share:{sign}.0%}".replace("%", " %").replace("-", "−")
