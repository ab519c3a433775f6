"""Weights of forecasters, and the quantiles that they add up to.

Deep quantile aggregation (Fakoor, Kim, Mueller, Smola and Tibshirani, JMLR 2023, §3) in its linear
form. With q_j(x; ν) the quantile at level ν of member j, and weights that are positive and sum to 1
(softmax of logits), the quantile at level τ is, before sorting,

- coarse: Σ_j w_j q_j(x; τ);
- medium: Σ_j w_{jτ} q_j(x; τ);
- fine: Σ_j Σ_ν w_{jντ} q_j(x; ν).

The weights are global, or local: functions of the row, through logits linear in its inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.aggregate.inputs import Inputs
from transforms.isotonic import sort_quantiles

Floats = NDArray[np.float64]
Grain = Literal["coarse", "medium", "fine"]

_ROWS_AT_ONCE = 4096  # bounds the memory of local weights


@dataclass(frozen=True, slots=True)
class Weights:
    """Fitted weights of some members."""

    grain: Grain
    #: shape (1 + inputs, sources, made): the bias first; sources are the members, or for fine the
    #: members' levels; made is 1 for coarse, else the levels
    logits: Floats
    inputs: Inputs | None  #: None: global weights

    @property
    def name(self) -> str:
        """Return such as ``local medium``."""
        return self.grain if self.inputs is None else f"local {self.grain}"

    def combine(self, members: Floats, X: Floats) -> Floats:
        """Return the aggregate's quantiles.

        Parameters
        ----------
        members : float64 array, shape (n, members, levels)
        X : float64 array, shape (n, features)
            Read by local weights only.

        Returns
        -------
        float64 array, shape (n, levels), non-decreasing along levels.
        """
        sources = as_sources(self.grain, members)
        if self.inputs is None:
            return sort_quantiles(mix(softmax(self.logits), sources))
        found = np.empty((len(members), members.shape[2]))
        for start in range(0, len(members), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            columns = self.inputs.columns(members[part], X[part])
            weights = softmax(local_logits(self.logits, columns))
            found[part] = mix(weights, sources[part])
        return sort_quantiles(found)

    def shares(self, members: int) -> Floats:
        """Return the weight of each member, summed or averaged over levels, shape (members,).

        Of local weights those of the row whose inputs are all at their centre.
        """
        weights = softmax(self.logits[:1])[0]
        shares: Floats = weights.reshape(members, -1, weights.shape[1]).sum(axis=1).mean(axis=1)
        return shares

    def to_dict(self) -> dict[str, Any]:
        """Return them as JSON values."""
        return {
            "grain": self.grain,
            "logits": self.logits.tolist(),
            "inputs": None if self.inputs is None else self.inputs.to_dict(),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Weights:
        """Return what `to_dict` wrote."""
        inputs = state["inputs"]
        return cls(
            grain=state["grain"],
            logits=np.array(state["logits"], np.float64),
            inputs=None if inputs is None else Inputs.from_dict(inputs),
        )


def as_sources(grain: Grain, members: Floats) -> Floats:
    """Return what is weighed: shape (n, sources, levels), or (n, sources, 1) for fine."""
    if grain == "fine":
        return members.reshape(len(members), -1, 1)
    return members


def softmax(logits: Floats) -> Floats:
    """Return positive weights that sum to 1 over the sources, the last axis but one."""
    grown = np.exp(logits - logits.max(axis=-2, keepdims=True))
    weights: Floats = grown / grown.sum(axis=-2, keepdims=True)
    return weights


def local_logits(logits: Floats, columns: Floats) -> Floats:
    """Return the logits of each row, shape (n, sources, made)."""
    slopes = logits[1:].reshape(len(logits) - 1, -1)
    # not by @, here and below: its last bits depend on how many rows there are
    moved = np.einsum("nc,cs->ns", columns, slopes).reshape(len(columns), *logits.shape[1:])
    return np.asarray(logits[0] + moved)


def mix(weights: Floats, sources: Floats) -> Floats:
    """Return the weighted sums over the sources, shape (n, levels), unsorted.

    Parameters
    ----------
    weights : float64 array, shape (n, sources, made), or (1, sources, made) for all rows
    sources : float64 array, of `as_sources`
    """
    if len(weights) == 1 and sources.shape[2] == 1:
        return np.asarray(np.einsum("ns,st->nt", sources[:, :, 0], weights[0]))
    return np.asarray(np.einsum("nst,nst->nt", weights, sources))  # broadcasts axes of length 1
