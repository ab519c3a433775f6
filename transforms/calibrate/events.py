"""Calibration of the probability of an event, which goes on as its labels come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from schemas.errors import BaselineError, TidegaugeError

EVENTS_VERSION = 1

Floats = NDArray[np.float64]

_IDENTITY = np.array([1.0, 1.0, 0.0])  # the map that changes nothing
#: information in the prior, worth a few labels: more would keep short memories near the identity
_PRIOR = np.diag([0.5, 0.5, 0.25])
_FURTHEST = 1e-4  # probabilities nearer to 0 or 1 would move a map by single labels
_SUREST = 1e-6  # that a calibrated probability is: labels cannot tell more
#: weight of a label against the next one, for each map: memories of 200, 1,000 and 5,000 labels
_FORGET = np.array([0.995, 0.999, 0.9998])
_TRUST_FORGET = 0.998  # of what maps predicted: which memory serves best may change
_LEAST_TRUST = 1e-6  # a map that failed can come back


@dataclass(frozen=True, slots=True, eq=False)
class EventCalibration:
    """Maps p ↦ σ(a log p − b log(1 − p) + c) of several memories, and how far each is trusted.

    The family is beta calibration's (Kull, Silva Filho and Flach, AISTATS 2017): Platt's where
    a = b, and it holds the identity. A map is learnt label by label, each to its maximum, with
    information that fades, from a prior at the identity that keeps its place as labels fade; maps
    are mixed by how well each predicted the labels so far, which fades as well (dynamic logistic
    regression and model averaging: McCormick, Raftery, Madigan and Burd, Biometrics 2012, §2). So a
    long memory serves while nothing changes, and a short one after a change. A label counts when it
    comes, however late: nothing is stored but the maps.
    """

    weights: Floats  #: a, b ≥ 0 and c of each map, shape (maps, 3)
    information: Floats  #: shape (maps, 3, 3)
    trust: Floats  #: sums to 1, shape (maps,)
    labels: int = 0  #: learnt

    @classmethod
    def start(cls) -> EventCalibration:
        """Return the identity, before any label."""
        maps = len(_FORGET)
        return cls(
            weights=np.tile(_IDENTITY, (maps, 1)),
            information=np.tile(_PRIOR, (maps, 1, 1)),
            trust=np.full(maps, 1 / maps),
        )

    def apply(self, probability: ArrayLike) -> Floats:
        """Return calibrated probabilities.

        Parameters
        ----------
        probability : array, shape (n,), in [0, 1]
            From a classifier, or that a forecast exceeds a limit (`transforms.decisions`).

        Returns
        -------
        float64 array, shape (n,)
            Inside (0, 1), non-decreasing in the probability; NaN where that is NaN.
        """
        mixed: Floats = special.expit(_features(probability) @ self.weights.T) @ self.trust
        return np.clip(mixed, _SUREST, 1 - _SUREST)

    def learn(self, probability: ArrayLike, event: ArrayLike) -> EventCalibration:
        """Return the calibration after some labels, in the order in which they came.

        Parameters
        ----------
        probability : array, shape (n,)
            As it was given to `apply`, not as it came out.
        event : bool or 0/1 array, shape (n,)
            Whether it happened. Rows with a NaN in either are left out.

        Raises
        ------
        TidegaugeError
            When a label is neither 0 nor 1.
        """
        p, came = np.asarray(probability, np.float64), np.asarray(event, np.float64)
        known = ~(np.isnan(p) | np.isnan(came))
        if (odd := came[known & (came != 0) & (came != 1)]).size:
            raise TidegaugeError(f"an event is 0 or 1, and a label is {odd[0]:g}")
        weights, information, trust = self.weights, self.information, self.trust
        for x, label in zip(_features(p[known]), came[known], strict=True):
            chance = np.clip(special.expit(weights @ x), _SUREST, 1 - _SUREST)
            trust = np.maximum(trust**_TRUST_FORGET, _LEAST_TRUST)
            trust = trust * np.abs(1 - label - chance)  # what each map gave to what happened
            trust = trust / trust.sum()
            weights, information = _learnt(weights, information, x, float(label))
        return EventCalibration(weights, information, trust, self.labels + int(known.sum()))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "version": EVENTS_VERSION,
            "weights": self.weights.tolist(),
            "information": self.information.tolist(),
            "trust": self.trust.tolist(),
            "labels": self.labels,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> EventCalibration:
        """Return what `to_dict` wrote.

        Raises
        ------
        BaselineError
            When it was written by another version, or is damaged.
        """
        if state.get("version") != EVENTS_VERSION:
            raise BaselineError(
                f"calibration of events has version {state.get('version')!r}, this program reads "
                f"{EVENTS_VERSION}; run `tidegauge fit` again"
            )
        maps = len(_FORGET)
        try:
            return cls(
                weights=np.array(state["weights"], np.float64).reshape(maps, 3),
                information=np.array(state["information"], np.float64).reshape(maps, 3, 3),
                trust=np.array(state["trust"], np.float64).reshape(maps),
                labels=int(state["labels"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BaselineError(
                f"calibration of events is damaged ({error}); run `tidegauge fit` again"
            ) from error


def _features(probability: ArrayLike) -> Floats:
    """Return log p, −log(1 − p) and 1 of each probability, shape (n, 3)."""
    p = np.clip(np.asarray(probability, np.float64), _FURTHEST, 1 - _FURTHEST)
    return np.column_stack([np.log(p), -np.log1p(-p), np.ones_like(p)])


def _learnt(weights: Floats, information: Floats, x: Floats, label: float) -> tuple[Floats, Floats]:
    """Fade what was learnt towards the prior, then move each map to the maximum with one label."""
    fade = (1 - _FORGET)[:, None, None]
    information = (1 - fade) * information + fade * _PRIOR
    pull = (1 - _FORGET)[:, None] * ((_IDENTITY - weights) @ _PRIOR)
    both = np.stack([pull, np.tile(x, (len(weights), 1))], axis=-1)  # shape (maps, 3, 2)
    back, towards = np.moveaxis(np.linalg.solve(information, both), -1, 0)
    weights = weights + back
    moves = zip((weights @ x).tolist(), (towards @ x).tolist(), strict=True)
    steps = np.array([_step(label, logit, leverage) for logit, leverage in moves])
    weights = weights + steps[:, None] * towards
    weights[:, :2] = np.maximum(weights[:, :2], 0.0)
    chance = np.abs(label - steps)  # at the new maximum
    return weights, information + (chance * (1 - chance))[:, None, None] * np.outer(x, x)


def _step(label: float, logit: float, leverage: float) -> float:
    """Solve s = label − σ(logit + leverage s): how far along its direction a label moves a map.

    There, the likelihood of the one label times a normal prior is largest; a Newton step would
    overshoot where the map was sure and wrong. By bisection: s is in [label − 1, label].
    """
    low, high = label - 1, label
    for _ in range(40):
        middle = (low + high) / 2
        against = min(-logit - leverage * middle, 700.0)  # its exponential is still a float
        if middle + 1 / (1 + math.exp(against)) > label:
            high = middle
        else:
            low = middle
    return (low + high) / 2
