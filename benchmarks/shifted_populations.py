"""Populations in which it is known what moved: rows are kept with a chance that depends on it.

Keeping rows by the target alone leaves P(x|y) as it was: target shift. Keeping them by the inputs
alone leaves P(y|x): covariate shift. No other simulation makes either exact.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]
Chance = Callable[[Floats, Floats], Floats]

COLUMNS = 5
FEATURES = [f"x{j}" for j in range(COLUMNS)]
TARGET = "y"

#: chance that a row (x, y) is kept
SETTINGS: dict[str, Chance] = {
    "no shift": lambda _, y: np.ones(len(y)),
    "target shift": lambda _, y: expit(2.0 * y - 1.0),
    "covariate shift": lambda x, _: expit(2.0 * x[:, 0] - 1.0),
    "both": lambda x, y: expit(2.0 * y) * expit(-3.0 * x[:, 1]),
}


def rows_of(setting: str, rows: int, rng: np.random.Generator) -> pa.Table:
    """Return rows of a population: y standard normal, x_j = a_j y + noise, some of them bent."""
    load = np.linspace(1.0, 0.2, COLUMNS)
    bent = np.arange(COLUMNS) % 3 == 0
    kept_x, kept_y, count = [], [], 0
    while count < rows:
        y = rng.standard_normal(4 * rows)
        noise = rng.normal(0.0, 0.7, (len(y), COLUMNS))
        x = load * y[:, None] + 0.3 * np.sin(2.0 * y)[:, None] * bent + noise
        keep = rng.random(len(y)) < SETTINGS[setting](x, y)
        kept_x.append(x[keep])
        kept_y.append(y[keep])
        count += int(keep.sum())
    x, y = np.concatenate(kept_x)[:rows], np.concatenate(kept_y)[:rows]
    return pa.table(dict(zip(FEATURES, x.T.copy(), strict=True)) | {TARGET: y})


def bent_pair(rows: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return x, y before, x, y after, and the true weights: y moves from N(0, 1.5²) to N(1, .75²).

    x = (y, sin y) + N(0, .4²), as in the simulations of Kim et al. (ICLR 2024).
    """
    y, y_after = rng.normal(0.0, 1.5, rows), rng.normal(1.0, 0.75, rows)
    x, x_after = (
        np.column_stack([own, np.sin(own)]) + rng.normal(0.0, 0.4, (rows, 2))
        for own in (y, y_after)
    )
    truth = 2.0 * np.exp(0.5 * (y / 1.5) ** 2 - 0.5 * ((y - 1.0) / 0.75) ** 2)
    return x, y, x_after, y_after, truth


def kang_schafer(
    rows: int, sigma: float, rng: np.random.Generator
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return inputs, outcome and treatment without effect (Kang and Schafer, Stat. Sci. 2007).

    The inputs are bent versions of those that the propensity is a logistic function of.
    """
    z = rng.standard_normal((rows, 4))
    y = 210.0 + z @ [27.4, 13.7, 13.7, 13.7] + sigma * rng.standard_normal(rows)
    treated = rng.random(rows) < expit(z @ [-1.0, 0.5, -0.25, -0.1])
    x = np.column_stack(
        [
            np.exp(z[:, 0] / 2.0),
            z[:, 1] / (1.0 + np.exp(z[:, 0])) + 10.0,
            (z[:, 0] * z[:, 2] / 25.0 + 0.6) ** 3,
            (z[:, 1] + z[:, 3] + 20.0) ** 2,
        ]
    )
    return x, y, treated
