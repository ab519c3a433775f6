"""Any quantile from a location, a scale and the residuals of other rows (CRUDE)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from schemas.errors import BaselineError
from transforms.calibrate.online import Floats

CRUDE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Crude:
    """Standardised residuals of the calibration rows, in increasing order.

    Zelikman, Healy, Zhou and Avati, arXiv 2005.12496, algorithm 1; with rank ⌈p(n + 1)⌉ for its
    ⌊pn⌋ this is a normalised split-conformal predictive system: on exchangeable rows the outcome
    lies at or below quantile p with probability at least p, and less than p + 1/(n + 1).
    """

    residuals: tuple[float, ...]  #: (y − μ)/σ

    def quantiles(
        self, location: ArrayLike, scale: ArrayLike, levels: Sequence[float] | Floats
    ) -> Floats:
        """Return μ + σ ε_(⌈p(n + 1)⌉) of each row at each level, shape (m, k).

        Beyond the ranks there are, above n/(n + 1), it is infinite.
        """
        mu, sigma = (np.asarray(part, np.float64)[:, None] for part in (location, scale))
        ordered = np.array([-np.inf, *self.residuals, np.inf])
        count = len(self.residuals)
        # the small number keeps a rank that is whole in arithmetic from rounding up
        rank = np.ceil(np.asarray(levels) * (count + 1) - 1e-9).astype(int)
        found: Floats = mu + sigma * ordered[np.clip(rank, 1, count + 1)]
        return found

    def cdf(self, location: ArrayLike, scale: ArrayLike, outcome: ArrayLike) -> Floats:
        """Return the share of residuals at or below each row's own, of n + 1; shape (m,)."""
        mu, sigma, y = (np.asarray(part, np.float64) for part in (location, scale, outcome))
        rank = np.searchsorted(self.residuals, (y - mu) / sigma, side="right")
        return np.asarray(rank / (len(self.residuals) + 1), np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"version": CRUDE_VERSION, "residuals": list(self.residuals)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Crude:
        """Return what `to_dict` wrote.

        Raises
        ------
        BaselineError
            When it was written by another version, or is damaged.
        """
        if state.get("version") != CRUDE_VERSION or "residuals" not in state:
            raise BaselineError(
                f"residuals of version {state.get('version')!r} cannot be read, this program reads "
                f"{CRUDE_VERSION}; run `tidegauge fit` again"
            )
        return cls(residuals=tuple(map(float, state["residuals"])))


def fit_crude(location: ArrayLike, scale: ArrayLike, outcome: ArrayLike) -> Crude:
    """Return the standardised residuals of rows whose outcome is known.

    Parameters
    ----------
    location, scale, outcome : arrays, shape (n,)
        By a model that never saw these rows; scale > 0. Rows with a NaN are left out.
    """
    mu, sigma, y = (np.asarray(part, np.float64) for part in (location, scale, outcome))
    residuals = (y - mu) / sigma
    return Crude(tuple(np.sort(residuals[~np.isnan(residuals)]).tolist()))
