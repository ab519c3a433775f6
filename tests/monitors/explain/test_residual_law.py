from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from monitors.explain.change_point import odd_from, still_from
from monitors.explain.conditional import Conditional
from monitors.explain.residual_law import fit_law, student_scale
from monitors.explain.units import conversions

N = 4000


def before(residual: np.ndarray) -> Conditional:
    """Return rows of a reference with residuals about 10, every hour."""
    times = np.arange(len(residual)) * 3_600_000_000
    return Conditional(times, 10 + residual, np.full(len(residual), 10.0), np.ones(len(residual)))


@pytest.mark.parametrize(("degrees", "low", "high"), [(2.0, 1.6, 3.0), (30.0, 10.0, 30.0)])
def test_the_tails_of_residuals_are_learnt(
    rng: np.random.Generator, degrees: float, low: float, high: float
) -> None:
    """And their scale, within a tenth."""
    law = fit_law(before(0.5 * rng.standard_t(degrees, N)))
    assert low <= law.degrees <= high
    assert law.factor == pytest.approx(0.5, rel=0.1)


def test_residuals_that_last_are_worth_fewer_rows(rng: np.random.Generator) -> None:
    """An AR(1) series with φ has (1 + φ)/(1 − φ) rows to one independent row."""
    series = signal.lfilter([1], [1, -0.6], rng.standard_normal(N))
    assert fit_law(before(np.asarray(series))).dependence == pytest.approx(4.0, rel=0.2)
    assert fit_law(before(rng.standard_normal(N))).dependence == pytest.approx(1.0, abs=0.15)


def test_the_scale_is_that_of_greatest_likelihood(rng: np.random.Generator) -> None:
    """Of a Student law whose degrees of freedom are known."""
    assert student_scale(3 * rng.standard_t(3, N), 3.0) == pytest.approx(3.0, rel=0.08)


def test_the_row_on_which_odd_rows_begin_is_found(rng: np.random.Generator) -> None:
    """Within a few rows."""
    likely = rng.standard_normal(200)
    likely[120:] -= 3
    assert abs(odd_from(likely) - 120) <= 2


def test_the_last_run_of_equal_values_is_found() -> None:
    """It begins with its first value."""
    assert still_from(np.array([1.0, 2.0, 2.0, 3.0, 3.0, 3.0])) == 3
    assert still_from(np.ones(4)) == 0


def test_a_unit_turns_into_the_others_of_its_quantity() -> None:
    """By factor and constant, there and back; an alias is known."""
    found = {each.now: each for each in conversions("°F")}
    assert set(found) == {"°C", "K"}
    assert found["°C"].factor * 212 + found["°C"].constant == pytest.approx(100)
    assert [each.now for each in conversions("fahrenheit")] == list(found)
    back = next(each for each in conversions("°C") if each.now == "°F")
    assert back.factor * 100 + back.constant == pytest.approx(212)


def test_of_an_unknown_unit_every_conversion_is_tried() -> None:
    """As of none at all."""
    assert len(list(conversions("furlong"))) == len(list(conversions(None))) > 50
