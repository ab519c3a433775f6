"""Several columns before and after one time: which jumped, how far, and that in a sentence.

Each column has two tests: of its quantiles (`monitors.jump.discontinuity`), and of its mean and how
its periods vary about it (`monitors.jump.jump_test`). All of them share the level by Holm's
procedure (Scandinavian Journal of Statistics 1979), so that with probability 1 − level no column
is named in which nothing jumped. The band of a column is for all its quantiles, and not widened for
the number of columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.jump.discontinuity import DRAWS, Discontinuity, discontinuity
from monitors.jump.jump_test import JumpTest, jump_test
from monitors.jump.periods import Periods

LEVELS = np.linspace(0.05, 0.95, 19)
_OTHER_VARIATION = 1.25  # ratio of deviations from which a jump of T is said to be one of them
_MEDIAN = 9  # place of 0.5 in `LEVELS`
_ROUNDING = 1e-9  # of the largest value: a smaller deviation is none


@dataclass(frozen=True, slots=True)
class ColumnJump:
    """What is known of one column before and after."""

    column: str
    unit: str | None
    jumped: bool
    p_value: float  #: the smaller one of its two tests, corrected for all tests of all columns
    quantiles: Discontinuity
    variation: JumpTest
    sentence: str

    @property
    def moved(self) -> FloatArray:
        """Levels of the quantiles that jumped."""
        return self.quantiles.outside if self.jumped else self.quantiles.levels[:0]

    def to_json(self, period: float) -> dict[str, Any]:
        """Return JSON-serialisable data; `period` is the length of a period in seconds."""
        found = self.quantiles
        largest = int(np.argmax(np.abs(found.jump)))
        return {
            "column": self.column,
            "unit": self.unit,
            "jumped": self.jumped,
            "p_value": self.p_value,
            "p_quantiles": found.p_value,
            "p_variation": self.variation.p_value,
            "p_alike": found.p_homogeneity,
            "largest": {
                "level": float(found.levels[largest]),
                "jump": float(found.jump[largest]),
                "lower": float(found.jump[largest] - found.half_width),
                "upper": float(found.jump[largest] + found.half_width),
            },
            "moved": self.moved.round(6).tolist(),
            "levels": found.levels.round(6).tolist(),
            "before": found.before.tolist(),
            "after": found.after.tolist(),
            "jump": found.jump.tolist(),
            "lower": (found.jump - found.half_width).tolist(),
            "upper": (found.jump + found.half_width).tolist(),
            "deviation": {
                "before": float(np.sqrt(self.variation.variance_before)),
                "after": float(np.sqrt(self.variation.variance_after)),
            },
            "periods": list(found.units),
            "bandwidth_seconds": found.bandwidth * period,
            "autocorrelation": found.phi,
            "sentence": self.sentence,
        }


def compare_columns(
    columns: Mapping[str, Periods],
    units: Mapping[str, str | None],
    when: str,
    *,
    level: float = 0.05,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[ColumnJump]:
    """Test every column; those that jumped come first, the surest of them at the top.

    Parameters
    ----------
    columns : the periods of each, their quantile functions at `LEVELS`, the cutoff at 0.
    units : of the columns.
    when : the cutoff, for the sentences.
    level : probability that any column is named in which nothing jumped.
    draws, seed : of the bootstrap.
    """
    tests = {}
    for name, periods in columns.items():
        functions, centre, scale = _scaled(periods.functions)
        found = discontinuity(
            periods.x,
            functions,
            0.0,
            levels=LEVELS,
            serial=True,
            alpha=level,
            draws=draws,
            seed=seed,
        )
        variation = jump_test(
            periods.x, functions, 0.0, levels=LEVELS, bandwidth=found.bandwidth, serial=True
        )
        tests[name] = _in_unit(found, variation, centre, scale)
    raw = [p for found, variation in tests.values() for p in (found.p_value, variation.p_value)]
    corrected = holm(raw).reshape(-1, 2)
    usual = {name: float(np.median(periods.rows)) for name, periods in columns.items()}
    results = [
        ColumnJump(
            column=name,
            unit=units[name],
            jumped=bool(own.min() <= level),
            p_value=float(own.min()),
            quantiles=found,
            variation=variation,
            sentence=_sentence(
                name, units[name], when, found, variation, own <= level, level, usual[name]
            ),
        )
        for (name, (found, variation)), own in zip(tests.items(), corrected, strict=True)
    ]
    return sorted(results, key=lambda one: (not one.jumped, one.p_value))


def _scaled(functions: FloatArray) -> tuple[FloatArray, float, float]:
    """Return functions about 0 and of usual size 1, and the centre and scale to undo that.

    What counts as rounding must not depend on the column's unit, nor on how far from 0 it lies.
    """
    centre = float(np.median(functions))
    about = functions - centre
    largest = float(np.abs(about).max())
    if largest <= 8.0 * np.finfo(np.float64).eps * abs(centre):
        return np.zeros_like(functions), centre, 1.0
    usual = float(np.median(np.abs(about)))
    scale = usual if usual > _ROUNDING * largest else largest
    return about / scale, centre, scale


def _in_unit(
    found: Discontinuity, variation: JumpTest, centre: float, scale: float
) -> tuple[Discontinuity, JumpTest]:
    """Undo `_scaled`; variances that are rounding are 0."""
    largest = max(float(np.abs(side).max()) for side in (found.before, found.after))
    least = (_ROUNDING * max(1.0, largest)) ** 2
    variances = [
        variance * scale**2 if variance > least else 0.0
        for variance in (variation.variance_before, variation.variance_after)
    ]
    return replace(
        found,
        before=centre + scale * found.before,
        after=centre + scale * found.after,
        half_width=scale * found.half_width,
    ), replace(
        variation,
        before=centre + scale * variation.before,
        after=centre + scale * variation.after,
        variance_before=variances[0],
        variance_after=variances[1],
    )


def holm(p_values: Sequence[float]) -> FloatArray:
    """Return p-values that hold for all tests together; shape (tests,)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    factors = np.arange(len(p), 0, -1)
    result = np.empty_like(p)
    result[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return result


def _sentence(
    name: str,
    unit: str | None,
    when: str,
    found: Discontinuity,
    variation: JumpTest,
    rejected: NDArray[np.bool_],
    level: float,
    rows: float,
) -> str:
    """Say what happened; `rows` is how many a period usually has."""
    median = f"the median by {_jump(found, _MEDIAN, unit)}"
    if not rejected.any():
        alone = ", which one of so many tests may well show by chance" if len(found.outside) else ""
        return f"{name} shows no jump at {when}: {median}{alone}"
    says = []
    if rejected[0]:
        largest = int(np.argmax(np.abs(found.jump)))
        if rows == 1.0:
            says.append(f"by {_jump(found, _MEDIAN, unit)}")
        elif found.p_homogeneity > level:
            says.append(f"{median}, and no quantile by another amount")
        else:
            if largest != _MEDIAN:
                says.append(
                    f"the {found.levels[largest]:.2g} quantile by {_jump(found, largest, unit)}"
                )
            says.append(median)
            still = np.abs(found.jump) <= found.half_width
            if still.any():
                says.append(f"no jump is shown by the quantiles {_runs(found.levels, still)}")
    if rejected[1]:
        before, after = np.sqrt(variation.variance_before), np.sqrt(variation.variance_after)
        if max(before, after) > _OTHER_VARIATION * min(before, after):
            says.append(
                f"how much it varies from period to period went from {_number(before)} to "
                f"{_number(after)}{_of(unit)}"
            )
        elif not rejected[0]:
            says.append(f"its mean distribution, {median}")
    return f"{name} jumped at {when}: {'; '.join(says)}"


def _jump(found: Discontinuity, at: int, unit: str | None) -> str:
    jump, half = float(found.jump[at]), found.half_width
    band = f"band {_number(jump - half)} to {_number(jump + half)}"
    return f"{_number(jump, sign='+')}{_of(unit)} ({band})"


def _of(unit: str | None) -> str:
    return "" if unit is None else f" {unit}"


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.3g}".replace("-", "−")


def _runs(levels: FloatArray, chosen: NDArray[np.bool_]) -> str:
    """Return the chosen levels as ``0.05 to 0.4 and 0.9``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(int), [0]])))
    runs = []
    for first, end in edges.reshape(-1, 2):
        low, high = levels[first], levels[end - 1]
        runs.append(f"{low:.2g}" if end - first == 1 else f"{low:.2g} to {high:.2g}")
    return runs[0] if len(runs) == 1 else ", ".join(runs[:-1]) + " and " + runs[-1]
