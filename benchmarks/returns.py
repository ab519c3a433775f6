"""Daily returns of two indices and of oil: what GARCH models forecast, and what `har` does.

Run by ``python -m benchmarks.returns [sp500] [nasdaq] [wti]``; all take about three minutes of CPU.
Data and GARCH models are those of the package arch (extra `garch`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import machine, print_table
from transforms.calibration_tests import long_run_covariance
from transforms.distributions import hansen, normal
from transforms.forecast.har import fit_har
from transforms.forecast.training import TrainingSet
from transforms.risk.backtests import exceedance_test, joint_tail_score, pit_uniformity
from transforms.risk.tails import expected_shortfall
from transforms.risk.tracking import track_levels
from transforms.scores import weighted_interval_score

Floats = NDArray[np.float64]

SERIES = {"sp500": "Adj Close", "nasdaq": "Adj Close", "wti": "DCOILWTICO"}
PROTOCOLS = ((1008, 63), (1500, 20))  # rows before the first forecast, and between two fits
PEERS = (
    ("GARCH", "normal"),
    ("GARCH", "t"),
    ("GARCH", "skewt"),
    ("GJR", "normal"),
    ("GJR", "t"),
    ("GJR", "skewt"),
    ("EGARCH", "skewt"),
)
RIVAL = "GJR skewt"
LAGS = 132
LEVELS = np.arange(1, 100) / 100
TAILS = (0.01, 0.05)
_HALVINGS = 40  # of the interval that holds a quantile of the pool


@dataclass(frozen=True, slots=True)
class Forecasts:
    """The laws of some rows, and what they cost."""

    log_score: Floats | None  #: shape (n,)
    quantiles: Floats  #: shape (n, levels)
    shortfalls: Floats | None  #: at the tails, shape (n, 2)
    pit: Floats | None
    cpu: float  #: seconds, of fits and forecasts


def returns(name: str) -> Floats:
    """Return daily log returns in per cent."""
    prices = import_module(f"arch.data.{name}").load()[SERIES[name]].dropna()
    prices = prices[prices > 0]
    logs: Floats = np.log(prices.to_numpy(np.float64))
    return 100 * np.diff(logs)


def of_law(y: Floats, law: dict[str, Floats], cpu: float) -> Forecasts:
    """Return the forecasts that parameters say, of `normal` or `hansen`."""
    family = hansen if "eta" in law else normal
    columns = [part[:, None] for part in law.values()]

    def quantile(levels: Floats) -> Floats:
        found: Floats = family.quantile(levels, *columns)
        return found

    return Forecasts(
        log_score=-family.log_density(y, *law.values()),
        quantiles=quantile(LEVELS),
        shortfalls=np.column_stack([expected_shortfall(quantile, p) for p in TAILS]),
        pit=family.cdf(y, *law.values()),
        cpu=cpu,
    )


def expanding(
    y: Floats, start: int, every: int, forecast: Callable[[int, int], dict[str, Floats]]
) -> tuple[dict[str, Floats], float]:
    """Fit on all rows before each origin, forecast up to the next; return the laws and CPU time."""
    begun = time.process_time()
    parts = [
        forecast(origin, min(origin + every, len(y))) for origin in range(start, len(y), every)
    ]
    cpu = time.process_time() - begun
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, cpu


def arch_model(
    y: Floats, recursion: str, innovations: str
) -> Callable[[int, int], dict[str, Floats]]:
    """Return a GARCH model as arch fits and filters it."""
    from arch import arch_model as make

    settings: dict[str, Any] = {
        "mean": "Constant",
        "vol": "EGARCH" if recursion == "EGARCH" else "GARCH",
        "o": 0 if recursion == "GARCH" else 1,
        "dist": innovations,
        "rescale": False,
    }

    def forecast(origin: int, end: int) -> dict[str, Floats]:
        found = make(y[:origin], **settings).fit(disp="off", show_warning=False).params
        # conditional volatility is a forecast: it reads the rows before its own
        filtered = make(y[:end], **settings).fix(found).conditional_volatility
        n = end - origin
        law = {"loc": np.full(n, found["mu"]), "scale": np.asarray(filtered)[origin:]}
        if innovations != "normal":
            law["eta"] = np.full(n, found["nu" if innovations == "t" else "eta"])
            law["lam"] = np.full(n, found.get("lambda", 0.0))
        return law

    return forecast


def har_model(y: Floats) -> Callable[[int, int], dict[str, Floats]]:
    """Return our kind `har`, on lagged columns."""
    X = np.full((len(y), LAGS), np.nan)
    for back in range(1, LAGS + 1):
        X[back:, back - 1] = y[:-back]
    lags = tuple((back, back - 1) for back in range(1, LAGS + 1))

    def forecast(origin: int, end: int) -> dict[str, Floats]:
        rows = TrainingSet(X[:origin], y[:origin], np.zeros(origin, np.int64), LEVELS)
        return fit_har(rows, lags).parameters(X[origin:end])

    return forecast


def pool(y: Floats, laws: list[dict[str, Floats]], cpu: float) -> Forecasts:
    """Return the linear pool, with equal weights, of laws of `hansen`."""
    parts = [list(law.values()) for law in laws]
    quantiles = [hansen.quantile(LEVELS, *(p[:, None] for p in part)) for part in parts]
    low, high = np.min(quantiles, axis=0), np.max(quantiles, axis=0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        at = np.mean([hansen.cdf(middle, *(p[:, None] for p in part)) for part in parts], axis=0)
        low, high = np.where(at < LEVELS, middle, low), np.where(at < LEVELS, high, middle)
    density = np.mean([np.exp(hansen.log_density(y, *part)) for part in parts], axis=0)
    return Forecasts(
        log_score=-np.log(density),
        quantiles=high,
        shortfalls=None,
        pit=np.mean([hansen.cdf(y, *part) for part in parts], axis=0),
        cpu=cpu,
    )


def tracked(y: Floats, law: dict[str, Floats], forecasts: Forecasts) -> Forecasts:
    """Return forecasts with each level held online, from the first forecast on."""
    begun = time.process_time()
    issued = track_levels(y, forecasts.quantiles, LEVELS, law["scale"]).quantiles
    cpu = forecasts.cpu + time.process_time() - begun
    return Forecasts(log_score=None, quantiles=issued, shortfalls=None, pit=None, cpu=cpu)


def compare(name: str, start: int, every: int) -> None:
    """Print the table of one series and protocol."""
    y = returns(name)
    test = y[start:]
    laws: dict[str, dict[str, Floats]] = {}
    found: dict[str, Forecasts] = {}
    for recursion, innovations in PEERS:
        label = f"{recursion} {innovations}"
        laws[label], cpu = expanding(y, start, every, arch_model(y, recursion, innovations))
        found[label] = of_law(test, laws[label], cpu)
    laws["har"], cpu = expanding(y, start, every, har_model(y))
    found["har"] = of_law(test, laws["har"], cpu)
    both = cpu + found[RIVAL].cpu
    found[f"har and {RIVAL}, pooled"] = pool(test, [laws["har"], laws[RIVAL]], both)
    found["har, levels tracked"] = tracked(test, laws["har"], found["har"])
    print(f"**{name}**, from row {start}, refitted every {every}, {len(test)} forecasts\n")
    rival = found[RIVAL]
    print_table(
        (
            "model",
            "log score",
            f"less than {RIVAL}",
            "CRPS",
            "VaR 1 %: below, p of Kupiec, Christoffersen",
            "VaR 5 %",
            "VaR and ES 1 %",
            "PIT, D",
            "CPU s",
        ),
        [[label, *_columns(test, each, rival)] for label, each in found.items()],
    )


def _columns(y: Floats, forecasts: Forecasts, rival: Forecasts) -> list[str]:
    crps = weighted_interval_score(y, forecasts.quantiles, LEVELS)
    log_score = gain = joint = distance = "–"
    if forecasts.log_score is not None and rival.log_score is not None:
        log_score = f"{forecasts.log_score.mean():.4f}"
        gain = _difference(rival.log_score - forecasts.log_score)
    tails = []
    for level in TAILS:
        quantile = forecasts.quantiles[:, np.abs(LEVELS - level).argmin()]
        test = exceedance_test(y < quantile, level)
        tails.append(
            f"{100 * test.share:.2f} %, {test.unconditional_p:.3f}, {test.conditional_p:.3f}"
        )
        if level == TAILS[0] and forecasts.shortfalls is not None:
            joint = f"{joint_tail_score(y, quantile, forecasts.shortfalls[:, 0], level).mean():.3f}"
    if forecasts.pit is not None:
        distance = f"{pit_uniformity(forecasts.pit)[0]:.3f}"
    return [log_score, gain, f"{crps.mean():.4f}", *tails, joint, distance, f"{forecasts.cpu:.1f}"]


def _difference(gains: Floats) -> str:
    """Return a mean with its standard error, which allows for serial dependence."""
    if not gains.any():
        return "–"
    error = np.sqrt(float(np.squeeze(long_run_covariance(gains[:, None]))) / len(gains))
    return f"{gains.mean():+.4f} ± {error:.4f}"


def main() -> None:
    """Print the tables of the series that are named, or of all."""
    print(machine() + "\n")
    for name in sys.argv[1:] or SERIES:
        for start, every in PROTOCOLS:
            compare(name, start, every)


if __name__ == "__main__":
    main()
