"""A target of two features, a sensor that measures it, and a forecast that leans on both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit

from monitors.attribute.attribute import attribute
from monitors.attribute.attribution import Attribution
from monitors.encoder import FloatArray
from schemas.stream import Column

ROWS, WINDOW = 2000, 500
NAMES = ["a", "b", "c", "d", "sensor", "y"]
NUMBERS = {name: Column(type="number") for name in NAMES}
FORECAST = {"a": 0.3, "b": 0.2, "sensor": 0.5}


def _rows(rng: np.random.Generator, n: int, *, other: float = 0.0) -> dict[str, FloatArray]:
    table = {name: rng.standard_normal(n) for name in "abcd"}
    table["a"] += other
    table["y"] = 0.6 * table["a"] + 0.4 * table["b"] + 0.5 * rng.standard_normal(n)
    table["sensor"] = table["y"] + 0.5 * rng.standard_normal(n)
    return table


def _loss(rows: pa.Table) -> FloatArray:
    columns = {n: rows[n].cast(pa.float64()).to_numpy(zero_copy_only=False) for n in NAMES}
    usual = 0.6 * columns["a"] + 0.4 * columns["b"]
    columns["sensor"] = np.where(np.isnan(columns["sensor"]), usual, columns["sensor"])
    forecast = sum(weight * columns[name] for name, weight in FORECAST.items())
    error: FloatArray = np.abs(columns["y"] - forecast)
    return error


def _table(rows: dict[str, Any]) -> pa.Table:
    return pa.table({name: pa.array(rows[name], from_pandas=True) for name in NAMES})


def _attribute(
    before: dict[str, Any], after: dict[str, Any], named: Sequence[str] = ("sensor",), **more: Any
) -> Attribution:
    given: dict[str, Any] = {"graph": {}, "unit": "°C", "loss_name": "error", "seed": 1} | more
    return attribute(_table(before), _table(after), _loss, "y", NUMBERS, named=named, **given)


def _amounts(found: Attribution) -> dict[str, float]:
    return {share.mechanism: share.amount for share in found.shares}


def _cost(rng: np.random.Generator, offset: float) -> float:
    many = _rows(rng, 400_000)
    clean = _loss(_table(many)).mean()
    return float(_loss(_table(many | {"sensor": many["sensor"] + offset})).mean() - clean)


def test_a_sensor_beyond_all_its_values_gets_the_whole_rise(rng: np.random.Generator) -> None:
    """An offset of ten times its noise, where no weights could reach."""
    after = _rows(rng, WINDOW)
    after["sensor"] += 5.0
    found = _attribute(_rows(rng, ROWS), after)
    sensor = found.shares[-1]
    assert sensor.mechanism == "sensor given the others"
    half = 0.5 * (sensor.high - sensor.low)  # 1.6 standard errors
    assert sensor.amount == pytest.approx(_cost(rng, 5.0), abs=2.5 * half)
    assert half < 0.05 * sensor.amount
    assert all(share.low <= 0 <= share.high for share in found.shares[:-1])
    assert abs(found.unexplained) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0.0, 0.7])
def test_intervals_hold_the_truth_as_often_as_they_say(
    rng: np.random.Generator, offset: float
) -> None:
    """Nine times in ten, within four binomial errors; so for a mechanism that did not move."""
    truth = {"sensor": _cost(rng, offset), "y": 0.0, "a": 0.0}
    trials = 100
    held = dict.fromkeys(truth, 0)
    whole = 0
    for trial in range(trials):
        own = np.random.default_rng([trial, 3])
        after = _rows(own, WINDOW)
        after["sensor"] += offset
        found = _attribute(_rows(own, ROWS), after)
        for share in found.shares:
            held[share.columns[0]] += share.low <= truth[share.columns[0]] <= share.high
        whole += found.note is None
    least = trials * 0.9 - 4 * np.sqrt(trials * 0.9 * 0.1)
    assert min(held.values()) >= least
    assert max(held.values()) < trials  # an interval that always holds it says nothing
    assert whole >= least  # a note says that the shares do not add up to the change


def test_the_shares_and_what_is_left_are_the_measured_change(rng: np.random.Generator) -> None:
    """By construction; `before` and `after` are plain means."""
    before, after = _rows(rng, ROWS), _rows(rng, WINDOW, other=0.5)
    after["y"] += 0.3 * after["c"]
    found = _attribute(before, after, named=())
    assert list(_amounts(found)) == ["the other features", "y given all features"]
    assert found.before == pytest.approx(_loss(_table(before)).mean())
    assert found.after == pytest.approx(_loss(_table(after)).mean())
    assert found.after is not None
    total = sum(_amounts(found).values()) + found.unexplained
    assert total == pytest.approx(found.after - found.before)
    assert found.shares[1].low > 0
    assert abs(found.unexplained) < 0.5 * (found.after - found.before)


def test_a_target_that_follows_a_named_feature_comes_after_it(rng: np.random.Generator) -> None:
    """A feature that truly moved costs nothing: the target is as before, given the features."""
    before, after = _rows(rng, ROWS), _rows(rng, WINDOW, other=1.0)
    found = _attribute(before, after, named=["a"])
    assert [share.mechanism for share in found.shares] == [
        "the other features",
        "a given the others",
        "y given all features",
    ]
    assert found.shares[1].low <= 0.0 <= found.shares[1].high


def test_the_targets_own_sensor_is_moved_when_it_is_named(rng: np.random.Generator) -> None:
    """Five units off: a rise of the loss that weights cannot see."""
    after = _rows(rng, WINDOW)
    after["y"] += 5.0
    found = _attribute(_rows(rng, ROWS), after, named=["y"])
    assert found.after is not None
    assert _amounts(found)["y given the others"] == pytest.approx(
        found.after - found.before, abs=0.15
    )


def test_before_the_outcomes_are_known_the_loss_to_expect_is_told(
    rng: np.random.Generator,
) -> None:
    """For a target that goes on as before; once they are there, the share is about the same."""
    before, after = _rows(rng, ROWS), _rows(rng, WINDOW)
    after["sensor"] += 3.0
    found = _attribute(before, after | {"y": np.full(WINDOW, np.nan)})
    assert found.after is None
    assert found.unexplained == 0.0
    assert "not known yet" in (found.note or "")
    assert list(_amounts(found)) == ["the other features", "sensor given the others"]
    later = _amounts(_attribute(before, after))["sensor given the others"]
    assert _amounts(found)["sensor given the others"] == pytest.approx(later, rel=0.1)


def test_the_papers_failure_is_that_of_the_label_given_the_group(rng: np.random.Generator) -> None:
    """Zhang et al. (2023), q from .9 to .1: P(Y|G) .449 of .456, the others below .015."""

    def draw(n: int, q: float) -> pa.Table:
        g = rng.random(n) < 0.5
        y = g ^ (rng.random(n) < 1.0 - q)
        noisy = [y ^ (rng.random(n) < 0.25) for _ in range(3)]
        means = (noisy[0] * 1.0, noisy[1] + 1.0 * g, noisy[2] + 3.0 * g)
        x = {f"X{j + 1}": rng.normal(mean) for j, mean in enumerate(means)}
        return pa.table({"G": g * 1.0, "Y": y * 1.0, **x})

    def brier(rows: pa.Table) -> FloatArray:
        score = 0.4 * rows["X1"].to_numpy() + 0.8 * rows["X2"].to_numpy()
        chance = expit(1.2 * rows["X3"].to_numpy() + score - 3.4)
        loss: FloatArray = np.square(rows["Y"].to_numpy() - chance)
        return loss

    names = ["G", "Y", "X1", "X2", "X3"]
    found = attribute(
        draw(10_000, 0.9),
        draw(10_000, 0.1),
        brier,
        "Y",
        dict.fromkeys(names, Column(type="number")),
        named=(),
        graph={"Y": ["G"], "X1": ["Y"], "X2": ["G", "Y"], "X3": ["G", "Y"]},
        unit=None,
        loss_name="Brier score",
        seed=0,
    )
    assert found.after is not None
    amounts = _amounts(found)
    rise = found.after - found.before
    assert rise > 0.3
    assert amounts.pop("Y given G") == pytest.approx(rise, abs=0.015)
    assert max(map(abs, amounts.values())) < 0.015


def test_categories_and_integers_have_mechanisms_too(rng: np.random.Generator) -> None:
    """A category is weighted; an integer that is moved stays one."""
    types: list[pa.DataType] = []

    def loss(rows: pa.Table) -> FloatArray:
        types.append(rows.schema.field("count").type)
        off = (rows["colour"].to_numpy(zero_copy_only=False) == "red") * 1.0
        found: FloatArray = off + 0.1 * np.abs(rows["count"].to_numpy() - rows["y"].to_numpy())
        return found

    def draw(n: int, red: float, more: int) -> pa.Table:
        y = 100.0 * rng.standard_normal(n)
        return pa.table(
            {
                "colour": np.where(rng.random(n) < red, "red", "blue"),
                "count": np.rint(y + rng.standard_normal(n)).astype(np.int64) + more,
                "y": y,
            }
        )

    columns = {
        "colour": Column(type="category"),
        "count": Column(type="integer"),
        "y": Column(type="number"),
    }
    found = attribute(
        draw(ROWS, 0.2, 0),
        draw(WINDOW, 0.5, 20),
        loss,
        "y",
        columns,
        named=["count", "colour"],
        graph={},
        unit=None,
        loss_name="loss",
        seed=0,
    )
    amounts = _amounts(found)
    assert amounts["count given the others"] == pytest.approx(1.9, abs=0.1)
    assert amounts["colour given the others"] == pytest.approx(0.3, abs=4 * np.sqrt(0.25 / WINDOW))
    assert set(types) == {pa.int64()}


def test_a_held_out_loss_takes_the_place_of_what_the_model_had_seen(
    rng: np.random.Generator,
) -> None:
    """The shares stay as they are; only what is left changes."""
    before, after = _rows(rng, ROWS), _rows(rng, WINDOW)
    plain, held_out = _attribute(before, after), _attribute(before, after, held_out=0.5)
    assert held_out.before == 0.5
    assert held_out.shares == plain.shares
    assert held_out.unexplained == pytest.approx(plain.unexplained + plain.before - 0.5)


def test_too_few_rows_have_no_shares_and_a_reason(rng: np.random.Generator) -> None:
    """The means are told all the same."""
    found = _attribute(_rows(rng, 30), _rows(rng, WINDOW))
    assert found.shares == ()
    assert found.after is not None
    assert "30 rows" in (found.note or "")
    nothing = _attribute(_rows(rng, 0), _rows(rng, 0))
    assert nothing.shares == ()
    assert nothing.before == 0.0


def test_a_window_far_from_the_reference_says_so(rng: np.random.Generator) -> None:
    """Five standard deviations away there is hardly a row to weight."""
    found = _attribute(_rows(rng, ROWS), _rows(rng, WINDOW, other=5.0), named=())
    assert found.effective_rows < 30
    assert "few rows" in (found.note or "")


def test_a_sensor_that_is_missing_more_often_costs_what_its_gaps_cost(
    rng: np.random.Generator,
) -> None:
    """Half of the window's rows are forecast without it."""
    many = _rows(rng, 400_000)
    without = _loss(_table(many | {"sensor": np.full(400_000, np.nan)})).mean()
    cost = 0.5 * (without - _loss(_table(many)).mean())
    after = _rows(rng, WINDOW)
    after["sensor"][::2] = np.nan
    found = _amounts(_attribute(_rows(rng, ROWS), after))
    assert found["sensor given the others"] == pytest.approx(cost, rel=0.3)


def test_a_feature_that_is_constant_in_the_reference_is_no_mechanism(
    rng: np.random.Generator,
) -> None:
    """It has no law that could be weighted; nor has a reference of constants."""
    before, after = _rows(rng, ROWS), _rows(rng, WINDOW)
    before["c"] = np.ones(ROWS)
    found = _attribute(before, after, named=["c", "sensor"])
    assert all("c" not in share.columns for share in found.shares)
    before |= {name: np.ones(ROWS) for name in NAMES}
    found = _attribute(before, after)
    assert (found.shares, found.note) == ((), "the reference is constant")


def test_one_named_feature_and_nothing_else_is_enough(rng: np.random.Generator) -> None:
    """There are no others to be given."""

    def loss(rows: pa.Table) -> FloatArray:
        error: FloatArray = np.abs(rows["y"].to_numpy() - rows["sensor"].to_numpy())
        return error

    before, after = _rows(rng, ROWS), _rows(rng, WINDOW)
    after["sensor"] += 3.0
    found = attribute(
        _table(before).select(["sensor", "y"]),
        _table(after).select(["sensor", "y"]),
        loss,
        "y",
        NUMBERS,
        named=["sensor"],
        graph={},
        unit=None,
        loss_name="error",
        seed=0,
    )
    assert found.after is not None
    assert _amounts(found)["sensor given the others"] == pytest.approx(
        found.after - found.before, rel=0.1
    )


def test_one_seed_gives_one_answer(rng: np.random.Generator) -> None:
    """Also where gaps fall at random."""
    before, after = _rows(rng, ROWS), _rows(rng, WINDOW)
    after["sensor"][::3] = np.nan
    first, second = (_attribute(before, after, seed=5) for _ in range(2))
    assert first == second
