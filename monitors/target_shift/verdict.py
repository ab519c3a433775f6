"""What is said of a target whose distribution may have moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class TargetShift:
    """Target shift (P(y) moved, P(x|y) did not) against covariate shift, for one window."""

    target: str
    verdict: Literal["none", "target", "covariate", "both", "unknown"]
    p_moved: float  #: p-value of: the inputs are distributed as in the reference
    p_target: float | None  #: p-value of: target shift alone explains the window's inputs
    p_covariate: float | None  #: p-value of: P(y|x) is as before; None without labels
    mean_before: float  #: of the target, in its unit
    mean_after: float  #: as the weights say it is in the window; needs no labels
    effective_rows: float  #: of the weighted reference
    sentence: str
