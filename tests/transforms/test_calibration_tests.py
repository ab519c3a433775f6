from __future__ import annotations

import numpy as np
import pytest
from scipy import signal, special

from transforms.calibration_tests import level_test, long_run_covariance

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
TRIALS, ROWS = 400, 400


def quantiles(rows: int, scale: float = 1.0) -> np.ndarray:
    """Return normal quantiles of each row."""
    return np.tile(scale * special.ndtri(LEVELS), (rows, 1))


def memory(rng: np.random.Generator, phi: float, rows: int = ROWS) -> np.ndarray:
    """Draw a standard normal AR(1) series."""
    noise = rng.normal(size=rows + 200) * np.sqrt(1 - phi**2)
    series: np.ndarray = signal.lfilter([1.0], [1.0, -phi], noise)[200:]
    return series


def p_value(y: np.ndarray, law: np.ndarray, *, serial: bool) -> float:
    """Return the p-value of a test that is made."""
    found = level_test(y, law, LEVELS, serial=serial).p_value
    assert found is not None
    return found


def rejected(rng: np.random.Generator, phi: float, *, serial: bool) -> float:
    """Share of calibrated series that are rejected at 5 %."""
    law, series = quantiles(ROWS), [memory(rng, phi) for _ in range(TRIALS)]
    return float(np.mean([p_value(y, law, serial=serial) < 0.05 for y in series]))


def test_calibrated_forecasts_are_rejected_at_the_level(rng: np.random.Generator) -> None:
    """Independent rows: both forms reject 5 % of calibrated series, to four standard errors."""
    error = 4 * np.sqrt(0.05 * 0.95 / TRIALS)
    assert abs(rejected(rng, 0.0, serial=False) - 0.05) < error
    assert abs(rejected(rng, 0.0, serial=True) - 0.05) < error


def test_memory_raises_no_alarm_when_it_is_allowed_for(rng: np.random.Generator) -> None:
    """AR(1), φ = .6: the serial form keeps its level, the other rejects four times as often."""
    assert rejected(rng, 0.6, serial=True) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / TRIALS)
    assert rejected(rng, 0.6, serial=False) > 0.2


@pytest.mark.parametrize(
    ("scale", "shift", "component", "sign"),
    [(0.8, 0.0, "dispersion", 1), (1.3, 0.0, "dispersion", -1), (1.0, 0.3, "location", 1)],
)
def test_components_say_what_is_wrong(
    rng: np.random.Generator, scale: float, shift: float, component: str, sign: int
) -> None:
    """Too narrow, too wide and too low forecasts are rejected, by the component of that name."""
    test = level_test(rng.normal(shift, 1, 2000), quantiles(2000, scale), LEVELS)
    assert test.p_value is not None
    assert test.p_value < 1e-6
    assert max(test.components, key=lambda name: abs(test.components[name])) == component
    assert np.sign(test.components[component]) == sign


def test_what_cannot_be_told_is_not_tested(rng: np.random.Generator) -> None:
    """Few rows, and outcomes on point masses, are no evidence; each says which it is."""
    y = np.where(np.arange(200) < 50, 0.0, np.nan)
    few = level_test(y, quantiles(200), LEVELS)
    assert (few.rows, few.p_value, few.reason) == (50, None, "50 rows are too few")
    zeros = np.where(rng.uniform(size=1000) < 0.78, 0.0, rng.uniform(size=1000))
    law = np.tile(np.maximum(0.0, (np.array(LEVELS) - 0.78) / 0.22), (1000, 1))
    assert level_test(zeros, law, LEVELS).reason.endswith("of outcomes are on a point mass")


def test_an_outcome_on_a_quantile_is_in_the_cell_below(rng: np.random.Generator) -> None:
    """Integers whose quantiles do not tie are counted by y ≤ q, as levels say."""
    law = np.tile(np.arange(7.0), (4000, 1))
    cells = rng.choice(8, 4000, p=np.diff(np.concatenate([[0], LEVELS, [1]])))
    assert p_value(cells.astype(float), law, serial=False) > 0.01


def test_long_run_variance_is_that_of_the_mean(rng: np.random.Generator) -> None:
    """For AR(1) it nears (1 + φ)/(1 − φ) times the variance; for white noise it is that."""
    mean = np.mean([long_run_covariance(memory(rng, 0.5, 2000)[:, None])[0, 0] for _ in range(200)])
    assert mean == pytest.approx(3.0, rel=0.1)  # bias of smoothing: some percent
    assert long_run_covariance(rng.normal(size=(20_000, 1)))[0, 0] == pytest.approx(1.0, rel=0.15)
