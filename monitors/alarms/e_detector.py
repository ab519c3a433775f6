"""The e-detector: evidence adds up over windows, so that a ramp is seen that no window shows.

A Shiryaev–Roberts e-detector (Shin, Ramdas and Rinaldo, *E-detectors*, New England Journal of
Statistics in Data Science 2023): M_n = (M_{n−1} + 1) e_n, where e_n is an e-value of window n given
all windows before. Then M_n − n has no upward drift under the null, and by optional stopping the
first n with M_n ≥ c comes after c windows on average, or later. The mean of several e-detectors is
one, so each is kept for a few κ of the e-values κ p^(κ − 1): the best of them wins, for small
steady evidence as for large.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitors.alarms.e_values import power

KAPPAS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, slots=True)
class Detector:
    """The state of the e-detector of one subject."""

    values: tuple[float, ...] = (0.0,) * len(KAPPAS)  #: one per κ

    @property
    def value(self) -> float:
        """What is held against the threshold: an average run length to a false alarm, or longer."""
        return sum(self.values) / len(self.values)

    def after(self, p: float) -> Detector:
        """Return the state after a window with this p-value."""
        pairs = zip(self.values, KAPPAS, strict=True)
        return Detector(tuple((value + 1.0) * power(p, kappa) for value, kappa in pairs))
