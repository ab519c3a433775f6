"""Boosted families of distributions beside NGBoost: log score, pinball loss, coverage and CPU.

Run by ``python -m benchmarks.families``; about five minutes, four of them NGBoost's. The first run
installs NGBoost into an environment of its own, under `benchmarks/.data`.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import lightgbm  # noqa: F401 (loaded here, so that no forecaster's time holds its import)
import numpy as np
from numpy.typing import NDArray
from sklearn import datasets

from benchmarks.measure import machine, print_table
from benchmarks.peers.environments import python_of
from transforms.distributions.families import FAMILIES
from transforms.forecast.kinds import CROSS_FITS, suits
from transforms.forecast.parametric import Parametric
from transforms.forecast.select import contiguous_folds
from transforms.forecast.selected_family import SelectedFamily
from transforms.forecast.training import TrainingSet
from transforms.scores import interval_coverage, pinball_loss

Floats = NDArray[np.float64]

LEVELS = np.array([0.05, 0.10, 0.25, 0.40, 0.50, 0.60, 0.75, 0.90, 0.95])
ROWS = 20_000  # of HET, to fit on and to test on
FOLDS = 5
OURS = ("normal", "student_t", "skew_t", "lognormal", "gamma", "selected_family")
SEED = 20260104


@dataclass(frozen=True, slots=True)
class Task:
    """A table, and the fold in which each row is forecast; −1 for rows that only train."""

    X: Floats
    y: Floats
    fold: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Result:
    """What one model gave for the rows that are forecast."""

    log_density: Floats
    quantiles: Floats
    cpu: float  #: seconds of all fits and predictions


def main() -> None:
    """Print a table for each task."""
    print(machine() + "\n")
    for name, task in tasks().items():
        tested = task.fold >= 0
        y = task.y[tested]
        same = np.tile(np.quantile(y, LEVELS), (len(y), 1))
        constant = pinball_loss(y, same, LEVELS).mean()
        found = {kind: ours(task, kind) for kind in OURS if suits(kind, task.y)}
        for family in ("normal", "lognormal"):
            if suits(family, task.y):
                found[f"NGBoost, {family}"] = ngboost(task, family)
        print(f"{name}: {len(task.y):,} rows, {task.X.shape[1]} features\n")
        rows = []
        for model, result in found.items():
            loss = pinball_loss(y, result.quantiles, LEVELS).mean() / constant
            covered = interval_coverage(y, result.quantiles[:, 0], result.quantiles[:, -1])
            score = -result.log_density.mean()
            rows.append(
                [model, f"{result.cpu:.1f}", f"{score:.3f}", f"{loss:.4f}", f"{covered:.3f}"]
            )
        print_table(["model", "CPU s", "log score", "pinball, share", "90 % coverage"], rows)


def tasks() -> dict[str, Task]:
    """Return HET, fitted once, and real tables in five folds."""
    rng = np.random.default_rng(SEED)
    X, y = heteroscedastic(2 * ROWS, rng)
    found = {"HET": Task(X, y, np.where(np.arange(2 * ROWS) < ROWS, -1, 0))}
    diabetes, cells, wine = (
        datasets.load_diabetes(),
        datasets.load_breast_cancer(),
        datasets.load_wine(),
    )
    area = list(cells.feature_names).index("area error")
    tables = {
        "diabetes": (diabetes.data, diabetes.target),
        "breast cancer, area error": (np.delete(cells.data, area, 1), cells.data[:, area]),
        "wine, proline": (wine.data[:, :-1], wine.data[:, -1]),
    }
    for name, (features, target) in tables.items():
        order = rng.permutation(len(target))
        folds = contiguous_folds(np.arange(len(target)), FOLDS)
        found[name] = Task(features[order], target[order], folds)
    return found


def heteroscedastic(rows: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw HET: location, scale and skew follow twenty features, tails are Student's t(5)."""
    x = rng.uniform(size=(20, rows))
    x[15:18] = rng.integers(0, 10, (3, rows)) / 10
    x[18:] = rng.standard_normal((2, rows))
    location = 10 * np.sin(np.pi * x[0] * x[1]) + 20 * (x[2] - 0.5) ** 2 + 10 * x[3] + 5 * x[4]
    location += 2 * (x[15] >= 0.5) * x[18]
    scale = 0.5 + 2 * x[5] + 1.5 * (x[6] > 0.5) * x[3] + 0.3 * np.exp(x[19] / 2)
    left, right = np.exp(0.5 - x[7]), np.exp(x[7] - 0.5)
    size = np.abs(rng.standard_t(5, rows))
    error = np.where(rng.uniform(size=rows) < right / (left + right), right * size, -left * size)
    return x.T.copy(), location + scale * error


def ours(task: Task, kind: str) -> Result:
    """Fit a kind for each fold, with inner folds of its own for what it chooses out of fold."""
    density, quantiles = np.empty(len(task.y)), np.empty((len(task.y), len(LEVELS)))
    begin = time.process_time()
    for fold in np.unique(task.fold[task.fold >= 0]):
        test = task.fold == fold
        X, y = task.X[~test], task.y[~test]
        inner = contiguous_folds(np.arange(len(y)), FOLDS)
        model = CROSS_FITS[kind](TrainingSet(X, y, inner, LEVELS, seed=1)).refit()
        quantiles[test] = model.quantiles(task.X[test])
        if isinstance(model, Parametric | SelectedFamily):
            density[test] = model.log_density(task.X[test], task.y[test])
    spent = time.process_time() - begin
    tested = task.fold >= 0
    return Result(density[tested], quantiles[tested], spent)


def ngboost(task: Task, family: str) -> Result:
    """Fit NGBoost for each fold in its own environment."""
    script = Path(__file__).parent / "peers" / "families_ngboost.py"
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "data.npz", Path(folder) / "parameters.npy"
        np.savez(source, X=task.X, y=task.y, fold=task.fold)
        said = subprocess.run(
            [python_of("ngboost"), "-W", "ignore", script, family, source, target],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        tested = task.fold >= 0
        parameters = np.load(target)[:, tested]
    law = FAMILIES[family]
    return Result(
        law.log_density(task.y[tested], *parameters),
        law.quantile(LEVELS, *parameters[:, :, None]),
        float(said.stdout.splitlines()[-1]),
    )


if __name__ == "__main__":
    main()
