"""Factorises a joint distribution into mechanisms: the law of some columns given their parents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_LISTED = 3  # parents that a name spells out


@dataclass(frozen=True, slots=True)
class Mechanism:
    """The law of `columns` given `parents`; several columns have no parents."""

    name: str  #: such as `LGA.temp given the others`
    columns: tuple[str, ...]
    parents: tuple[str, ...]


def by_graph(
    graph: Mapping[str, Sequence[str]], features: Sequence[str], target: str
) -> tuple[Mechanism, ...]:
    """Return one mechanism per column of a causal graph, and one for all columns outside it.

    Parameters
    ----------
    graph : each column's parents, without a cycle. A target that has none there depends on all
        features that do not descend from it. Columns that are neither feature nor target are
        left out.
    features : the other columns.
    """
    edges = {name: tuple(parents) for name, parents in graph.items()}
    if not edges.get(target):
        below = _descendants(edges, target)
        edges[target] = tuple(name for name in features if name not in below)
    drawn = {target, *graph, *(name for parents in graph.values() for name in parents)}
    outside = tuple(name for name in features if name not in drawn)
    mechanisms = [Mechanism("the other features", outside, ())] if outside else []
    for name in (*features, target):
        if name in drawn:
            known = (*features, target)
            parents = tuple(parent for parent in edges.get(name, ()) if parent in known)
            mechanisms.append(Mechanism(_law(name, parents), (name,), parents))
    return tuple(mechanisms)


def by_names(
    named: Sequence[str], features: Sequence[str], target: str | None, *, target_first: bool
) -> tuple[Mechanism, ...]:
    """Return the mechanisms that localisation tells apart.

    Parameters
    ----------
    named : the columns that were named, the strongest first; the target may be one.
    features : all features.
    target : None while its outcomes are not known.
    target_first : whether the named features are sensors that the target does not follow. Their
        laws are then given the target, and its own is given the other features. Else each named
        feature is given those before it, and the target is given all. A target that is named
        itself is a sensor among the others.
    """
    others = tuple(name for name in features if name not in named)
    mechanisms = [Mechanism("the other features", others, ())] if others else []
    unnamed = target if target not in named else None
    given = others
    if unnamed is not None and target_first:
        mechanisms.append(Mechanism(f"{unnamed} given the others", (unnamed,), others))
        given = (*others, unnamed)
    for name in named:
        mechanisms.append(Mechanism(f"{name} given the others", (name,), given))
        if unnamed is not None and not target_first:
            given = (*given, name)
    if unnamed is not None and not target_first:
        mechanisms.append(Mechanism(f"{unnamed} given all features", (unnamed,), given))
    return tuple(mechanisms)


def _descendants(edges: Mapping[str, Sequence[str]], node: str) -> set[str]:
    """Return the nodes below a node, and the node."""
    found = {node}
    while True:
        more = {name for name, parents in edges.items() if found.intersection(parents)} - found
        if not more:
            return found
        found |= more


def _law(column: str, parents: Sequence[str]) -> str:
    if not parents:
        return f"{column} by itself"
    if len(parents) > _LISTED:
        return f"{column} given its {len(parents)} causes"
    return f"{column} given {', '.join(parents)}"
