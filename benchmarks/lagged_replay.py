"""A sensor that replays its own past, in series with a long memory: with lags and without.

Run by ``python -m benchmarks.lagged_replay``; about four minutes. Twenty AR(1) series (φ = .95)
whose innovations form a Gaussian chain; in the attacked window one of them repeats a stretch of the
reference: its own distribution and its own serial dependence are what they were. The lagged
reference has each series' value one row earlier among its conditions.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import signal
from scipy.stats import binomtest
from threadpoolctl import threadpool_limits

from monitors.encoder import fit_encoder
from monitors.feature_shift.reference import Reference, blocks_per_window, reference_from_blocks
from monitors.gram import profile, profile_blocks
from schemas.stream import Column
from transforms.lags import LAGGED, lags_of_rows, with_lags

SERIES, ROWS, WINDOWS = 20, 200, 20
PHI, CHAIN, LEVEL = 0.95, 0.7, 0.05
NAMES = [f"x{j:02d}" for j in range(SERIES)]
LAGS = lags_of_rows(NAMES, [1])

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Tally:
    """Counts over the trials."""

    trials: int = 0
    false: int = 0
    found: int = 0
    named: int = 0  #: the replayed series first


def series(rng: np.random.Generator, rows: int) -> Floats:
    """Return stationary AR(1) series, shape (rows, SERIES)."""
    noise = rng.standard_normal((rows + 200, SERIES))
    for j in range(1, SERIES):
        noise[:, j] = CHAIN * noise[:, j - 1] + np.sqrt(1 - CHAIN**2) * noise[:, j]
    return np.asarray(signal.lfilter([np.sqrt(1 - PHI**2)], [1, -PHI], noise, axis=0)[200:])


def rows_of(values: Floats, *, lagged: bool) -> pa.Table:
    """Return the values as typed rows, and those of one row earlier where asked for."""
    table = pa.table(dict(zip(NAMES, values.T.copy(), strict=True)))
    at = np.arange(table.num_rows)
    return with_lags(table, at, table, at, LAGS) if lagged else table


def fit(table: pa.Table, *, lagged: bool) -> Reference:
    """Fit a reference of WINDOWS windows."""
    conditions = list(LAGS) if lagged else []
    columns = {name: Column(type="number") for name in NAMES} | dict.fromkeys(conditions, LAGGED)
    encoder = fit_encoder(table, columns, features=NAMES, conditions=conditions, window_rows=ROWS)
    count = blocks_per_window(WINDOWS)
    blocks = profile_blocks(encoder, table, np.arange(table.num_rows) * count // ROWS)
    return reference_from_blocks(encoder, "moments", blocks, count).fit_nulls(0)


def trial(seed: int, tallies: dict[bool, Tally]) -> None:
    """Test one clean window and the same one with a series replayed, with lags and without."""
    rng = np.random.default_rng(seed)
    clean = series(rng, (WINDOWS + 1) * ROWS)
    replayed, target = clean.copy(), int(rng.integers(SERIES))
    begin = int(rng.integers((WINDOWS - 1) * ROWS))
    replayed[-ROWS:, target] = clean[begin : begin + ROWS, target]
    for lagged, tally in tallies.items():
        reference = fit(rows_of(clean, lagged=lagged).slice(0, WINDOWS * ROWS), lagged=lagged)
        names = []
        for values in (clean, replayed):
            window = profile(
                reference.encoder, rows_of(values, lagged=lagged).slice(WINDOWS * ROWS)
            )
            found = reference.test(window, level=LEVEL, ignore_below=0.1, seed=0)
            names.append([item.feature for item in found if item.alarm])
        tally.trials += 1
        tally.false += bool(names[0])
        tally.found += bool(names[1])
        tally.named += names[1][:1] == [target]


def main(trials: int, first: int) -> None:
    """Print one line without lags and one with them."""
    tallies = {False: Tally(), True: Tally()}
    for seed in range(first, first + trials):
        trial(seed, tallies)
    print("| conditions | windows | false alarms (95 %) | found | named first |")
    print("|---|---|---|---|---|")
    for lagged, t in tallies.items():
        interval = binomtest(t.false, t.trials).proportion_ci(method="exact")
        print(
            f"| {'one row ago' if lagged else 'none'} | {t.trials} | {t.false / t.trials:.2f} "
            f"({interval.low:.2f}-{interval.high:.2f}) | {t.found / t.trials:.2f} | "
            f"{t.named / t.trials:.2f} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="seed of the first trial")
    given = parser.parse_args()
    with threadpool_limits(1):
        main(given.trials, given.first)
