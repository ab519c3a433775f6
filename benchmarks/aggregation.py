"""Ways to combine forecasters on real tables: five splits, loss relative to climatology's.

Every split fits the members and all weights on four fifths of the rows and scores them on the last
fifth. Prints the loss of each way, what putting levels in order does to it, and the coverage of an
80 % interval before and after conformal calibration.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import machine, print_table
from transforms.calibrate.cqr import calibrate
from transforms.forecast.aggregate.cross_fit import (
    COARSE,
    FINE,
    LOCAL_COARSE,
    LOCAL_FINE,
    LOCAL_MEDIUM,
    MEDIUM,
    MEMBERS,
    Scheme,
    aggregate_trials,
)
from transforms.forecast.aggregate.crossing import Crossing
from transforms.forecast.aggregate.learn import Lesson, learn_weights
from transforms.forecast.aggregate.weights import Weights, as_sources, local_logits, mix, softmax
from transforms.forecast.kinds import CROSS_FITS
from transforms.forecast.training import QuantileModel, TrainingSet
from transforms.isotonic import min_max_from_median, pool_adjacent_violators, sort_quantiles
from transforms.scores import interval_coverage, pinball_loss

Floats = NDArray[np.float64]

LEVELS = np.array([0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95])
SPLITS = 5
ROWS_OF_WEIGHTS = 5_000
SCHEMES = {
    "coarse": COARSE,
    "medium": MEDIUM,
    "fine": FINE,
    "local coarse": LOCAL_COARSE,
    "local medium": LOCAL_MEDIUM,
    "local fine": LOCAL_FINE,
}
PENALTIES = {
    "λ = 1, no margin": Crossing(1.0),
    "λ = 1, adaptive margin 0.1": Crossing(1.0, 0.1, adaptive=True),
    "λ = 10, adaptive margin 0.1": Crossing(10.0, 0.1, adaptive=True),
}


@dataclass(slots=True)
class Board:
    """Scores of one table, summed over its splits."""

    losses: dict[str, list[float]] = field(default_factory=dict)
    orders: dict[str, list[float]] = field(default_factory=dict)
    intervals: list[tuple[float, float, float]] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=dict)


def tables() -> dict[str, Callable[[], tuple[Floats, Floats]]]:
    """Return the features and target of each table, by name."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
    from statsmodels.datasets import anes96, fair, randhie, star98

    def frame(module: ModuleType, target: str, *without: str) -> tuple[Floats, Floats]:
        data = module.load_pandas().data
        X = data.drop(columns=[target, *without]).to_numpy(float)
        return X, data[target].to_numpy(float)

    def share_above() -> tuple[Floats, Floats]:
        data = star98.load_pandas().data
        above, below = data["NABOVE"], data["NBELOW"]
        X = data.drop(columns=["NABOVE", "NBELOW"]).to_numpy(float)
        return X, (above / (above + below)).to_numpy(float)

    def nuclei() -> tuple[Floats, Floats]:
        data = load_breast_cancer().data
        return data[:, [0, 4, 5, 6, 7, 8, 9]], data[:, 13]

    return {
        "diabetes": lambda: load_diabetes(return_X_y=True),
        "star98": share_above,
        "wine": lambda: (load_wine().data[:, :-1], load_wine().data[:, -1]),
        "anes96": lambda: frame(anes96, "age", "logpopul", "vote"),
        "breast cancer": nuclei,
        "fair": lambda: frame(fair, "affairs"),
        "randhie": lambda: frame(randhie, "mdvis"),
    }


def main() -> None:
    """Measure, and print three tables."""
    boards = {name: measured(*load()) for name, load in tables().items()}
    print(f"{machine()}; members: {', '.join(MEMBERS)}; {SPLITS} splits\n")
    first = next(iter(boards.values()))
    rows = [
        [way, *(f"{np.mean(board.losses[way]):.4f}" for board in boards.values())]
        for way in first.losses
    ]
    for row, way in zip(rows, first.losses, strict=True):
        row.append(
            f"{np.exp(np.mean([np.log(np.mean(b.losses[way])) for b in boards.values()])):.4f}"
        )
    print_table(["pinball relative to climatology", *boards, "geometric mean"], rows)
    rows = [
        [way, *(f"{np.mean(board.seconds[way]):.2f}" for board in boards.values())]
        for way in first.seconds
    ]
    print_table(["CPU s", *boards], rows)
    rows = [
        [way, *(f"{np.mean(board.orders[way]):.5f}" for board in boards.values())]
        for way in first.orders
    ]
    print_table(["order of local fine weights, relative to unsorted", *boards], rows)
    rows = [
        [name, *(f"{value:.3f}" for value in np.mean(board.intervals, axis=0))]
        for name, board in boards.items()
    ]
    print_table(["80 % interval", "coverage", "conformal", "its width, relative"], rows)


def measured(X: Floats, y: Floats) -> Board:
    """Return the scores of one table."""
    board = Board()
    rng = np.random.default_rng(0)
    part = rng.permutation(len(y)) % SPLITS
    for split in range(SPLITS):
        train, test = part != split, part == split
        folds = rng.permutation(int(train.sum())) % 5
        score(board, TrainingSet(X[train], y[train], folds, LEVELS), X[test], y[test])
    return board


def score(board: Board, training: TrainingSet, X: Floats, y: Floats) -> None:
    """Add the scores of one split."""

    def loss(quantiles: Floats) -> float:
        return float(pinball_loss(y, quantiles, LEVELS).mean())

    def put(way: str, quantiles: Floats) -> None:
        board.losses.setdefault(way, []).append(loss(quantiles) / base)

    def took(way: str, since: float) -> None:
        board.seconds.setdefault(way, []).append(time.process_time() - since)

    trials, forecasts = {}, {}
    for kind in MEMBERS:
        since = time.process_time()
        trials[kind] = CROSS_FITS[kind](training)
        model = trials[kind].refit()
        took(kind, since)
        forecasts[kind] = model.quantiles(X)
        trials[kind] = replace(trials[kind], refit=functools.partial(_identity, model))
    base = loss(forecasts["climatology"])
    names = sorted(trials)
    seen = np.stack([trials[name].quantiles for name in names], axis=1)
    asked = np.stack([forecasts[name] for name in names], axis=1)
    some = np.arange(0, len(training.y), -(-len(training.y) // ROWS_OF_WEIGHTS))
    lesson = Lesson(seen, training.y, training.X, LEVELS).take(some)

    for name in MEMBERS[1:]:
        put(name, forecasts[name])
    put("average", asked.mean(axis=1))
    put("median", np.median(asked, axis=1))
    put("quantile regression averaging", regression_averaging(lesson, asked))
    learnt: dict[Scheme, Weights] = {}
    for name, scheme in SCHEMES.items():
        since = time.process_time()
        simpler = None if scheme.simpler is None else learnt[scheme.simpler]
        learnt[scheme] = learn_weights(lesson, scheme.grain, simpler, local=scheme.local)
        took(name, since)
        put(name, learnt[scheme].combine(asked, X))
    for name, crossing in PENALTIES.items():
        penalised = learn_weights(lesson, "fine", learnt[MEDIUM], crossing=crossing)
        put(f"fine, {name}", penalised.combine(asked, X))
    since = time.process_time()
    chosen = aggregate_trials(training, trials)
    took("choosing", since)
    found = chosen.refit().quantiles(X)
    put("chosen (kind `aggregate`)", found)

    raw = unsorted(learnt[LOCAL_FINE], asked, X)
    middle = len(LEVELS) // 2
    for name, values in {
        "sorted": sort_quantiles(raw),
        "pooled": pool_adjacent_violators(raw),
        "cut off from the median": min_max_from_median(raw, middle),
    }.items():
        board.orders.setdefault(name, []).append(loss(values) / loss(raw))
    low, high = 1, len(LEVELS) - 2
    conformal = calibrate(chosen.quantiles[:, low], chosen.quantiles[:, high], training.y, 0.8)
    lower, upper = conformal.apply(found[:, low], found[:, high])
    widths = [float((b - a).mean()) for a, b in ((found[:, low], found[:, high]), (lower, upper))]
    board.intervals.append(
        (
            interval_coverage(y, found[:, low], found[:, high]),
            interval_coverage(y, lower, upper),
            widths[1] / widths[0],
        )
    )


def regression_averaging(lesson: Lesson, asked: Floats) -> Floats:
    """Regress the outcome on the members, level by level (Nowotarski and Weron, 2015)."""
    from sklearn.linear_model import QuantileRegressor

    rows = slice(None, None, -(-len(lesson.y) // 2_000))
    found = np.empty((len(asked), len(LEVELS)))
    for place, level in enumerate(LEVELS):
        fit = QuantileRegressor(quantile=float(level), alpha=0.0)
        # climatology is a constant within each fold: the intercept stands for it
        fit.fit(lesson.members[rows, 1:, place], lesson.y[rows])
        found[:, place] = fit.predict(asked[:, 1:, place])
    return sort_quantiles(found)


def unsorted(weights: Weights, members: Floats, X: Floats) -> Floats:
    """Return the aggregate's quantiles as they are before they are sorted."""
    logits = weights.logits
    if weights.inputs is not None:
        logits = local_logits(logits, weights.inputs.columns(members, X))
    return mix(softmax(logits), as_sources(weights.grain, members))


def _identity(model: QuantileModel) -> QuantileModel:
    return model


if __name__ == "__main__":
    main()
