"""Scores that need care: the CRPS from few levels, tests of levels, and calibrated events.

Run by ``python -m benchmarks.forecast_scores``; about a minute of CPU.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal, special
from threadpoolctl import threadpool_limits

from benchmarks.measure import print_table
from transforms.calibrate.events import EventCalibration
from transforms.calibration_tests import level_test
from transforms.event_scores import hosmer_lemeshow, log_loss
from transforms.quantile_law import crps
from transforms.scores import pinball_loss

Floats = NDArray[np.float64]

LEVELS = {
    "7: .05 .1 .25 .5 .75 .9 .95": np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]),
    "9: .1 .2 … .9": np.arange(1, 10) / 10,
    "19: .05 .1 … .95": np.arange(1, 20) / 20,
    "99: .01 .02 … .99": np.arange(1, 100) / 100,
}
SEED = 20260101
DRAWS, TRIALS, ROWS, STREAMS = 20_000, 1000, 500, 40


def crps_lines(rng: np.random.Generator) -> list[list[str]]:
    """Return excess over the CRPS of the normal law itself, on draws of it."""
    y = rng.normal(size=DRAWS)
    density = np.exp(-(y**2) / 2) / np.sqrt(2 * np.pi)
    exact = (y * (2 * special.ndtr(y) - 1) + 2 * density - 1 / np.sqrt(np.pi)).mean()
    lines = []
    for name, levels in LEVELS.items():
        law = np.tile(special.ndtri(levels), (DRAWS, 1))
        found = 2 * pinball_loss(y, law, levels).mean(), crps(y, law, levels).mean()
        lines.append([name, *(f"{value / exact - 1:+.1%}" for value in found)])
    return lines


def memory(rng: np.random.Generator, phi: float) -> Floats:
    """Draw a standard normal AR(1) series."""
    noise = rng.normal(size=ROWS + 300) * np.sqrt(1 - phi**2)
    series: Floats = signal.lfilter([1.0], [1.0, -phi], noise)[300:]
    return series


def test_lines(rng: np.random.Generator) -> list[list[str]]:
    """Return shares of series that are rejected at 5 %, by memory and by fault."""
    levels = LEVELS["7: .05 .1 .25 .5 .75 .9 .95"]
    lines = []
    for fault, scale, shift in (
        ("none", 1.0, 0.0),
        ("too narrow by a fifth", 0.8, 0.0),
        ("too low by a fifth", 1.0, -0.2),
    ):
        law = np.tile(scale * special.ndtri(levels) + shift, (ROWS, 1))
        for phi in (0.0, 0.6, 0.9):
            found = []
            for serial in (False, True):
                tests = [
                    level_test(memory(rng, phi), law, levels, serial=serial).p_value
                    for _ in range(TRIALS)
                ]
                found.append(np.mean([p is not None and p < 0.05 for p in tests]))
            lines.append([fault, f"{phi:g}", *(f"{share:.1%}" for share in found)])
    return lines


def events(
    rng: np.random.Generator, rows: int, slope: float, shift: float
) -> tuple[Floats, Floats, Floats]:
    """Draw true probabilities, those of a classifier that distorts them, and events."""
    logit = rng.normal(-0.5, 1, rows)
    true = special.expit(logit)
    came = (rng.uniform(size=rows) < true).astype(float)
    return true, special.expit(slope * logit + shift), came


def event_lines(rng: np.random.Generator) -> list[list[str]]:
    """Return excess log loss over the truth, and rejections at 5 %, over 40 streams."""
    lines = []
    for name, parts in {
        "over-confident": [(3000, 2.0, 0.7)],
        "then the other way": [(3000, 2.0, 0.7), (3000, 0.5, -1.0)],
    }.items():
        excess: dict[str, list[float]] = {"raw": [], "first 3,000 labels": [], "all labels": []}
        rejected: dict[str, list[bool]] = {kind: [] for kind in excess}
        for _ in range(STREAMS):
            states = [EventCalibration.start()]
            for rows, slope, shift in parts:
                _, p, came = events(rng, rows, slope, shift)
                states.append(states[-1].learn(p, came))
            true, p, came = events(rng, 1000, *parts[-1][1:])
            calibrated = p, states[1].apply(p), states[-1].apply(p)
            for kind, q in zip(excess, calibrated, strict=True):
                clipped = np.clip(q, 1e-9, 1 - 1e-9)
                excess[kind].append(float((log_loss(clipped, came) - log_loss(true, came)).mean()))
                rejected[kind].append(hosmer_lemeshow(clipped, came) < 0.05)
        lines += [
            [name, kind, f"{np.mean(excess[kind]):.4f}", f"{np.mean(rejected[kind]):.0%}"]
            for kind in excess
        ]
    return lines


def main() -> None:
    """Print the three tables."""
    rng, other = (np.random.default_rng(SEED) for _ in range(2))
    with threadpool_limits(1):
        print_table(("levels", "2 × mean pinball", "crps"), crps_lines(rng))
        print_table(("fault", "φ", "independent", "serial"), test_lines(rng))
        print_table(("stream", "calibrated on", "excess log loss", "rejected"), event_lines(other))


if __name__ == "__main__":
    main()
