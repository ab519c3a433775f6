"""Conformal regions for several targets at once: one set that holds all of them together.

A base region in residual space is grown or shrunk until it has its coverage: the last step of
ST-DQR (Feldman, Bates and Romano, JMLR 2023, §4), which any base region can be given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.errors import BaselineError, ReferenceDataError
from transforms.calibrate.shapes import SHAPES, Shape

REGION_VERSION = 1

Floats = NDArray[np.float64]

_POINTS = 65_536  # at which a volume is measured


@dataclass(frozen=True, slots=True)
class Region:
    """A calibrated region of d targets, the same for every row in units of the row's scale."""

    shape: Shape
    coverage: float  #: nominal, of all targets together
    margin: float  #: how far the shape was grown; negative: shrunk; inf: too few rows
    rows: int  #: that it was calibrated on

    def contains(self, location: ArrayLike, scale: ArrayLike, outcome: ArrayLike) -> Floats:
        """Return 1 where all targets fell inside together, 0 where not, NaN without an outcome.

        Parameters
        ----------
        location, scale, outcome : arrays, shape (n, d)
            Middle of each target's forecast, its unit (> 0, such as half the width of its
            interval), and what came.

        Returns
        -------
        float64 array, shape (n,)
        """
        level = self.shape.level(standardised(location, scale, outcome))
        return np.where(np.isnan(level), np.nan, (level <= self.margin).astype(np.float64))

    def volume(self, scale: ArrayLike, seed: int = 0) -> Floats:
        """Return the volume of each row's region, product of the targets' units, shape (n,).

        By 65,536 random points in the shape's bounding box, the same for all rows: right to
        √(1/share − 1)/256 of itself, where the shape fills so much of the box.
        """
        unit = np.asarray(scale, np.float64)
        if math.isinf(self.margin):
            return np.full(len(unit), math.inf)
        low, high = self.shape.bounds(self.margin)
        points = np.random.default_rng(seed).uniform(low, high, (_POINTS, len(low)))
        inside = float(np.mean(self.shape.level(points) <= self.margin))
        volume: Floats = inside * float(np.prod(high - low)) * np.prod(unit, axis=1)
        return volume

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; an infinite margin is null."""
        return {
            "version": REGION_VERSION,
            "kind": self.shape.kind,
            "shape": self.shape.to_dict(),
            "coverage": self.coverage,
            "margin": self.margin if math.isfinite(self.margin) else None,
            "rows": self.rows,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Region:
        """Return what `to_dict` wrote.

        Raises
        ------
        BaselineError
            When it was written by another version, or is damaged.
        """
        if state.get("version") != REGION_VERSION:
            raise BaselineError(
                f"a region has version {state.get('version')!r}, this program reads "
                f"{REGION_VERSION}; run `tidegauge fit` again"
            )
        try:
            margin = state["margin"]
            return cls(
                shape=SHAPES[state["kind"]].from_dict(state["shape"]),
                coverage=float(state["coverage"]),
                margin=math.inf if margin is None else float(margin),
                rows=int(state["rows"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BaselineError(
                f"a region is damaged ({error!r}); run `tidegauge fit` again"
            ) from error


def calibrate_region(
    shape: Shape, location: ArrayLike, scale: ArrayLike, outcome: ArrayLike, coverage: float
) -> Region:
    """Grow or shrink a shape until it holds its share of outcomes.

    The score of a row is the shape's level at its standardised residual, a signed distance:
    positive outside, negative inside. The margin is the ⌈(n + 1) coverage⌉-th smallest score, and
    the region {level ≤ margin}: where the shape held too few, it grows by a distance to it; where
    too many, it shrinks by one to what is outside. When rows are exchangeable with the next one,
    and neither the shape nor the forecasts have seen them, the next outcome is inside with
    probability in [coverage, coverage + 1/(n + 1)].

    Parameters
    ----------
    shape : Ellipsoid, HalfSpaces or Cloud
        Fitted on the residuals of other rows.
    location, scale, outcome : arrays, shape (n, d)
        As for `Region.contains`; rows with a NaN are left out.
    coverage : float in (0, 1)
    """
    scores = shape.level(standardised(location, scale, outcome))
    scores = scores[~np.isnan(scores)]
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)  # rounding must not add a rank
    margin = math.inf
    if rank <= len(scores):
        margin = float(np.partition(scores, rank - 1)[rank - 1])
    return Region(shape=shape, coverage=coverage, margin=margin, rows=len(scores))


def standardised(location: ArrayLike, scale: ArrayLike, outcome: ArrayLike) -> Floats:
    """Return residuals in units of each row's scale: (outcome − location) / scale, shape (n, d).

    NaN where one of them is, and where the outcome or the location is infinite.

    Raises
    ------
    ReferenceDataError
        When shapes differ, or a scale is not above 0.
    """
    middle, unit, y = (np.asarray(part, np.float64) for part in (location, scale, outcome))
    if not middle.shape == unit.shape == y.shape or y.ndim != 2:
        raise ReferenceDataError(
            f"location {middle.shape}, scale {unit.shape} and outcome {y.shape} of several targets "
            "must each be rows × targets"
        )
    if (unit <= 0).any():
        raise ReferenceDataError(
            f"the scale of target {int(np.argmax((unit <= 0).any(axis=0)))} is not above 0 in some "
            "row; a region needs a unit for every target, such as half the width of its interval"
        )
    residual: Floats = (y - middle) / unit
    residual[np.isinf(residual)] = np.nan  # no place in space
    return residual
