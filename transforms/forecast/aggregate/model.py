"""A weighted average of forecasters, as a kind of forecaster of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.aggregate.weights import Weights
from transforms.forecast.training import QuantileModel

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Fitted members, and their weights."""

    kind: ClassVar[str] = "aggregate"
    members: tuple[QuantileModel, ...]
    weights: Weights

    @property
    def boosters(self) -> tuple[str, ...]:
        """Return those of all members, in order."""
        return tuple(text for member in self.members for text in member.boosters)

    @property
    def shares(self) -> tuple[float, ...]:
        """Return the weight of each member, on average over levels; see `Weights.shares`."""
        return tuple(self.weights.shares(len(self.members)).tolist())

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        forecasts = np.stack([member.quantiles(X) for member in self.members], axis=1)
        return self.weights.combine(forecasts, X)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the boosters as JSON values."""
        members = [
            {"kind": member.kind, "boosters": len(member.boosters), "model": member.to_dict()}
            for member in self.members
        ]
        return {"members": members, "weights": self.weights.to_dict()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> Aggregate:
        """Return what `to_dict` wrote."""
        from transforms.forecast.kinds import MODELS  # which lists this kind as well

        members, first = [], 0
        for member in state["members"]:
            last = first + member["boosters"]
            model = MODELS[member["kind"]]
            members.append(model.from_dict(member["model"], boosters[first:last]))
            first = last
        return cls(tuple(members), Weights.from_dict(state["weights"]))
