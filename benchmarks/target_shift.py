"""Target shift: the weights, the verdicts, the remedy, and weights that balance inputs.

Run by ``python -m benchmarks.target_shift``; about three minutes.
"""

from __future__ import annotations

import argparse
from collections import Counter
from time import process_time

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from benchmarks.measure import print_table
from benchmarks.shifted_populations import (
    FEATURES,
    SETTINGS,
    TARGET,
    bent_pair,
    kang_schafer,
    rows_of,
)
from monitors.target_shift.balance import balancing_weights
from monitors.target_shift.hypotheses import target_shift
from monitors.target_shift.retasa import retasa
from monitors.target_shift.reweight import reweight
from transforms.forecast.select import contiguous_folds, fit_forecaster
from transforms.scores import pinball_loss

Floats = NDArray[np.float64]

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def weights_and_losses(seeds: int) -> None:
    """Print the error of the weights, and the window's loss of a linear fit with them."""
    errors, losses = [], []
    for seed in range(seeds):
        x, y, x_after, y_after, truth = bent_pair(500, np.random.default_rng(seed))
        found = retasa(x, y, x_after, seed=seed).weights
        # both of mean 1 over the rows: a factor common to all weights changes no fit
        target = truth / truth.mean()
        errors.append([np.mean((w - target) ** 2) for w in (np.ones(len(y)), found)])
        losses.append(
            [_linear_loss(x, y, w, x_after, y_after) for w in (np.ones(len(y)), found, truth)]
        )
    error, loss = np.array(errors), np.array(losses)
    root = np.sqrt(seeds)
    rows = [
        [name, str(seeds), *cells]
        for name, cells in (
            ("none", (_with_error(error[:, 0], root), _with_error(loss[:, 0], root))),
            ("ReTaSA", (_with_error(error[:, 1], root), _with_error(loss[:, 1], root))),
            ("true ratio", ("0", _with_error(loss[:, 2], root))),
        )
    ]
    print_table(["weights", "seeds", "squared error of the weights", "MSE of a linear fit"], rows)


def forecaster_losses(seeds: int) -> None:
    """Print the window's pinball loss of the forecaster, fitted again with weights."""
    losses = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        before, after = rows_of("no shift", 500, rng), rows_of("target shift", 500, rng)
        y = before[TARGET].to_numpy()
        found = reweight(before, after.drop([TARGET]), TARGET, FEATURES, seed=seed)
        oracle = 1.0 / (1.0 + np.exp(1.0 - 2.0 * y))
        frame, window = pl.DataFrame(before), pl.DataFrame(after)
        folds = contiguous_folds(np.arange(len(y)), 5)
        losses.append(
            [
                pinball_loss(
                    window[TARGET].to_numpy(),
                    fit_forecaster(frame, TARGET, FEATURES, LEVELS, folds, seed, w).predict(window),
                    LEVELS,
                ).mean()
                for w in (None, found, oracle / oracle.mean())
            ]
        )
    means, spread = (
        np.mean(losses, axis=0),
        np.std(np.array(losses) - np.array(losses)[:, :1], axis=0),
    )
    rows = [
        [name, str(seeds), f"{mean:.4f}", f"{mean - means[0]:+.4f} ± {own / np.sqrt(seeds):.4f}"]
        for name, mean, own in zip(("none", "ReTaSA", "true ratio"), means, spread, strict=True)
    ]
    print_table(["weights", "seeds", "pinball loss in the window", "less that of none"], rows)


def verdicts(seeds: int, rows: int) -> None:
    """Print how often each verdict is given, with the window's targets and without."""
    for labels in (True, False):
        lines = []
        for setting in SETTINGS:
            found = []
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                before, after = rows_of("no shift", rows, rng), rows_of(setting, rows, rng)
                after = after if labels else after.drop([TARGET])
                found.append(target_shift(before, after, TARGET, FEATURES, seed=seed))
            count = Counter(item.verdict for item in found)
            rejected = [
                np.mean([(getattr(item, name) or 0.0) <= 0.05 for item in found])
                for name in ("p_moved", "p_target", "p_covariate")
            ]
            lines.append(
                [
                    setting,
                    *(
                        f"{count[name]}"
                        for name in ("none", "target", "covariate", "both", "unknown")
                    ),
                    *(f"{share:.2f}" for share in rejected[: 3 if labels else 2]),
                ]
            )
        known = "with targets" if labels else "without"
        names = ["p_moved", "p_target", "p_covariate"][: 3 if labels else 2]
        header = ["none", "target", "covariate", "both", "unknown", *names]
        print_table([f"{known}, {seeds} × {rows} rows", *header], lines)


def balance(seeds: int) -> None:
    """Print the error of a treatment effect that is 0, by weights."""
    rows = []
    for size in (200, 1000):
        for sigma in (1.0, 2.0):
            errors = []
            for seed in range(seeds):
                x, y, treated = kang_schafer(size, sigma, np.random.default_rng(seed))
                model = LogisticRegression(C=np.inf, max_iter=5000).fit(
                    (x - x.mean(axis=0)) / x.std(axis=0), treated
                )
                chance = model.predict_proba((x - x.mean(axis=0)) / x.std(axis=0))[:, 1]
                inverse = np.where(treated, 1.0 / chance, 1.0 / (1.0 - chance))
                balanced = np.empty(size)
                for side in (treated, ~treated):
                    balanced[side] = balancing_weights(x[side], x)
                errors.append([_effect(y, treated, w) for w in (np.ones(size), inverse, balanced)])
            found = np.array(errors)
            root, bias = np.sqrt((found**2).mean(axis=0)), found.mean(axis=0)
            cells = [f"{r:.2f} ({b:+.2f})" for r, b in zip(root, bias, strict=True)]
            rows.append([str(size), f"{sigma:g}", str(seeds), *cells])
    print_table(["rows", "σ", "seeds", "unweighted", "inverse propensity", "balancing"], rows)


def cost(times: int = 3) -> None:
    """Print the CPU seconds of a verdict on 500 rows a side and 50 columns, the least of some."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal(1000)
    x = 0.3 * y[:, None] + rng.standard_normal((1000, 50))
    names = [f"c{j}" for j in range(50)]
    table = pa.table(dict(zip(names, x.T.copy(), strict=True)) | {TARGET: y})
    spent = []
    for _ in range(times):
        start = process_time()
        target_shift(table.slice(0, 500), table.slice(500), TARGET, names, seed=0)
        spent.append(process_time() - start)
    print(f"verdict on 500 + 500 rows, 50 columns: {min(spent):.2f} CPU s")


def _effect(y: Floats, treated: NDArray[np.bool_], weights: Floats) -> float:
    own, other = (np.average(y[side], weights=weights[side]) for side in (treated, ~treated))
    return float(own - other)


def _linear_loss(x: Floats, y: Floats, weights: Floats, x_after: Floats, y_after: Floats) -> float:
    """Return the window's mean squared error of weighted least squares with an intercept."""
    design, root = np.column_stack([np.ones(len(y)), x]), np.sqrt(weights)
    slope = np.linalg.lstsq(design * root[:, None], y * root)[0]
    fitted = np.column_stack([np.ones(len(y_after)), x_after]) @ slope
    return float(np.mean((fitted - y_after) ** 2))


def _with_error(values: Floats, root: float) -> str:
    return f"{values.mean():.4f} ± {values.std(ddof=1) / root:.4f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    seeds = parser.parse_args().seeds
    with threadpool_limits(1):
        weights_and_losses(2 * seeds)
        forecaster_losses(max(seeds // 2, 2))
        verdicts(seeds, 200)
        verdicts(seeds, 500)
        balance(seeds)
        cost()
