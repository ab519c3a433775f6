"""Online calibrators on streams that drift, with outcomes in time and late.

6,000 scored points after 2,000 of warm-up; the middle of the forecast is right, its noise has
Student's t law with five degrees of freedom and unit variance, and the base interval is
middle ± 1.645 throughout. A cell says: coverage / its worst over any 500 points / mean Winkler
score, means over the seeds; the share of infinite intervals where there are any.
"""

from __future__ import annotations

import argparse
import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import machine, print_table
from transforms.calibrate.aci import Aci
from transforms.calibrate.cqr import calibrate
from transforms.calibrate.online import Issued, OnlineCalibrator
from transforms.calibrate.rules import start

WARM_UP, SCORED, ROLLING = 2000, 6000, 500
INTERVAL, HALF_WIDTH = 0.9, 1.645
STREAMS = ("stationary", "var_shift", "season", "mean_shift", "slow_drift", "garch")
METHODS = ("static CQR", "weighted", "aci .005", "aci .05", "dtaci", "pid", "tracker")

Floats = NDArray[np.float64]


def stream(name: str, seeds: int, seed: int) -> Floats:
    """Return residuals about the known middle, shape (seeds, time)."""
    rng = np.random.default_rng([seed, STREAMS.index(name)])
    noise = rng.standard_t(5, size=(seeds, WARM_UP + SCORED)) / np.sqrt(5 / 3)
    t = np.arange(WARM_UP + SCORED) - WARM_UP
    if name == "var_shift":
        return noise * np.where(t >= SCORED // 2, 3, 1)
    if name == "season":
        return noise * (1 + 0.8 * np.sin(2 * np.pi * t / 300))
    if name == "mean_shift":
        return noise + np.where(t >= SCORED // 2, 2, 0)
    if name == "slow_drift":
        return noise * (1 + 2 * np.maximum(t, 0) / SCORED)
    if name == "garch":
        variance = np.ones(seeds)
        for i in range(noise.shape[1]):
            noise[:, i] *= np.sqrt(variance)
            variance = 0.05 + 0.1 * noise[:, i] ** 2 + 0.85 * variance
    return noise


def follow(calibrator: OnlineCalibrator, residuals: Floats, delay: int) -> tuple[Floats, Floats]:
    """Issue an interval at each time, and learn outcomes `delay` steps late."""
    base = np.full(len(residuals), HALF_WIDTH)
    waiting: deque[tuple[Floats, Issued]] = deque()
    lower, upper = np.empty_like(residuals), np.empty_like(residuals)
    for t, outcome in enumerate(residuals.T):
        if len(waiting) > delay:
            known, issued = waiting.popleft()
            calibrator.learn(issued, known)
        issued = calibrator.issue(-base, base)
        lower[:, t], upper[:, t] = issued.lower, issued.upper
        waiting.append((outcome, issued))
    return lower, upper


def intervals(method: str, residuals: Floats, delay: int) -> tuple[Floats, Floats]:
    """Return both ends by a method of `METHODS`."""
    series = len(residuals)
    if method == "static CQR":
        base = np.full(WARM_UP, HALF_WIDTH)
        found = [calibrate(-base, base, row[:WARM_UP], INTERVAL).offset for row in residuals]
        half = HALF_WIDTH + np.array(found)[:, None] + np.zeros_like(residuals)
        return -half, half
    kind, _, step = method.partition(" ")
    calibrator = start(INTERVAL, kind=kind, series=series)
    if step:
        calibrator = OnlineCalibrator(Aci.start(INTERVAL, series, float(step)), series)
    return follow(calibrator, residuals, delay)


def cell(lower: Floats, upper: Floats, residuals: Floats) -> str:
    """Return coverage, the worst of it, and the Winkler score of what is scored."""
    low, high, y = (part[:, WARM_UP:] for part in (lower, upper, residuals))
    inside = (y >= low) & (y <= high)
    total = np.pad(inside, ((0, 0), (1, 0))).cumsum(axis=1)
    worst = ((total[:, ROLLING:] - total[:, :-ROLLING]) / ROLLING).min(axis=1)
    beyond = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    winkler = (high - low + 2 / (1 - INTERVAL) * beyond).mean()
    infinite = np.isinf(high - low).mean()
    said = [f"{inside.mean():.3f}", f"{worst.mean():.3f}", f"{winkler:.3f}"]
    if infinite:
        said[2] = f"{infinite:.1%} infinite"
    return " / ".join(said)


def main() -> None:
    """Print a table of each delay."""
    parser = argparse.ArgumentParser(description="Online calibrators on drifting streams.")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--delays", type=int, nargs="+", default=[0, 24, 200])
    arguments = parser.parse_args()
    seeds = arguments.seeds
    residuals = np.concatenate([stream(name, seeds, arguments.seed) for name in STREAMS])
    print(f"{machine()}; {seeds} seeds\n")
    for delay in arguments.delays:
        print(f"Outcomes known {delay} steps late\n" if delay else "Outcomes known at once\n")
        rows = []
        for method in METHODS:
            before = time.process_time()
            lower, upper = intervals(method, residuals, delay)
            taken = (time.process_time() - before) / residuals.size
            parts = [
                cell(*(part[i * seeds : (i + 1) * seeds] for part in (lower, upper, residuals)))
                for i in range(len(STREAMS))
            ]
            rows.append([method, *parts, f"{taken * 1e6:.1f}"])
        print_table(["method", *STREAMS, "µs a step"], rows)


if __name__ == "__main__":
    main()
