"""Shapes of regions in residual space, each with a signed level: how far in or out a point is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.spatial import KDTree

from schemas.errors import ReferenceDataError

Floats = NDArray[np.float64]

_FEWEST_ROWS = 30  # of residuals, per target
_NEIGHBOURS = 10  # whose distance tells how dense residuals are
_TOGETHER = 0.9  # quantile of the distances to the nearest neighbour: points so near are inside
_MOST_POINTS = 4000  # of a cloud: more cost time and state, and move its edge little


class Shape(Protocol):
    """A region in the space of standardised residuals."""

    kind: ClassVar[str]

    def level(self, points: Floats) -> Floats:
        """Return how far each point is outside (inside: negative), shape (n,); NaN for NaN."""

    def bounds(self, margin: float) -> tuple[Floats, Floats]:
        """Return a box that holds {level ≤ margin}: lower and upper corner, shape (d,)."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_dict` wrote."""


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """A centre and a covariance; the level is the Mahalanobis distance less that of coverage."""

    kind: ClassVar[str] = "ellipsoid"
    centre: Floats  #: shape (d,)
    covariance: Floats  #: shape (d, d)
    radius: float  #: of the base region

    def level(self, points: Floats) -> Floats:
        """Return the Mahalanobis distance less the radius."""
        root = np.linalg.cholesky(self.covariance)
        away = np.linalg.solve(root, (points - self.centre).T)
        level: Floats = np.sqrt((away**2).sum(axis=0)) - self.radius
        return level

    def bounds(self, margin: float) -> tuple[Floats, Floats]:
        """Return the box around the ellipsoid."""
        reach = max(self.radius + margin, 0.0) * np.sqrt(np.diag(self.covariance))
        return self.centre - reach, self.centre + reach

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "centre": self.centre.tolist(),
            "covariance": self.covariance.tolist(),
            "radius": self.radius,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_dict` wrote."""
        return cls(np.array(state["centre"]), np.array(state["covariance"]), state["radius"])


@dataclass(frozen=True, slots=True)
class HalfSpaces:
    """An intersection of half-spaces uᵀz ≥ f; the level is that of the one passed furthest."""

    kind: ClassVar[str] = "half_spaces"
    directions: Floats  #: unit vectors, shape (m, d); the first 2 d are the axes, both ways
    offsets: Floats  #: f, shape (m,)

    def level(self, points: Floats) -> Floats:
        """Return max_u (f_u − uᵀz): exact inside and off faces, a little low off corners."""
        level: Floats = (self.offsets[:, None] - self.directions @ points.T).max(axis=0)
        return level

    def bounds(self, margin: float) -> tuple[Floats, Floats]:
        """Return the box that the axes' half-spaces bound."""
        d = self.directions.shape[1]
        low, high = self.offsets[:d] - margin, margin - self.offsets[d : 2 * d]
        return low, np.maximum(low, high)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"directions": self.directions.tolist(), "offsets": self.offsets.tolist()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_dict` wrote."""
        return cls(np.array(state["directions"]), np.array(state["offsets"]))


@dataclass(frozen=True, slots=True)
class Cloud:
    """What lies near the points of a cloud; it may be bent, or in several parts."""

    kind: ClassVar[str] = "cloud"
    inside: Floats  #: shape (a, d)
    outside: Floats  #: shape (b, d)
    reach: float  #: a point nearer than this to the cloud is inside it
    _trees: tuple[KDTree, KDTree] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_trees", (KDTree(self.inside), KDTree(self.outside)))

    def level(self, points: Floats) -> Floats:
        """Return the distance to the cloud, or for points inside minus that to what is outside."""
        level = np.full(len(points), np.nan)
        known = ~np.isnan(points).any(axis=1)
        near, far = (tree.query(points[known])[0] for tree in self._trees)
        level[known] = np.where(near < self.reach, -far, near)
        return level

    def bounds(self, margin: float) -> tuple[Floats, Floats]:
        """Return the box around the balls about the points."""
        reach = max(self.reach, margin)
        return self.inside.min(axis=0) - reach, self.inside.max(axis=0) + reach

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "inside": self.inside.tolist(),
            "outside": self.outside.tolist(),
            "reach": self.reach,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_dict` wrote."""
        return cls(np.array(state["inside"]), np.array(state["outside"]), state["reach"])


SHAPES: Mapping[str, type[Shape]] = {s.kind: s for s in (Ellipsoid, HalfSpaces, Cloud)}


def fit_ellipsoid(residuals: Floats, coverage: float) -> Ellipsoid:
    """Fit the ellipsoid that would have the coverage if residuals were normal.

    Parameters
    ----------
    residuals : array, shape (n, d)
        Standardised, of rows that calibration will not see; rows with a NaN are left out.
    coverage : float in (0, 1)

    Raises
    ------
    ReferenceDataError
        When rows are too few, or a target's residual never changes.
    """
    z = _usable(residuals)
    d = z.shape[1]
    covariance = np.atleast_2d(np.cov(z, rowvar=False))
    # a thousandth of it is the variances alone: targets that determine each other are allowed
    covariance = 0.999 * covariance + 0.001 * np.diag(np.diag(covariance))
    return Ellipsoid(z.mean(axis=0), covariance, _normal_radius(d, coverage))


def fit_half_spaces(
    residuals: Floats, coverage: float, directions: int = 64, seed: int = 0
) -> HalfSpaces:
    """Fit directional quantiles: in each direction u, the α-quantile of uᵀz bounds a half-space.

    {z : uᵀz ≥ f_u for all u} (Kong and Mizera, Statistica Sinica 2012) is Tukey's depth region. α
    is that at which it would have the coverage if residuals were normal,
    Φ(−√(χ²_d quantile of coverage)): half-spaces at level 1 − coverage would hold far too little.

    Parameters
    ----------
    residuals, coverage
        As for `fit_ellipsoid`.
    directions : int
        Beside the axes: evenly spread in two dimensions, random in more.
    """
    z = _usable(residuals)
    d = z.shape[1]
    if d == 2:
        angle = 2 * np.pi * np.arange(directions) / directions
        u = np.column_stack([np.cos(angle), np.sin(angle)])
    else:
        u = np.random.default_rng(seed).normal(size=(directions, d))
        u /= np.linalg.norm(u, axis=1, keepdims=True)
    u = np.vstack([np.eye(d), -np.eye(d), u])
    alpha = float(special.ndtr(-_normal_radius(d, coverage)))
    return HalfSpaces(u, np.quantile(u @ z.T, alpha, axis=1))


def fit_cloud(residuals: Floats, coverage: float) -> Cloud:
    """Take the densest residuals as the cloud, and the others as what is outside of it.

    The cloud is the share of residuals whose tenth neighbour is nearest: the region of highest
    density, estimated by distances (Loftsgaarden and Quesenberry, Annals of Mathematical Statistics
    1965), which may be of any form. A point is inside it when it is nearer to it than nine in ten
    of its own points are to each other, as in ST-DQR.

    Parameters
    ----------
    residuals, coverage
        As for `fit_ellipsoid`; evenly thinned to 4,000 rows.

    Raises
    ------
    ReferenceDataError
        As for `fit_ellipsoid`, or when residuals repeat so often that all are equally dense.
    """
    z = _usable(residuals)
    z = z[:: -(-len(z) // _MOST_POINTS)]
    sparse = KDTree(z).query(z, k=_NEIGHBOURS + 1)[0][:, -1]
    dense = sparse <= np.quantile(sparse, coverage)
    if dense.all():
        message = (
            "residuals repeat so often that none is sparser than the others; a cloud has no edge "
            "there: take an ellipsoid or half-spaces"
        )
        raise ReferenceDataError(message)
    inside = z[dense]
    nearest = KDTree(inside).query(inside, k=2)[0][:, 1]
    return Cloud(inside, z[~dense], float(np.quantile(nearest, _TOGETHER)))


def _normal_radius(d: int, coverage: float) -> float:
    """Radius of the ball with so much of a standard normal law: the root of χ²_d's quantile."""
    return math.sqrt(2 * special.gammaincinv(d / 2, coverage))


def _usable(residuals: Floats) -> Floats:
    z = np.asarray(residuals, np.float64)
    z = z[np.isfinite(z).all(axis=1)]
    if len(z) < _FEWEST_ROWS * z.shape[1]:
        raise ReferenceDataError(
            f"{len(z)} rows have all {z.shape[1]} targets; a region of so many needs "
            f"{_FEWEST_ROWS * z.shape[1]}: give a longer reference, or fewer targets"
        )
    if (still := np.ptp(z, axis=0) == 0).any():
        raise ReferenceDataError(
            f"the residual of target {int(np.argmax(still))} is the same in all rows; a region "
            "needs targets that vary: leave it out"
        )
    return z
