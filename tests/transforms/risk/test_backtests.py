from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from transforms.risk.backtests import exceedance_test, joint_tail_score, pit_uniformity

TRIALS = 400


def hits(n: int, *places: int) -> np.ndarray:
    """Return rows that are exceedances at some places alone."""
    below = np.zeros(n, bool)
    below[list(places)] = True
    return below


def test_kupiec_of_21_in_2487_rows() -> None:
    """The published case, of so many rows that powers of p would underflow."""
    found = exceedance_test(hits(2487, *range(0, 2100, 100)), 0.01)
    assert found.below == 21
    assert found.unconditional == pytest.approx(0.642207, abs=1e-6)
    assert found.unconditional_p == pytest.approx(0.422913, abs=1e-6)


def test_independence_of_ten_rows_by_hand() -> None:
    """n00 = 4, n01 = 2, n10 = 1, n11 = 2: one chance of 4/9 against 2/6 and 2/3."""
    found = exceedance_test([0, 0, 1, 1, 1, 0, 0, 0, 0, 1], 0.4)
    one = 4 * np.log(4 / 9) + 5 * np.log(5 / 9)
    two = 2 * np.log(1 / 3) + 4 * np.log(2 / 3) + 2 * np.log(2 / 3) + np.log(1 / 3)
    assert found.independence == pytest.approx(2 * (two - one))
    assert found.unconditional == 0
    assert found.conditional_p == pytest.approx(np.exp(-found.conditional / 2))


@pytest.mark.parametrize("below", [np.zeros(300, bool), np.ones(300, bool), hits(300, 299), [True]])
def test_degenerate_rows_have_finite_ratios(below: np.ndarray) -> None:
    """No exceedance, nothing else, one at the very end, and one row."""
    found = exceedance_test(below, 0.05)
    values = (found.unconditional, found.independence, found.unconditional_p, found.conditional_p)
    assert np.isfinite(values).all()
    assert found.independence_p > 0.5


def test_no_rows_are_refused() -> None:
    """There is nothing to test."""
    with pytest.raises(ValueError, match="no rows"):
        exceedance_test([], 0.05)


def test_size_and_power(rng: np.random.Generator) -> None:
    """Fair rows are rejected as often as the test says; too many and clustered ones mostly."""
    fair = [exceedance_test(rng.random(1000) < 0.05, 0.05) for _ in range(TRIALS)]
    error = 4 * np.sqrt(0.05 * 0.95 / TRIALS)
    for name in ("unconditional_p", "conditional_p"):
        rejected = np.mean([getattr(test, name) < 0.05 for test in fair])
        # χ² is the limit: with 50 exceedances a few hundredths off
        assert abs(rejected - 0.05) < error + 0.02
    many = [exceedance_test(rng.random(1000) < 0.09, 0.05).unconditional_p for _ in range(100)]
    assert np.mean(np.array(many) < 0.05) > 0.9
    clustered = []
    for _ in range(100):
        calm = np.repeat(rng.random(50) < 0.8, 20)
        rows = rng.random(1000) < np.where(calm, 0.01, 0.21)
        clustered.append(exceedance_test(rows, 0.05).independence_p)
    assert np.mean(np.array(clustered) < 0.05) > 0.7


def test_true_tail_has_the_lowest_joint_score(rng: np.random.Generator) -> None:
    """Value at risk and expected shortfall of the law itself, against each of them 20 % off."""
    y = rng.standard_t(5, size=200_000)
    v = special.stdtrit(5.0, 0.05)
    e = -stats.t(5).pdf(v) * (5 + v * v) / (4 * 0.05)

    def score(quantile: float, shortfall: float) -> np.ndarray:
        return joint_tail_score(y, np.full_like(y, quantile), np.full_like(y, shortfall), 0.05)

    best = score(v, e)
    for quantile, shortfall in ((0.8 * v, e), (1.2 * v, e), (v, 0.8 * e), (v, 1.2 * e)):
        more = score(quantile, shortfall) - best
        assert more.mean() > 3 * more.std() / np.sqrt(len(y))
    assert np.isnan(joint_tail_score([1.0], [0.5], [0.1], 0.05))[0]


def test_joint_score_by_hand() -> None:
    """An outcome −3 below v = −2 with e = −2.5 at p = .1: 1/.25 + .8 + ln 2.5 − 1."""
    found = joint_tail_score([-3.0, 0.0], [-2.0, -2.0], [-2.5, -2.5], 0.1)
    np.testing.assert_allclose(found, [4 - 0.2 + np.log(2.5), -0.2 + np.log(2.5)])


def test_pit_uniformity_is_the_test_of_kolmogorov_and_smirnov(rng: np.random.Generator) -> None:
    """Statistic and p-value as SciPy's, with missing values left out."""
    pit = rng.random(300) ** 1.05
    distance, p = pit_uniformity(np.append(pit, np.nan))
    expected = stats.kstest(pit, "uniform", method="asymp")
    assert distance == pytest.approx(expected.statistic)
    assert p == pytest.approx(expected.pvalue)
    assert pit_uniformity([]) == (0.0, 1.0)
