"""Quantile forecasters of others, in their own process: ``python quantile_forecasters.py PEER IN``.

Reads a NumPy archive (X, y, test, levels, trees, depth), writes quantiles.npy beside it, and prints
a line of JSON: CPU seconds of fit and prediction. One thread, each library's own multi-quantile
loss where it has one; quantiles as it gives them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Task = Mapping[str, Any]
Predict = Callable[[Any], Any]


def catboost(task: Task) -> Predict:
    """Fit symmetric trees on all levels at once."""
    from catboost import CatBoostRegressor

    alphas = ",".join(f"{level:g}" for level in task["levels"])
    model = CatBoostRegressor(
        loss_function=f"MultiQuantile:alpha={alphas}",
        iterations=int(task["trees"]),
        depth=int(task["depth"]),
        learning_rate=0.1,  # as the others; its own choice loses more
        thread_count=1,
        verbose=False,
        allow_writing_files=False,
    )
    model.fit(task["X"], task["y"])
    return model.predict


def xgboost(task: Task) -> Predict:
    """Fit trees whose leaves hold all levels."""
    from xgboost import XGBRegressor

    model = XGBRegressor(
        objective="reg:quantileerror",
        quantile_alpha=task["levels"],
        multi_strategy="multi_output_tree",
        n_estimators=int(task["trees"]),
        max_depth=int(task["depth"]),
        learning_rate=0.1,
        tree_method="hist",
        n_jobs=1,
    )
    model.fit(task["X"], task["y"])
    return model.predict


def quantile_forest(task: Task) -> Predict:
    """Fit a forest that keeps the rows of its leaves."""
    from quantile_forest import RandomForestQuantileRegressor

    model = RandomForestQuantileRegressor(n_estimators=100, min_samples_leaf=5, n_jobs=1)
    model.fit(task["X"], task["y"])
    levels = task["levels"].tolist()
    return lambda rows: model.predict(rows, quantiles=levels)


def ngboost(task: Task) -> Predict:
    """Fit location and scale of a normal by natural gradients."""
    from ngboost import NGBRegressor

    model = NGBRegressor(n_estimators=int(task["trees"]), learning_rate=0.1, verbose=False)
    model.fit(task["X"], task["y"])
    return lambda rows: np.column_stack(
        [model.pred_dist(rows).dist.ppf(level) for level in task["levels"]]
    )


def main(peer: str, archive: Path) -> None:
    """Fit, forecast, and say what each took."""
    with np.load(archive) as file:
        task = dict(file)
    fit = {f.__name__: f for f in (catboost, xgboost, quantile_forest, ngboost)}[peer]
    fit({**task, "X": task["X"][:300], "y": task["y"][:300], "trees": 2})  # imports are not counted
    started = time.process_time()
    predict = fit(task)
    fitted = time.process_time()
    quantiles = predict(task["test"])
    done = time.process_time()
    np.save(archive.with_name("quantiles.npy"), np.asarray(quantiles, np.float64))
    print(json.dumps({"fit": fitted - started, "predict": done - fitted}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
