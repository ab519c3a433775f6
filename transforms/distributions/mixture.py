"""Mixtures of families, with weights of their own in each row (linear pools of densities).

Weights have shape (n, K), sum to 1 along K and belong to K components, in order; a component's
parameters have shape (n,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.distributions.families import Family

Floats = NDArray[np.float64]

_CLOSE = 1e-6  # in probability: how close a quantile's is to its level
_NARROW = 1e-12  # relative width of a bracket that is as good as closed
_TINY = float(np.finfo(np.float64).tiny)
_MOST_STEPS = 100


@dataclass(frozen=True, slots=True)
class Component:
    """One family with its parameters in each row."""

    family: Family
    parameters: tuple[Floats, ...]  #: each of shape (n,)

    def take(self, rows: NDArray[np.int64]) -> Component:
        """Return the component in some rows, which may repeat."""
        return Component(self.family, tuple(own[rows] for own in self.parameters))


def log_densities(y: Floats, components: Sequence[Component]) -> Floats:
    """Return the log density of each row's outcome under each component, shape (n, K).

    Where a component has an atom at 0, densities are those with respect to length and a point mass
    at 0, so that of an outcome of exactly 0 a component without the atom says −inf.
    """
    found = np.column_stack([own.family.log_density(y, *own.parameters) for own in components])
    atoms = np.array([_has_atom(own) for own in components])
    if atoms.any():
        found[np.ix_(y == 0, ~atoms)] = -np.inf
    return found


def log_density(y: Floats, weights: Floats, components: Sequence[Component]) -> Floats:
    """Return the log density of each row's outcome, shape (n,)."""
    own = log_densities(y, components)
    most = own.max(axis=1)
    base = np.where(np.isfinite(most), most, 0)
    with np.errstate(divide="ignore"):  # an outcome that no component can have
        found: Floats = base + np.log((weights * np.exp(own - base[:, None])).sum(axis=1))
    return found


def cdf(y: Floats, weights: Floats, components: Sequence[Component]) -> Floats:
    """Return P(Y <= y) of each row, shape (n,)."""
    own = np.column_stack([own.family.cdf(y, *own.parameters) for own in components])
    chance: Floats = (weights * own).sum(axis=1)
    return chance


def mean(weights: Floats, components: Sequence[Component]) -> Floats:
    """Return the mean of each row, shape (n,)."""
    own = np.column_stack([own.family.mean(*own.parameters) for own in components])
    found: Floats = (weights * own).sum(axis=1)
    return found


def variance(weights: Floats, components: Sequence[Component]) -> Floats:
    """Return the variance of each row: of the components, and between their means; shape (n,)."""
    within = np.column_stack([own.family.variance(*own.parameters) for own in components])
    means = np.column_stack([own.family.mean(*own.parameters) for own in components])
    away = means - (weights * means).sum(axis=1)[:, None]
    found: Floats = (weights * (within + away * away)).sum(axis=1)
    return found


def quantile(levels: Floats, weights: Floats, components: Sequence[Component]) -> Floats:
    """Return the quantiles of each row, shape (n, levels).

    A mixture's quantile lies between those of its components. The distribution function is inverted
    between them by regula falsi with halved ends (Illinois; Dowell and Jarratt, BIT 1971), in all
    rows and levels at once.
    """
    own = np.stack(
        [c.family.quantile(levels, *(p[:, None] for p in c.parameters)) for c in components]
    )
    lower, upper = own.min(axis=0).ravel(), own.max(axis=0).ravel()
    level = np.tile(levels, len(weights))
    if any(map(_has_atom, components)):
        zero = np.zeros(len(weights))
        above = np.repeat(cdf(zero, weights, components), len(levels)) < level
        below = np.repeat(cdf(zero - _TINY, weights, components), len(levels)) >= level
        lower = np.where(below, lower, np.maximum(lower, 0))
        upper = np.where(above, upper, np.minimum(upper, 0))  # at the atom, both are 0
    found = upper.copy()
    open_ = np.flatnonzero(_is_open(lower, upper))
    rows = np.repeat(np.arange(len(weights)), len(levels))
    low, high = lower[open_], upper[open_]

    def excess(points: Floats, cells: NDArray[np.int64]) -> Floats:
        at = rows[cells]
        return cdf(points, weights[at], [c.take(at) for c in components]) - level[cells]

    under_low, over_high = excess(low, open_), excess(high, open_)
    for _ in range(_MOST_STEPS):
        if not len(open_):
            break
        rise = over_high - under_low
        share = np.where(rise > 0, -under_low / np.where(rise > 0, rise, 1), 0.5)
        point = low + np.clip(share, 0.01, 0.99) * (high - low)
        value = excess(point, open_)
        under = value < 0
        # the end that stays counts half: it would stay for ever else
        under_low = np.where(under, value, under_low / 2)
        over_high = np.where(under, over_high / 2, value)
        low, high = np.where(under, point, low), np.where(under, high, point)
        close = np.abs(value) < _CLOSE
        found[open_] = np.where(close, point, high)
        going = ~close & _is_open(low, high)
        open_, low, high = open_[going], low[going], high[going]
        under_low, over_high = under_low[going], over_high[going]
    return np.maximum.accumulate(found.reshape(len(weights), len(levels)), axis=1)


def _has_atom(component: Component) -> bool:
    return component.family.support == "zero or positive"


def _is_open(low: Floats, high: Floats) -> NDArray[np.bool_]:
    wide: NDArray[np.bool_] = high - low > _NARROW * (np.abs(low) + np.abs(high))
    return wide
