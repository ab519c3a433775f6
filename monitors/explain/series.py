"""The rows that an explanation is fitted to, and what a sound sensor reads in them.

No window is quite like the reference: a sound sensor's residuals may be off a little, and wider or
narrower, and its slope may not be quite 1 in it. What stays within `STEADY`, `OFF` and `SLOPE` is
therefore free to every explanation that has the expected value in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.explain.diagnosis import Kind
from monitors.explain.residual_law import (
    ResidualLaw,
    log_student,
    student_regression,
    student_scale,
)
from monitors.explain.units import Conversion

STEADY = 1.5  # times wider or narrower
OFF = 0.5  # scales of the residual
SLOPE = 1.2
GROSS = 0.01  # share of the rows of any window that may read anything
WIDE = 5.0  # degrees of freedom of residuals that are no sound sensor's


@dataclass(frozen=True, slots=True)
class Series:
    """The rows of a window that have a value, in the order of time."""

    times: NDArray[np.int64] | None  #: µs since 1970
    observed: FloatArray
    expected: FloatArray
    scale: FloatArray  #: of a sound sensor's residual
    cell: float  #: width of the cells whose probabilities are compared, in the unit
    usual: FloatArray | None = None  #: log probability of each value in the reference, by itself
    ends: tuple[float, float] = (-np.inf, np.inf)  #: least and greatest value of the reference

    def part(self, start: int = 0, stop: int | None = None) -> Series:
        """Return some of the rows."""
        rows = slice(start, stop)
        return replace(
            self,
            times=None if self.times is None else self.times[rows],
            observed=self.observed[rows],
            expected=self.expected[rows],
            scale=self.scale[rows],
            usual=None if self.usual is None else self.usual[rows],
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.observed)


@dataclass(frozen=True, slots=True)
class Explanation:
    """One law of the observed values, and how probable it makes each row."""

    kind: Kind | None  #: None: nothing has changed
    log_mass: FloatArray  #: shape (rows,)
    cost: float  #: log of how many values its parameters could have had
    size: float | None = None
    conversion: Conversion | None = None
    above: bool = False  #: clipped: the values above the limit are cut off


def sound(rows: Series, law: ResidualLaw, like: Series | None = None) -> Explanation:
    """Return the explanation that nothing has changed.

    Parameters
    ----------
    like : rows that show how this window differs from the reference without a fault; all, if None.
    """
    like = rows if like is None else like
    residual, slope = near_level(like, like.expected, law)
    off = np.clip(np.median(residual / like.scale), -OFF, OFF)
    own = (residual / like.scale - off) / slope
    stretch = slope * np.clip(student_scale(own, law.degrees), 1 / STEADY, STEADY)
    middle = float(np.median(like.expected))
    residual = rows.observed - middle - slope * (rows.expected - middle) - off * rows.scale
    return Explanation(None, cell_mass(law.log_density(residual, stretch * rows.scale), rows), 0)


def steady_mass(
    residual: FloatArray, scale: FloatArray, law: ResidualLaw, rows: Series
) -> FloatArray:
    """Return the log probabilities of residuals that may be off and wider a little."""
    off = np.clip(np.median(residual / scale), -OFF, OFF)
    return plain_mass(residual - off * scale, scale, law, rows)


def plain_mass(
    residual: FloatArray, scale: FloatArray, law: ResidualLaw, rows: Series
) -> FloatArray:
    """Return the log probabilities of residuals that may be wider or narrower a little."""
    stretch = np.clip(student_scale(residual / scale, law.degrees), 1 / STEADY, STEADY)
    return cell_mass(law.log_density(residual, scale * stretch), rows)


def cell_mass(log_density: FloatArray, rows: Series) -> FloatArray:
    """Return the log probabilities of cells from the log densities in them.

    Some rows are gross errors, spread over the reference's range (Huber 1964, §1): a single wild
    value is no reason to prefer a law with a wide spread.
    """
    mass: FloatArray = np.minimum(log_density + np.log(rows.cell), 0.0)
    low, high = rows.ends
    if np.isfinite(high - low):
        mass = np.logaddexp(mass, np.log(GROSS * rows.cell / max(high - low, rows.cell)))
    return mass


def near_level(rows: Series, expected: FloatArray, law: ResidualLaw) -> tuple[FloatArray, float]:
    """Return the residuals about a slope near 1, through the middle of what is expected."""
    middle = float(np.median(expected))
    design = np.column_stack([np.ones(len(rows)), expected - middle])
    (_, slope), _ = student_regression(rows.observed, design, rows.scale, law.degrees)
    near = float(np.clip(slope, 1 / SLOPE, SLOPE))
    return rows.observed - middle - near * (expected - middle), near


def wide_mass(
    residual: FloatArray, law: ResidualLaw, rows: Series, spread: float | None = None
) -> FloatArray:
    """Return the log probabilities of residuals that are no sound sensor's: Student's, one scale.

    Parameters
    ----------
    spread : their standard deviation; the likeliest where it is not given.
    """
    scale = student_scale(residual, WIDE) if spread is None else spread * np.sqrt(1 - 2 / WIDE)
    scale = max(float(scale), law.floor)
    density = log_student(residual / scale, WIDE) - np.log(scale)
    return cell_mass(density, rows)
