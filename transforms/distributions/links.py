"""Links: from raw scores, which a model may move anywhere, to parameters within their bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Link:
    """A link of one parameter."""

    name: str
    inverse: Callable[[Floats], Floats]  #: from raw scores to the parameter
    slope: Callable[[Floats], Floats]  #: derivative of the parameter in the raw score, there


def _above_two(raw: Floats) -> Floats:
    return 2 + np.logaddexp(0, raw)


def _logit_slope(raw: Floats) -> Floats:
    chance: Floats = expit(raw)
    return chance * (1 - chance)


def _tanh_slope(raw: Floats) -> Floats:
    return 1 - np.tanh(raw) ** 2


IDENTITY = Link("identity", np.asarray, np.ones_like)
LOG = Link("log", np.exp, np.exp)
LOGIT = Link("logit", expit, _logit_slope)
ARTANH = Link("artanh", np.tanh, _tanh_slope)
#: for degrees of freedom: 2 + softplus, so that the variance is finite
ABOVE_TWO = Link("above two", _above_two, expit)
