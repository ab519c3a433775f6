"""Split conformal calibration of quantile intervals (CQR)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.errors import BaselineError

CONFORMAL_VERSION = 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Conformal:
    """How far both ends of an interval move, in the unit of the target."""

    interval: float  #: nominal coverage
    offset: float  #: added above and taken off below; negative tightens; inf: too few rows
    rows: int  #: rows with an outcome that it was measured on

    @property
    def label(self) -> str:
        """Return one line for records, such as ``cqr 90% +0.31 (n=8760)``."""
        size = f"{self.offset:+.4g}" if math.isfinite(self.offset) else "infinite: too few rows"
        return f"cqr {self.interval:.4g} {size} (n={self.rows})"

    def apply(self, lower: ArrayLike, upper: ArrayLike) -> tuple[Floats, Floats]:
        """Return the calibrated ends.

        Where a negative offset would make the ends cross, both become the middle of the interval.
        An infinite offset gives (−inf, inf): the honest interval when rows are too few.
        """
        lo = np.asarray(lower, np.float64) - self.offset
        hi = np.asarray(upper, np.float64) + self.offset
        middle = (np.asarray(lower, np.float64) + np.asarray(upper, np.float64)) / 2
        crossed = lo > hi
        return np.where(crossed, middle, lo), np.where(crossed, middle, hi)

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON values; an infinite offset is null."""
        return {
            "version": CONFORMAL_VERSION,
            "interval": self.interval,
            "offset": self.offset if math.isfinite(self.offset) else None,
            "rows": self.rows,
        }


def calibrate(lower: ArrayLike, upper: ArrayLike, outcome: ArrayLike, interval: float) -> Conformal:
    """Conformalised quantile regression (Romano, Patterson and Candès, NeurIPS 2019, Algorithm 1).

    The score of a row is E = max(lower − y, y − upper); the offset is the ⌈(n + 1)(1 − α)⌉-th
    smallest of the n scores, α = 1 − interval.

    What is guaranteed. When the ends come from a model that never saw these rows and the rows are
    exchangeable with the next one, the calibrated interval holds its outcome with probability at
    least 1 − α, and at most 1 − α + 1/(n + 1) when scores have no ties. With out-of-fold ends of K
    folds, which is how the pipeline calls it, scores come from K models and the next row from one
    refitted on all rows: the theory (CV+ and jackknife+, Barber et al., Annals of Statistics 2021)
    then gives 1 − 2α − √(2/n) for a close relative of this interval, and about 1 − α is seen in
    practice. Nothing is guaranteed once the stream drifts; the coverage monitor is for that.

    Parameters
    ----------
    lower, upper, outcome : arrays, shape (n,)
        Unit of the target; rows with a NaN in any of them are left out.
    interval : float in (0, 1)

    Returns
    -------
    Conformal
        Its offset is infinite when n < (1 − α)/α, where no finite one keeps the promise.
    """
    lo, hi, y = (np.asarray(part, np.float64) for part in (lower, upper, outcome))
    scores = np.maximum(lo - y, y - hi)
    scores = scores[~np.isnan(scores)]
    # the small number keeps (n + 1)(1 − α) that is whole in arithmetic from rounding up
    rank = math.ceil((len(scores) + 1) * interval - 1e-9)
    offset = math.inf
    if rank <= len(scores):
        offset = float(np.partition(scores, rank - 1)[rank - 1])
    return Conformal(interval=interval, offset=offset, rows=len(scores))


def from_dict(state: Mapping[str, object]) -> Conformal:
    """Return what `Conformal.to_dict` wrote.

    Raises
    ------
    BaselineError
        When it was written by another version, or is damaged.
    """
    if state.get("version") != CONFORMAL_VERSION:
        raise BaselineError(
            f"calibration has version {state.get('version')!r}, this program reads "
            f"{CONFORMAL_VERSION}; run `tidegauge fit` again"
        )
    try:
        offset = state["offset"]
        return Conformal(
            interval=float(str(state["interval"])),
            offset=math.inf if offset is None else float(str(offset)),
            rows=int(str(state["rows"])),
        )
    except (KeyError, ValueError) as error:
        raise BaselineError(
            f"calibration is damaged ({error}); run `tidegauge fit` again"
        ) from error
