"""mlforecast with LightGBM and conformal intervals on a panel, inside its own environment.

``python panel_mlforecast.py VALUES HORIZON OUT``: values as .npy, shape (series, days); writes the
quantiles, shape (series · horizon, 9), and prints the CPU seconds of fit and predict.
"""

from __future__ import annotations

import sys
import time

import lightgbm
import numpy as np
import pandas as pd
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean, RollingStd
from mlforecast.target_transforms import LocalStandardScaler
from mlforecast.utils import PredictionIntervals

WIDTHS = (90, 80, 50, 20)  # the intervals whose ends are the levels .05 … .95 around the median


def main(values: np.ndarray, horizon: int) -> tuple[np.ndarray, float]:
    """Return the quantiles, and the CPU seconds they took."""
    series, days = values.shape
    table = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(series), days),
            "ds": np.tile(pd.date_range("2024-01-01", periods=days), series),
            "y": values.ravel(),
        }
    )
    begin = time.process_time()
    model = lightgbm.LGBMRegressor(
        n_estimators=200, num_leaves=31, n_jobs=1, random_state=0, verbose=-1
    )
    forecaster = MLForecast(
        models={"lgb": model},
        freq="D",
        lags=[1, 2, 3, 7, 14, 21, 28],
        lag_transforms={1: [RollingMean(7), RollingMean(28), RollingStd(28)]},
        date_features=["dayofweek"],
        target_transforms=[LocalStandardScaler()],
        num_threads=1,
    )
    forecaster.fit(table, prediction_intervals=PredictionIntervals(n_windows=2, h=horizon))
    found = forecaster.predict(horizon, level=sorted(WIDTHS)).sort_values(["unique_id", "ds"])
    names = [
        *(f"lgb-lo-{width}" for width in WIDTHS),
        "lgb",
        *(f"lgb-hi-{width}" for width in reversed(WIDTHS)),
    ]
    return found[names].to_numpy(), time.process_time() - begin


if __name__ == "__main__":
    quantiles, seconds = main(np.load(sys.argv[1]), int(sys.argv[2]))
    np.save(sys.argv[3], quantiles)
    print(seconds)
