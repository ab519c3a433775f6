from __future__ import annotations

import json

import numpy as np
import pytest

from schemas.errors import BaselineError
from transforms.calibrate.crude import Crude, fit_crude


def test_quantile_is_the_conformal_rank_of_the_residuals() -> None:
    """Of residuals −4 … 4, level .3 is the 3rd, scaled and shifted; level .95 there is none."""
    found = fit_crude(np.zeros(9), np.full(9, 2.0), 2 * np.arange(-4.0, 5.0))
    np.testing.assert_array_equal(
        found.quantiles([10.0], [3.0], (0.3, 0.95)), [[10 + 3 * -2.0, np.inf]]
    )


def test_levels_are_kept_whatever_the_law(rng: np.random.Generator) -> None:
    """A wrong location and scale: each level is reached as often as it says, no rarer."""
    levels, under = (0.05, 0.5, 0.9), np.zeros(3)
    for _ in range(2000):
        y = rng.exponential(size=60)
        made = fit_crude(np.full(59, 7.0), np.full(59, 0.1), y[:59])
        under += y[59] <= made.quantiles([7.0], [0.1], levels)[0]
    for share, level in zip(under / 2000, levels, strict=True):
        assert abs(share - (level + 0.5 / 60)) < 0.5 / 60 + 3.5 * np.sqrt(
            level * (1 - level) / 2000
        )


def test_cdf_counts_residuals_of_all_and_one_more() -> None:
    """An outcome beyond all of 4 residuals is at 4/5, one below all at 0."""
    found = Crude((-1.0, 0.0, 1.0, 2.0))
    np.testing.assert_allclose(found.cdf([5.0] * 3, [2.0] * 3, [99.0, 5.0, -9.0]), [0.8, 0.4, 0.0])


def test_json_round_trip_is_exact(rng: np.random.Generator) -> None:
    """What is written is read back equal; rows without outcome are not in it."""
    y = rng.normal(size=50)
    y[3] = np.nan
    found = fit_crude(np.zeros(50), np.ones(50), y)
    assert len(found.residuals) == 49
    assert Crude.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(BaselineError, match=r"version 7.*tidegauge fit"):
        Crude.from_dict({"version": 7, "residuals": []})
