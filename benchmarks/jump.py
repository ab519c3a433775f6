"""Size, power and coverage of the tests before and after: simulations, and a year of weather.

Run by ``python -m benchmarks.jump [published] [band] [serial] [weather]``; all four take about
eight minutes of CPU.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.measure import print_table
from monitors.encoder import FloatArray
from monitors.jump.columns import LEVELS, compare_columns
from monitors.jump.discontinuity import discontinuity
from monitors.jump.jump_test import jump_test
from monitors.jump.periods import Periods, cut_periods, nearest, without_season
from pipelines.demo import hourly_weather

PERCENTILES = np.linspace(0.01, 0.99, 99)
DECILES = np.linspace(0.1, 0.9, 9)
ALPHA = 0.05
HOUR = 3600 * 10**6  # µs
MARGIN = 60 * 24  # hours of the weather before the first and after the last cutoff
SEED = 0


def share(rejected: int, runs: int) -> str:
    """Return a share with its binomial standard error."""
    p = rejected / runs
    return f"{p:.3f} ± {np.sqrt(max(p * (1.0 - p), 0.25 / runs) / runs):.3f}"


def published(rng: np.random.Generator, n: int, jump: float) -> tuple[FloatArray, FloatArray]:
    """Return units of N(0.8 (x − 0.5) + jump · 1{x ≥ 0.5}, 1), 100 draws of each."""
    x = rng.uniform(size=n)
    mean = 0.8 * (x - 0.5) + jump * (x >= 0.5)
    return x, np.quantile(rng.normal(mean, 1.0, size=(100, n)), PERCENTILES, axis=0).T


def r3d(rng: np.random.Generator, n: int, jump: float) -> tuple[FloatArray, FloatArray]:
    """Return units of N(5 + 5 x + jump · 1{x ≥ 0}, |1 + x|), 50 draws of each."""
    x = rng.uniform(-1.0, 1.0, size=n)
    mean = 5.0 + 5.0 * x + jump * (x >= 0.0)
    return x, np.quantile(rng.normal(mean, np.abs(1.0 + x), size=(50, n)), DECILES, axis=0).T


def autoregression(rng: np.random.Generator, n: int, phi: float) -> FloatArray:
    """Return n values of variance 1 that begin in their stationary law."""
    values = np.empty(n)
    values[0] = rng.normal()
    for at in range(1, n):
        values[at] = phi * values[at - 1] + np.sqrt(1.0 - phi**2) * rng.normal()
    return values


def dependent(rng: np.random.Generator, side: int, phi: float) -> tuple[FloatArray, FloatArray]:
    """Return periods whose level and log spread are autoregressive, 30 rows of each."""
    n = 2 * side
    level, spread = autoregression(rng, n, phi), np.exp(0.2 * autoregression(rng, n, phi))
    rows = level + spread * rng.normal(size=(30, n))
    x = np.arange(n, dtype=np.float64) - side + 0.5
    return x, np.quantile(rows, LEVELS, axis=0).T


def jump_test_power(runs: int = 400) -> None:
    """Print the share of rejections of the jump test, jump by jump."""
    rng = np.random.default_rng(SEED)
    jumps = (0.0, 0.1, 0.25, 0.5, 1.5)
    rows = []
    for n in (200, 500):
        row = [str(n)]
        for jump in jumps:
            rejected = 0
            for _ in range(runs):
                x, functions = published(rng, n, jump)
                found = jump_test(x, functions, 0.5, levels=PERCENTILES, bandwidth=0.2)
                rejected += found.p_value < ALPHA
            row.append(share(rejected, runs))
        rows.append(row)
    print_table(["n", *(f"jump {jump:g}" for jump in jumps)], rows)


def band_coverage(runs: int = 500) -> None:
    """Print how often the uniform band holds all jumps, and how often the tests reject."""
    rng = np.random.default_rng(SEED)
    rows = []
    for n in (200, 500):
        for jump in (0.0, 1.0, 2.0):
            held = moved = unequal = 0
            for seed in range(runs):
                x, functions = r3d(rng, n, jump)
                found = discontinuity(x, functions, 0.0, levels=DECILES, draws=499, seed=seed)
                held += bool(np.abs(found.jump - jump).max() <= found.half_width)
                moved += found.p_value < ALPHA
                unequal += found.p_homogeneity < ALPHA
            rows.append([str(n), f"{jump:g}", *(share(k, runs) for k in (held, moved, unequal))])
    print_table(["n", "jump", "band holds it", "some quantile", "not all alike"], rows)


def serial_size(runs: int = 200) -> None:
    """Print how often each test rejects where nothing jumps and periods depend on each other."""
    rows = []
    for side in (20, 60):
        for phi in (0.0, 0.3, 0.6, 0.8, 0.9, 0.95):
            rng = np.random.default_rng(SEED)
            counts = np.zeros(5, dtype=int)
            for seed in range(runs):
                x, functions = dependent(rng, side, phi)
                quantiles, alone = (
                    discontinuity(
                        x, functions, 0.0, levels=LEVELS, serial=serial, draws=499, seed=seed
                    )
                    for serial in (True, False)
                )
                both, single = (
                    jump_test(
                        x,
                        functions,
                        0.0,
                        levels=LEVELS,
                        bandwidth=quantiles.bandwidth,
                        serial=serial,
                    )
                    for serial in (True, False)
                )
                counts += [
                    quantiles.p_value <= ALPHA,
                    quantiles.p_homogeneity <= ALPHA,
                    both.p_value <= ALPHA,
                    alone.p_value <= ALPHA,
                    single.p_value <= ALPHA,
                ]
            rows.append([str(side), f"{phi:g}", *(share(int(k), runs) for k in counts)])
    print_table(
        [
            "periods a side",
            "φ",
            "quantiles",
            "alike",
            "jump test",
            "quantiles, as if independent",
            "jump test, as if independent",
        ],
        rows,
    )


def weather(hours: int = 40) -> None:
    """Print false alarms at random hours of a year, and what offsets of one sensor are found."""
    table = hourly_weather()
    times = table["time"].to_physical().to_numpy()
    sensors = [name for name in table.columns if name != "time"]
    values = {name: table[name].to_numpy() for name in sensors}
    rng = np.random.default_rng(SEED)
    last = (int(times[-1]) - int(times[0])) // HOUR - MARGIN
    cutoffs = [int(times[0]) + HOUR * int(h) for h in rng.integers(MARGIN, last, size=hours)]

    def cut(name: str, cutoff: int, offset: float = 0.0) -> Periods:
        week = (times >= cutoff) & (times < cutoff + 7 * 24 * HOUR)
        known = times < cutoff + 7 * 24 * HOUR
        shifted = values[name] + offset * week
        periods = cut_periods(times[known], shifted[known], cutoff, HOUR, LEVELS)
        return nearest(without_season(periods, 24))

    alarms, single = 0, np.zeros(2, dtype=int)
    for cutoff in cutoffs:
        found = compare_columns(
            {name: cut(name, cutoff) for name in sensors}, dict.fromkeys(sensors), "", draws=999
        )
        alarms += found[0].jumped
        for one in found:
            single += [one.quantiles.p_value <= ALPHA, one.variation.p_value <= ALPHA]
    print(f"{hours} hours, 18 sensors: an alarm in {share(alarms, hours)} of the hours")
    tests = hours * len(sensors)
    print(f"by sensor: quantiles {share(int(single[0]), tests)}, ", end="")
    print(f"jump test {share(int(single[1]), tests)}\n", flush=True)
    rows = []
    for name, offsets in {
        "LGA.temp": (0.0, 2.0, 4.0, 6.0, 8.0),  # °F
        "LGA.pressure": (0.0, 1.0, 2.0, 3.0, 4.0),  # hPa
    }.items():
        for offset in offsets:
            jumped, widths = 0, []
            for cutoff in cutoffs:
                one = compare_columns({name: cut(name, cutoff, offset)}, {name: None}, "")[0]
                jumped += one.jumped
                widths.append(one.quantiles.half_width)
            rows.append([name, f"{offset:g}", share(jumped, hours), f"{np.median(widths):.2g}"])
    print_table(["sensor", "offset of a week", "found", "half width of the band"], rows)


PARTS: dict[str, Callable[[], None]] = {
    "published": jump_test_power,
    "band": band_coverage,
    "serial": serial_size,
    "weather": weather,
}


def chosen() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the parts that the command line names; all when it names none."""
    names = sys.argv[1:] or list(PARTS)
    for name in names:
        yield name, PARTS[name]


def main() -> None:
    """Print one table per part."""
    for name, part in chosen():
        started = time.process_time()
        print(f"## {name}\n")
        part()
        print(f"({time.process_time() - started:.0f} s of CPU)\n", flush=True)


if __name__ == "__main__":
    main()
