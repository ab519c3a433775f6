"""Regions for several targets: coverage and volume of three shapes beside a box of intervals.

Run by ``python -m benchmarks.regions``; about a minute of CPU. The nonlinear laws of ST-DQR's
simulations (Feldman, Bates and Romano, JMLR 2023): targets on a bent sheet whose width depends on
one feature. A forecaster of each target is fitted on 2,000 rows; shapes on its out-of-fold
residuals; calibrated on 1,000 further rows and measured on 2,000. The box is each target's own
interval at level 1 − α/d, grown by the same conformal step.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.measure import print_table
from transforms.calibrate.regions import calibrate_region, standardised
from transforms.calibrate.shapes import (
    HalfSpaces,
    Shape,
    fit_cloud,
    fit_ellipsoid,
    fit_half_spaces,
)
from transforms.forecast.select import contiguous_folds, fit_forecaster

Floats = NDArray[np.float64]

SEEDS, COVERAGE = 10, 0.9
TRAINED, CALIBRATED, TESTED = 2000, 1000, 2000
LEVELS = (0.05, 0.5, 0.95)


def drawn(rng: np.random.Generator, rows: int, targets: int) -> tuple[Floats, Floats]:
    """Draw one feature and two to four targets, shapes (rows,) and (rows, targets)."""
    x = rng.uniform(0.8, 3.2, rows)
    z, angle = np.pi * rng.uniform(-1, 1, rows) / x, rng.uniform(0, 2 * np.pi, rows)
    radius = 0.1 * rng.uniform(-1, 1, rows)
    columns = [
        z + radius * np.cos(angle),
        (1 - np.cos(x * z)) / 2 + radius * np.sin(angle) + np.sin(x),
        np.sin(z) + 0.1 * rng.uniform(-1, 1, rows),
        np.cos(np.sin(z)) + radius * np.sin(angle) * np.cos(angle),
    ]
    return x, np.column_stack(columns[:targets])


def box(residuals: Floats, coverage: float) -> HalfSpaces:
    """Return the box of the targets' own intervals."""
    d = residuals.shape[1]
    miss = (1 - coverage) / (2 * d)
    low, high = np.quantile(residuals, [miss, 1 - miss], axis=0)
    return HalfSpaces(np.vstack([np.eye(d), -np.eye(d)]), np.concatenate([low, -high]))


FITS: dict[str, Callable[[Floats, float], Shape]] = {
    "box of intervals": box,
    "ellipsoid": fit_ellipsoid,
    "half-spaces": fit_half_spaces,
    "cloud": fit_cloud,
}


def trial(seed: int, targets: int) -> dict[str, tuple[float, float, float]]:
    """Return coverage, mean volume and CPU seconds of each shape, forecasters not counted."""
    rng = np.random.default_rng([seed, targets])
    rows = TRAINED + CALIBRATED + TESTED
    x, y = drawn(rng, rows, targets)
    location, scale = np.empty_like(y), np.empty_like(y)
    for target in range(targets):
        table = pl.DataFrame({"x": x, "y": y[:, target]})
        folds = contiguous_folds(np.arange(TRAINED), 5)
        fitted = fit_forecaster(table[:TRAINED], "y", ["x"], LEVELS, folds, seed)
        law = np.vstack([fitted.out_of_fold, fitted.predict(table[TRAINED:])])
        location[:, target], scale[:, target] = law[:, 1], (law[:, 2] - law[:, 0]) / 2
    fit, calibrate = slice(TRAINED), slice(TRAINED, TRAINED + CALIBRATED)
    test = slice(TRAINED + CALIBRATED, None)
    residuals = standardised(location[fit], scale[fit], y[fit])
    found = {}
    for name, shape_of in FITS.items():
        began = time.process_time()
        region = calibrate_region(
            shape_of(residuals, COVERAGE),
            location[calibrate],
            scale[calibrate],
            y[calibrate],
            COVERAGE,
        )
        inside = region.contains(location[test], scale[test], y[test]).mean()
        took = time.process_time() - began
        found[name] = float(inside), float(region.volume(scale[test]).mean()), took
    return found


def main() -> None:
    """Print a table of each number of targets."""
    with threadpool_limits(1):
        for targets in (2, 3, 4):
            trials = [trial(seed, targets) for seed in range(SEEDS)]
            boxes = np.array([one["box of intervals"][1] for one in trials])
            lines = []
            for name in FITS:
                coverage, volume, cpu = np.array([one[name] for one in trials]).T
                lines.append(
                    [
                        name,
                        f"{coverage.mean():.1%}",
                        f"{coverage.min():.1%}–{coverage.max():.1%}",
                        f"{(volume / boxes).mean():.3f}",
                        f"{1000 * cpu.mean():.0f} ms",
                    ]
                )
            head = (f"{targets} targets", "coverage", "of ten seeds", "volume, box = 1", "CPU")
            print_table(head, lines)


if __name__ == "__main__":
    main()
