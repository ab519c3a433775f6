"""The shares of a change of loss, as they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What one mechanism contributed to a change of loss."""

    mechanism: str  #: such as ``LGA.temp given the others``
    columns: tuple[str, ...]  #: the columns whose law it is
    amount: float  #: in units of the loss
    low: float  #: of its interval, at the attribution's level
    high: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """A change of loss, divided over mechanisms."""

    target: str
    loss: str  #: such as ``pinball loss``
    unit: str | None  #: of the target, and so of the loss
    before: float  #: mean loss of the reference
    after: float | None  #: mean loss of the window; None before its labels are there
    shares: Sequence[Share]
    unexplained: float  #: measured change less the sum of the shares; 0 before the labels
    level: float  #: of the intervals
    effective_rows: float  #: least effective sample size of the weights
    note: str | None = None  #: why there are no shares, or how far to trust them
