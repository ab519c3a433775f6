"""Neural heads on daily returns of the S&P 500, and implicit quantiles on a table.

Run by ``python -m benchmarks.neural``; about two minutes of CPU. Needs the extras `garch` (for the
returns and their rival) and `neural`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import machine, print_table
from benchmarks.returns import LAGS, LEVELS, arch_model, expanding, har_model, returns
from transforms.distributions import hansen, skew_t
from transforms.forecast.empirical import mean_pinball
from transforms.forecast.kinds import CROSS_FITS
from transforms.forecast.neural.networks import Network
from transforms.forecast.neural.sequence import fit_sequence
from transforms.forecast.training import TrainingSet
from transforms.risk.backtests import exceedance_test
from transforms.scores import weighted_interval_score

Floats = NDArray[np.float64]

START, EVERY = 1500, 1000  # rows before the first forecast, and between two fits
TABLE_ROWS = 4000
TABLE_LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
TABLE_KINDS = ("implicit_quantiles", "symmetric", "location_scale", "linear", "climatology")


def network_model(y: Floats, network: Network) -> Callable[[int, int], dict[str, Floats]]:
    """Return a network with the skewed t, on lagged columns."""
    X = np.full((len(y), LAGS), np.nan)
    for back in range(1, LAGS + 1):
        X[back:, back - 1] = y[:-back]
    lags = tuple((back, back - 1) for back in range(1, LAGS + 1))
    names = tuple(f"lag_{back}" for back, _ in lags)

    def forecast(origin: int, end: int) -> dict[str, Floats]:
        rows = TrainingSet(X[:origin], y[:origin], np.zeros(origin, np.int64), LEVELS, names)
        return fit_sequence(rows, network, "skew_t", lags)[0].parameters(X[origin:end])

    return forecast


def compare_returns() -> None:
    """Print log scores, CRPS and Values at Risk."""
    y = returns("sp500")
    outcome = y[START:]
    models = {
        "GJR skewt": arch_model(y, "GJR", "skewt"),
        "har": har_model(y),
        "cnn": network_model(y, "cnn"),
        "lstm": network_model(y, "lstm"),
    }
    rows = []
    for label, model in models.items():
        law, cpu = expanding(y, START, EVERY, model)
        family = skew_t if "xi" in law else hansen
        quantiles = family.quantile(LEVELS, *(part[:, None] for part in law.values()))
        tails = [exceedance_test(outcome < quantiles[:, at], LEVELS[at]) for at in (0, 4)]
        rows.append(
            [
                label,
                f"{-family.log_density(outcome, *law.values()).mean():.4f}",
                f"{weighted_interval_score(outcome, quantiles, LEVELS).mean():.4f}",
                *(
                    f"{100 * own.share:.2f} %, {own.unconditional_p:.3f}, {own.conditional_p:.3f}"
                    for own in tails
                ),
                f"{cpu:.1f}",
            ]
        )
    print(f"**sp500**, from row {START}, refitted every {EVERY}, {len(outcome)} forecasts\n")
    below = "below, p of Kupiec, Christoffersen"
    print_table(
        ("model", "log score", "CRPS", f"VaR 1 %: {below}", "VaR 5 %", "CPU s"),
        rows,
    )


def compare_table() -> None:
    """Print out-of-fold pinball loss on a curved, heteroscedastic table."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(TABLE_ROWS, 10))
    location = np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2]
    y = location + np.exp(0.8 * X[:, 3] - 0.5) * rng.normal(size=TABLE_ROWS)
    training = TrainingSet(X, y, np.arange(TABLE_ROWS) * 5 // TABLE_ROWS, TABLE_LEVELS)
    rows = []
    for kind in TABLE_KINDS:
        begun = time.process_time()
        found = CROSS_FITS[kind](training).quantiles
        cpu = time.process_time() - begun
        inside = np.mean((y >= found[:, 0]) & (y <= found[:, -1]))
        loss = mean_pinball(y, found, TABLE_LEVELS)
        rows.append([kind, f"{loss:.4f}", f"{100 * inside:.1f} %", f"{cpu:.1f}"])
    print(f"\n**Table**, {TABLE_ROWS} rows, 10 features, 5 folds\n")
    print_table(("kind", "pinball", "inside 90 %", "CPU s"), rows)


def main() -> None:
    """Print both tables."""
    print(machine() + "\n")
    compare_returns()
    compare_table()


if __name__ == "__main__":
    main()
