from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from monitors.encoder import FloatArray
from monitors.jump.columns import LEVELS, ColumnJump, compare_columns, holm
from monitors.jump.periods import Periods
from tests.monitors.jump.streams import around, dependent

WHEN = "2013-09-21 14:00 UTC"


def periods(x: FloatArray, functions: FloatArray) -> Periods:
    """Return periods of 30 rows each."""
    return Periods(x, functions, np.full(len(x), 30))


def compared(changed: FloatArray, rng: np.random.Generator) -> tuple[ColumnJump, ColumnJump]:
    """Return what is found of a column to which a function is added after, and of a clean one."""
    x, functions = dependent(rng, 60, 0.3, LEVELS)
    _, clean = dependent(rng, 60, 0.3, LEVELS)
    functions = functions + changed * (x > 0.0)[:, None]
    found = compare_columns(
        {"clean": periods(x, clean), "hit": periods(x, functions)},
        {"clean": None, "hit": "°F"},
        WHEN,
    )
    return found[0], found[1]


def test_column_that_jumped_stands_first_with_a_sentence(rng: np.random.Generator) -> None:
    """All quantiles by 4: the sentence has the unit, the band, and that all moved alike."""
    hit, clean = compared(np.full(19, 4.0), rng)
    assert (hit.column, hit.jumped, clean.jumped) == ("hit", True, False)
    assert hit.sentence.startswith(f"hit jumped at {WHEN}: the median by +")
    assert "°F (band " in hit.sentence
    assert "no quantile by another amount" in hit.sentence
    assert clean.sentence.startswith(f"clean shows no jump at {WHEN}: the median by ")
    assert list(hit.moved) == list(LEVELS)
    assert len(clean.moved) == 0


def test_quantiles_that_stay_are_told(rng: np.random.Generator) -> None:
    """Only the upper quantiles move: the largest jump and the quantiles without one."""
    hit, _ = compared(np.where(LEVELS > 0.7, 20.0 * (LEVELS - 0.7), 0.0), rng)
    assert hit.jumped
    assert hit.quantiles.p_homogeneity < 0.05
    assert "the 0.95 quantile by +" in hit.sentence
    assert "no jump is shown by the quantiles 0.05 to 0." in hit.sentence


def test_variation_alone_is_said_to_have_jumped(rng: np.random.Generator) -> None:
    """The level scatters five times as far from period to period, about the same mean."""
    x = around(200)
    level = rng.normal(size=400) * np.where(x > 0.0, 5.0, 1.0)
    functions = level[:, None] + np.linspace(-1.0, 1.0, 19)
    found = compare_columns({"a": periods(x, functions)}, {"a": None}, WHEN)[0]
    assert found.jumped
    assert "how much it varies from period to period went from " in found.sentence


def test_the_jump_test_alone_names_the_mean_where_the_variation_stays(
    rng: np.random.Generator,
) -> None:
    """Only the second test rejects, and periods vary as before."""
    from monitors.jump.columns import _sentence

    hit, _ = compared(np.full(19, 4.0), rng)
    same = replace(hit.variation, variance_after=hit.variation.variance_before)
    says = _sentence("a", "K", WHEN, hit.quantiles, same, np.array([False, True]), 0.05, 30.0)
    assert says.startswith(f"a jumped at {WHEN}: its mean distribution, the median by +")


@pytest.mark.parametrize(("centre", "scale"), [(1e9, 1e-3), (0.0, 1e-6), (0.0, 1e100)])
def test_unit_and_origin_decide_nothing(
    rng: np.random.Generator, centre: float, scale: float
) -> None:
    """The same jump in another unit, or far from 0: the same p-values, rescaled quantiles."""
    x, functions = dependent(rng, 60, 0.3, LEVELS)
    functions = functions + 4.0 * (x > 0.0)[:, None]
    plain, other = (
        compare_columns({"a": periods(x, values)}, {"a": None}, WHEN)[0]
        for values in (functions, centre + scale * functions)
    )
    assert other.quantiles.p_value == pytest.approx(plain.quantiles.p_value, rel=1e-2)
    assert other.variation.p_value == pytest.approx(plain.variation.p_value, rel=1e-2)
    assert other.quantiles.jump == pytest.approx(scale * plain.quantiles.jump, rel=1e-2)
    assert other.quantiles.half_width == pytest.approx(scale * plain.quantiles.half_width, rel=1e-2)
    spread = np.sqrt([one.variation.variance_after for one in (plain, other)])
    assert spread[1] == pytest.approx(scale * spread[0], rel=1e-2)


def test_rounding_is_neither_a_jump_nor_a_variation() -> None:
    """Constants, the same or another afterwards: exact numbers, and one amount for all."""
    x = around(100)
    columns = {
        "same": periods(x, np.full((200, 19), 0.3)),
        "step": periods(x, np.where(x > 0.0, 0.5, 0.3)[:, None] * np.ones(19)),
    }
    step, same = compare_columns(columns, dict.fromkeys(columns), WHEN)
    assert (step.column, step.jumped, same.jumped) == ("step", True, False)
    assert step.sentence.endswith(
        "the median by +0.2 (band 0.2 to 0.2), and no quantile by another amount"
    )
    assert same.sentence.endswith("the median by +0 (band 0 to 0)")


def test_json_holds_plain_numbers(rng: np.random.Generator) -> None:
    """What is told of a column can be written, and the bounds enclose the jumps."""
    hit, _ = compared(np.full(19, 4.0), rng)
    told = json.loads(json.dumps(hit.to_json(3600.0), allow_nan=False))
    assert told["levels"] == pytest.approx(LEVELS)
    assert all(
        a <= b <= c for a, b, c in zip(told["lower"], told["jump"], told["upper"], strict=True)
    )
    assert told["largest"]["jump"] == pytest.approx(max(told["jump"]))
    assert told["bandwidth_seconds"] == hit.quantiles.bandwidth * 3600.0


def test_holm_is_the_step_down_of_bonferroni() -> None:
    """Worked by hand; never above 1, in the order given."""
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]).max() == 1.0


@pytest.mark.slow
def test_a_clean_table_names_a_column_in_at_most_five_percent(rng: np.random.Generator) -> None:
    """Six columns without a jump, 40 times: at most 5 % and 3.5 binomial errors are alarms."""
    alarms = 0
    for seed in range(40):
        columns = {str(n): periods(*dependent(rng, 30, 0.5, LEVELS)) for n in range(6)}
        found = compare_columns(columns, dict.fromkeys(columns), WHEN, draws=299, seed=seed)
        alarms += found[0].jumped
    assert alarms <= 2 + 3.5 * np.sqrt(40 * 0.05 * 0.95)
