from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

from monitors.counts import RateLaw, exact_interval, fit_rate, fit_rates, with_pieces
from monitors.encoder import Coding


def exact(count: int, rows: int, events: int) -> float:
    """Return −log₁₀ of the beta-binomial tail given so many events of 2,000, as SciPy has it."""
    law = stats.betabinom(rows, events + 0.5, 2000 - events + 0.5)
    return float(-logsumexp(law.logpmf(np.arange(count, rows + 1))) / np.log(10))


def steady(events: int, windows: int = 20, rows: int = 100) -> RateLaw:
    """Return the law of a reference whose windows have about the same number of events."""
    counts = np.full(windows, events // windows)
    counts[: events % windows] += 1
    return fit_rate(counts, np.full(windows, float(rows)))


@pytest.mark.parametrize("events", [20, 100, 1000, 1980])
@pytest.mark.parametrize("rows", [50, 168, 5000])
def test_without_bursts_it_is_the_beta_binomial_tail(events: int, rows: int) -> None:
    """With Jeffreys' posterior of the rate; the reference implementation is SciPy's."""
    law = steady(events)
    for count in stats.betabinom(rows, events + 0.5, 2000 - events + 0.5).ppf([0.2, 0.8, 0.999]):
        upper = exact(int(count), rows, events)
        lower = exact(rows - int(count), rows, 2000 - events)
        one = law.evidence(int(count), rows, two_sided=False)
        two = law.evidence(int(count), rows, two_sided=True)
        assert one == pytest.approx(upper, abs=0.002)
        assert two == pytest.approx(max(0, max(upper, lower) - np.log10(2)), abs=0.002)


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_a_reference_without_events_still_has_an_exact_law(count: int) -> None:
    """None of 2,000: the rate is Beta(½, 2,000½)."""
    found = steady(0).evidence(count, 168, two_sided=False)
    assert found == pytest.approx(exact(count, 168, 0), abs=0.002)


def test_events_that_never_were_and_are_not_say_nothing() -> None:
    """Nor does a window without rows."""
    assert steady(0).evidence(0, 168, two_sided=True) == 0.0
    assert steady(50).evidence(0, 0, two_sided=True) == 0.0


@settings(max_examples=30)
@given(st.integers(0, 2000), st.integers(1, 200))
def test_more_events_are_never_weaker_evidence(events: int, rows: int) -> None:
    """The upper tail falls with the count, and its logarithm stays finite."""
    law = steady(events)
    found = [law.evidence(count, rows, two_sided=False) for count in range(rows + 1)]
    assert np.isfinite(found).all()
    assert (np.diff(found) >= -1e-9).all()


def bursts(rng: np.random.Generator, windows: int) -> np.ndarray:
    """Return events of windows of 100 rows, which come ten at a time."""
    return 10 * rng.binomial(10, 0.1, windows)


def test_bursts_are_seen_in_the_references_own_windows(rng: np.random.Generator) -> None:
    """The same 30 % are far weaker evidence where the reference has them in bursts."""
    counts = bursts(rng, 40)
    law = fit_rate(counts, np.full(40, 100.0))
    even = steady(int(counts.sum()), windows=40)
    assert even.evidence(30, 100, two_sided=False) > 5
    assert law.evidence(30, 100, two_sided=False) < 2.5


@pytest.mark.parametrize("windows", [8, 40])
def test_bursts_do_not_cost_false_alarms(windows: int) -> None:
    """References and windows of one law: p ≤ .05 in at most .05 of them, within binomial error."""
    rng = np.random.default_rng(8)
    pairs, alarms = 300, 0
    for _ in range(pairs):
        counts = bursts(rng, windows + 1)
        law = fit_rate(counts[1:], np.full(windows, 100.0))
        alarms += law.evidence(int(counts[0]), 100, two_sided=True) > -np.log10(0.05)
    assert alarms <= stats.binom.ppf(0.99, pairs, 0.05)


def test_the_share_of_values_seen_once_bounds_the_rate_of_new_ones() -> None:
    """A column of rare names brings new ones; a column of three names does not."""
    counts = np.zeros((20, 2, 2), dtype=np.int64)
    codings = [Coding("names", "category", once=0.05), Coding("colours", "category")]
    (_, names), (_, colours) = fit_rates(codings, counts, np.full(20, 100.0))
    assert names.evidence(8, 168, two_sided=False) < 1
    assert colours.evidence(8, 168, two_sided=False) > 7


@pytest.mark.parametrize("rows", [10, 30, 100])
def test_the_interval_of_a_rate_covers_it_at_least_as_often_as_it_says(rows: int) -> None:
    """Exactly, at every rate, however few the rows; scipy's exact interval agrees."""
    counts = np.arange(rows + 1)
    low, high = np.transpose([exact_interval(int(count), rows) for count in counts])
    for rate in np.linspace(0.001, 0.999, 499):
        covered = stats.binom.pmf(counts, rows, rate)[(low <= rate) & (rate <= high)].sum()
        assert covered >= 0.95
    ours = exact_interval(3, rows)
    assert ours == pytest.approx(stats.binomtest(3, rows).proportion_ci(method="exact"))


def test_bursts_widen_the_interval() -> None:
    """A hundred rows that come in bursts of ten say as much as ten."""
    law = RateLaw(events=50, rows=1000, windows=11, chi_square=100.0)
    assert law.interval(10, 100) == pytest.approx(exact_interval(1, 10))


def gaps(rng: np.random.Generator, rows: int, rate: float, burst: float) -> np.ndarray:
    """Return where values are missing: independent, or in bursts of a mean length."""
    if burst == 1:
        return rng.random(rows) < rate
    missing = np.zeros(rows, dtype=bool)
    at = 0
    while at < rows:
        at += rng.geometric(rate / burst / (1 - rate))
        length = rng.geometric(1 / burst)
        missing[at : at + length] = True
        at += length
    return missing


@pytest.mark.parametrize("burst", [1, 5, 50])
def test_pieces_of_windows_find_more_and_keep_the_level(
    rng: np.random.Generator, burst: float
) -> None:
    """Ten windows of eight pieces: what is not in bursts is known sooner, what is stays unsure."""
    false, found, before = 0, 0, 0
    for _ in range(100):
        reference = gaps(rng, 10_000, 0.05, burst)
        coarse = fit_rate(reference.reshape(10, -1).sum(axis=1), np.full(10, 1000.0))
        law = with_pieces(coarse, reference.reshape(80, -1).sum(axis=1), np.full(80, 125.0))
        quiet, loud = (int(gaps(rng, 1000, rate, burst).sum()) for rate in (0.05, 0.1))
        false += law.evidence(quiet, 1000, two_sided=True) > 2
        found += law.evidence(loud, 1000, two_sided=True) > 4.3
        before += coarse.evidence(loud, 1000, two_sided=True) > 4.3
    assert false <= stats.binom.ppf(0.995, 100, 0.01)
    if burst == 1:
        assert found > before + 10
