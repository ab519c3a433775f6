"""What local weights are computed from: the members' forecasts of a row, and its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.design import Design, learn_design

Floats = NDArray[np.float64]

SUMMARIES = 3  # inputs that come from the forecasts, before those of the features


@dataclass(frozen=True, slots=True)
class Inputs:
    """How inputs are made; learnt from the rows that weights are fitted on."""

    summaries: Design
    features: Design

    def columns(self, members: Floats, X: Floats) -> Floats:
        """Return the inputs of each row, shape (n, inputs), the `SUMMARIES` first.

        Parameters
        ----------
        members : float64 array, shape (n, members, levels)
        X : float64 array, shape (n, features), NaN where missing.
        """
        return np.hstack([self.summaries.matrix(_summaries(members)), self.features.matrix(X)])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"summaries": self.summaries.to_dict(), "features": self.features.to_dict()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Inputs:
        """Return what `to_dict` wrote."""
        return cls(Design.from_dict(state["summaries"]), Design.from_dict(state["features"]))


def learn_inputs(members: Floats, X: Floats, categories: Sequence[int]) -> Inputs:
    """Learn centres and units of the inputs."""
    return Inputs(learn_design(_summaries(members), ()), learn_design(X, categories))


def _summaries(members: Floats) -> Floats:
    """Mean of the medians, log of the mean width, log of how far the medians disagree by it.

    Which member is right often shows in what all of them say: far out, or where they are unsure.
    """
    median = members[:, :, members.shape[2] // 2]
    centre = median.mean(axis=1)
    width = (members[:, :, -1] - members[:, :, 0]).mean(axis=1)
    width = np.maximum(width, np.finfo(np.float64).tiny)
    apart = np.abs(median - centre[:, None]).mean(axis=1) / width
    return np.column_stack([centre, np.log(width), np.log(np.minimum(apart, 1e6) + 0.01)])
