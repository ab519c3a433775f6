"""Divides a change of a forecast's loss over the mechanisms that made it.

Shapley values over the mechanisms of a factorised distribution (Zhang, Singh, Ghassemi and Joshi,
"Why did the Model Fail?", ICML 2023). Without a causal graph the factorisation is the one that
localisation gives: the named features, each given the others, and the others together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from scipy.special import ndtri

from monitors.attribute.attribution import Attribution, Share
from monitors.attribute.coalitions import Coalitions
from monitors.attribute.density_ratio import LogRatio, conditional_ratio, joint_ratio, regress
from monitors.attribute.encoded import Encoded, encode_both, numbers
from monitors.attribute.mechanisms import Mechanism, by_graph, by_names
from monitors.attribute.shapley import EXACT, shapley
from monitors.attribute.transport import Transport, transport
from monitors.encoder import FloatArray
from schemas.stream import Column

Loss: TypeAlias = Callable[[pa.Table], FloatArray]

LEAST_ROWS = 50  # with a loss, of either table
MOST_NAMED = 4  # with a mechanism of their own; further ones are among the other features
LARGEST_ATOM = 0.1  # share of the rows with one value, beyond which a number is not moved
TRUSTED_ROWS = 30  # effective ones; with fewer, a few rows make the mean
CHANCE = 1.645  # standard errors, one side: one in twenty
TOLD = 0.05  # share of the weight cut off that is worth a word


def attribute(  # noqa: PLR0913 (most by keyword)
    before: pa.Table,
    after: pa.Table,
    loss: Loss,
    target: str,
    columns: Mapping[str, Column],
    *,
    named: Sequence[str],
    graph: Mapping[str, Sequence[str]],
    unit: str | None,
    loss_name: str,
    seed: int,
    level: float = 0.9,
    held_out: float | None = None,
) -> Attribution:
    """Divide the change of a forecast's mean loss over mechanisms.

    While fewer than `LEAST_ROWS` outcomes of the window are known, the shares are those of the
    features' mechanisms, for a target that goes on as the other features say.

    Parameters
    ----------
    before : rows of the reference, as `Baseline.rows_of` gives them, in order of time.
    after : rows of the window, as `WindowPart.rows.table`, in order of time.
    loss : the loss of each row of a table, shape (rows,); NaN where the outcome is missing, and
        nowhere else. It is also called with columns of `before` that were changed.
    target : the column that is forecast, a number.
    columns : the stream's columns.
    named : the features that alarm in the window, the strongest first.
    graph : each column's parents, without a cycle (`stream.explain.graph`); empty where none are
        known.
    unit : of the target.
    loss_name : such as `pinball loss`.
    level : of the intervals.
    held_out : mean loss of the reference by models that had not seen its rows, for a `loss` by one
        that has; it is `before` of the result, and so no part of the rise is unexplained for it.
    """
    rng = np.random.default_rng(seed)
    before, losses = _known(before, loss(before))
    outcomes = loss(after)
    labelled = bool(np.count_nonzero(np.isfinite(outcomes)) >= LEAST_ROWS)
    if labelled:
        after, outcomes = _known(after, outcomes)
    expected = held_out if held_out is not None else float(losses.mean()) if len(losses) else 0.0
    measured = float(outcomes.mean()) if labelled else None

    def result(
        shares: Sequence[Share], explained: float, effective_rows: float, note: str | None
    ) -> Attribution:
        unexplained = 0.0 if measured is None else measured - expected - explained
        return Attribution(
            target=target,
            loss=loss_name,
            unit=unit,
            before=expected,
            after=measured,
            shares=shares,
            unexplained=unexplained,
            level=level,
            effective_rows=effective_rows,
            note=note,
        )

    fewest = min(before.num_rows, after.num_rows)
    features = _usable(columns, before, target)
    if fewest < LEAST_ROWS or not features:
        reason = f"{fewest} rows" if fewest < LEAST_ROWS else "no feature has a value"
        return result((), 0.0, float(fewest), f"too little to divide the loss: {reason}")
    rows = encode_both(before, after, columns, [*features, target] if labelled else features)
    features = [name for name in features if len(rows.groups[name])]
    if not features or (labelled and not len(rows.groups[target])):
        return result((), 0.0, float(fewest), "the reference is constant")
    mechanisms = _factorise(rows, features, target if labelled else None, named, graph, target)
    if not mechanisms:
        return result((), 0.0, float(fewest), "every mechanism of the graph needs the outcomes")
    sensors = {*features, *named}
    ratios, maps = _fit(rows, mechanisms, sensors, before, after, rng)

    def moved_loss(moved: Mapping[int, FloatArray]) -> FloatArray:
        names = {mechanisms[k].columns[0]: values for k, values in moved.items()}
        return loss(_replaced(before, names)) if moved else losses

    coalitions = Coalitions(rows, ratios, maps, moved_loss)
    found, sampling = shapley(len(mechanisms), coalitions.value, rng)
    wide = float(ndtri(0.5 + 0.5 * level))
    error = wide * np.sqrt((found[:, 1:] ** 2).sum(axis=1) + sampling**2)
    shares = tuple(
        Share(own.name, own.columns, float(amount), float(amount - far), float(amount + far))
        for own, amount, far in zip(mechanisms, found[:, 0], error, strict=True)
    )
    explained = float(found[:, 0].sum())
    notes = _doubts(coalitions, len(mechanisms))
    if measured is None:
        notes.insert(0, "the outcomes are not known yet: what to expect of the same target")
    else:
        far = wide * _gap_error(rows, losses, outcomes, found[:, 1:].sum(axis=0))
        if abs(measured - expected - explained) > far:
            notes.append("what is not explained is more than the errors of the shares")
    return result(shares, explained, coalitions.least_effective, "; ".join(notes) or None)


def _known(table: pa.Table, losses: FloatArray) -> tuple[pa.Table, FloatArray]:
    """Return the rows with a loss."""
    known = np.isfinite(losses)
    return table.filter(pa.array(known)), losses[known]


def _usable(columns: Mapping[str, Column], before: pa.Table, target: str) -> list[str]:
    """Return the features that have a value in the reference."""
    return [
        name
        for name, column in columns.items()
        if column.role in ("feature", "condition")
        and column.type != "timestamp"
        and name != target
        and name in before.column_names
        and before[name].null_count < before.num_rows
    ]


def _factorise(
    rows: Encoded,
    features: Sequence[str],
    known: str | None,
    named: Sequence[str],
    graph: Mapping[str, Sequence[str]],
    target: str,
) -> tuple[Mechanism, ...]:
    """Return the mechanisms; `known` is the target if its outcomes are."""
    if graph:
        found = by_graph(graph, features, target)
        if known is None:
            return tuple(own for own in found if target not in (*own.columns, *own.parents))
        return found
    own = [name for name in named if name in features or name == known][:MOST_NAMED]
    first = bool(own) and known is not None and known not in own
    first = first and _keeps_apart(rows, target, own)
    return by_names(own, features, known, target_first=first)


def _keeps_apart(rows: Encoded, target: str, named: Sequence[str]) -> bool:
    """Whether the target kept to the features that were not named, and so not to the named ones.

    Of two orders the one in which the target's own mechanism moved less is taken (the sparse
    mechanism shift hypothesis: Schölkopf et al., Proceedings of the IEEE 2021; Perry, von Kügelgen
    and Schölkopf, NeurIPS 2022): a sensor's fault leaves alone what the sensor measures. Named
    features are sensors unless the squared residuals of the target given them all grew less,
    beyond chance.
    """
    source = ~rows.window
    own = rows.of([target])[:, :1]
    growth = np.zeros(len(source))
    for sign, left_out in ((1.0, named), (-1.0, ())):
        given = [name for name in rows.groups if name != target and name not in left_out]
        _, residual, _ = regress(own, rows.of(given), source)
        squares = residual[:, 0] ** 2
        growth += sign * squares / np.mean(squares[source])
    growth[source] = 0.0
    sums = rows.block_sums(growth)[int(rows.blocks[source].max()) + 1 :]
    return bool(sums.mean() < CHANCE * sums.std(ddof=1) / np.sqrt(len(sums)))


def _fit(
    rows: Encoded,
    mechanisms: Sequence[Mechanism],
    sensors: Collection[str],
    before: pa.Table,
    after: pa.Table,
    rng: np.random.Generator,
) -> tuple[dict[int, LogRatio], dict[int, Transport]]:
    """Return the density ratios, and the maps of the numbers that nothing depends on.

    Parameters
    ----------
    sensors : columns that may be moved. A target that was not named is weighted: what moves it is
        more often a change of the features that it depends on in ways that a map does not know.
    """
    ratios: dict[int, LogRatio] = {}
    maps: dict[int, Transport] = {}
    joint: dict[frozenset[str], LogRatio] = {}

    def joint_of(names: Sequence[str]) -> LogRatio:
        key = frozenset(names)
        if key not in joint:
            joint[key] = joint_ratio(rows, names)
        return joint[key]

    parents = {parent for own in mechanisms for parent in own.parents}
    for k, own in enumerate(mechanisms):
        name = own.columns[0]
        if own.parents and name in sensors and name in rows.measured and name not in parents:
            values = numbers(before, after, name)
            if _largest_atom(values[~rows.window]) <= LARGEST_ATOM:
                maps[k] = transport(rows, values, own.parents, rng)
                continue
        if own.parents:
            ratios[k] = conditional_ratio(rows, name, own.parents, joint_of(own.parents))
        else:
            ratios[k] = joint_of(own.columns)
    return ratios, maps


def _largest_atom(values: FloatArray) -> float:
    """Return the share of the commonest value."""
    return float(np.unique(values, return_counts=True)[1].max() / len(values))


def _replaced(table: pa.Table, columns: Mapping[str, FloatArray]) -> pa.Table:
    for name, values in columns.items():
        place = table.column_names.index(name)
        kind = table.schema.field(place).type
        whole = np.rint(values) if pa.types.is_integer(kind) else values
        table = table.set_column(place, name, pa.array(whole, from_pandas=True).cast(kind))
    return table


def _gap_error(
    rows: Encoded, losses: FloatArray, outcomes: FloatArray, explained: FloatArray
) -> float:
    """Return the standard error of the measured change less the sum of the shares."""
    own = np.concatenate(
        [-(losses - losses.mean()) / len(losses), (outcomes - outcomes.mean()) / len(outcomes)]
    )
    return float(np.sqrt(((rows.block_sums(own) - explained) ** 2).sum()))


def _doubts(coalitions: Coalitions, players: int) -> list[str]:
    """Say how far not to trust the shares."""
    notes = []
    if coalitions.least_effective < TRUSTED_ROWS:
        notes.append(
            f"the window lies where the reference has few rows: "
            f"worth {coalitions.least_effective:.0f} of them"
        )
    if coalitions.most_clipped > TOLD:
        cut = f"{coalitions.most_clipped:.0%}".replace("%", " %")
        notes.append(f"{cut} of the weight of unusual rows was cut off: shares may be too small")
    if players > EXACT:
        notes.append(f"{players} mechanisms: their orders were sampled")
    return notes
