"""What kind of change moved a feature: a sensor's fault as a person would name it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "offset",
    "scale",
    "stuck",
    "replay",
    "noise",
    "lag",
    "unit",
    "swapped",
    "clipped",
    "missing",
    "drift",
    "dependence",
    "outside",
    "unseen",
    "category",
]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How one feature moved in one window, given the others."""

    kind: Kind | None  #: None: as in the reference
    sentence: str  #: follows the feature's name; the explanation of its finding
    #: in `unit`: offset, drift; a factor: scale, noise; a share: missing; in seconds: lag
    amount: float | None = None
    unit: str | None = None
    since: datetime | None = None  #: when within the window it began, where that can be told
    partner: str | None = None  #: the sensor it was swapped with
