from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from monitors.check import LEAST_ROWS, MOST_BLOCKS, Comparison, check
from monitors.check import _block_length as block_length
from monitors.check import _number as number
from schemas.errors import ReferenceDataError, SourceError
from schemas.stream import Column
from tests.monitors.simulated import (
    chain,
    columns_of,
    heavy,
    likely,
    likely_at_least,
    serial,
    table,
)

Law = Callable[[np.random.Generator], pa.Table]

D = 8


def compare(p: pa.Table, q: pa.Table, seed: int = 0, level: float = 0.05) -> Comparison:
    """Compare two tables all of whose columns are features."""
    return check(p, q, columns_of(p), seed=seed, false_alarm_rate=level)


def names(result: Comparison) -> list[str]:
    """Return the features that are named, in order."""
    return [found.subject for found in result.findings if found.alarm]


@pytest.mark.slow
def test_one_shuffled_column_of_25_is_named_and_no_other() -> None:
    """1,000 rows a side of a Gaussian chain: its marginal law is untouched.

    A right name is followed by a wrong one with probability .01.
    """
    right, pairs = 0, 60
    for seed in range(pairs):
        rng = np.random.default_rng(seed)
        p, q = chain(rng, 1000, 25), chain(rng, 1000, 25)
        j = int(rng.integers(25))
        q[:, j] = rng.permutation(q[:, j])
        right += names(compare(table(p), table(q), seed)) == [f"x{j}"]
    assert likely_at_least(right, pairs, 0.95)


def numbers(rng: np.random.Generator) -> pa.Table:
    """Return a Gaussian chain."""
    return table(chain(rng, 1000, D))


def heavy_tails(rng: np.random.Generator) -> pa.Table:
    """Return Student's t with 3 degrees of freedom."""
    return table(heavy(rng, 1000, D))


def rows_in_time(rng: np.random.Generator) -> pa.Table:
    """Return AR(1) rows: a thousand, worth a ninth."""
    return table(serial(rng, 1000, D, 0.8))


def rounded(rng: np.random.Generator) -> pa.Table:
    """Return numbers with few different values."""
    return table(np.round(chain(rng, 1000, D)))


def words(rng: np.random.Generator) -> pa.Table:
    """Return categories: dependent, independent, and one with a long tail of rare values."""
    x = chain(rng, 1000, 4)
    grade = np.digitize(x[:, 0] + rng.standard_normal(1000), [-1, 0, 1.2])
    return table(
        x,
        {
            "grade": pa.array([f"g{value}" for value in grade]),
            "flag": pa.array(rng.random(1000) < 0.2),
            "name": pa.array([f"n{min(value, 10**9)}" for value in rng.zipf(1.6, 1000)]),
        },
    )


def gaps(rng: np.random.Generator) -> pa.Table:
    """Return numbers of which 30 % are missing at random."""
    x = chain(rng, 1000, 6)
    x[rng.random(x.shape) < 0.3] = np.nan
    return table(x)


def outages(rng: np.random.Generator) -> pa.Table:
    """Return numbers of which one is missing in bursts, and all are now and then."""
    x = chain(rng, 1000, 5)
    x[np.repeat(rng.random(100) < 0.1, 10), 2] = np.nan
    x[rng.random(1000) < 0.02] = np.nan
    return table(x)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_false_alarms_are_as_many_as_asked_for(level: float) -> None:
    """Per comparison, over all features together."""
    alarms, pairs = 0, 250
    for seed in range(pairs):
        rng = np.random.default_rng(1000 + seed)
        alarms += compare(numbers(rng), numbers(rng), seed, level).alarm
    assert likely(alarms, pairs, level)


@pytest.mark.slow
@pytest.mark.parametrize(
    "law", [heavy_tails, rows_in_time, rounded, words, gaps, outages], ids=lambda law: law.__name__
)
def test_the_law_of_the_rows_costs_no_false_alarms(law: Law) -> None:
    """At a level of .2, at which a miscalibrated null shows soonest."""
    alarms, pairs = 0, 100
    for seed in range(pairs):
        rng = np.random.default_rng(2000 + seed)
        alarms += compare(law(rng), law(rng), seed, 0.2).alarm
    assert likely(alarms, pairs, 0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "now"), [(5000, 400), (400, 5000)])
def test_tables_of_different_lengths_cost_no_false_alarms(before: int, now: int) -> None:
    """Blocks have one length in both."""
    alarms, pairs = 0, 100
    for seed in range(pairs):
        rng = np.random.default_rng(3000 + seed)
        p, q = chain(rng, before, D), chain(rng, now, D)
        alarms += compare(table(p), table(q), seed, 0.2).alarm
    assert likely(alarms, pairs, 0.2)


@pytest.mark.parametrize("rows", [40, 200, 30_000])
def test_a_shuffled_column_is_named_in_short_and_long_tables(
    rng: np.random.Generator, rows: int
) -> None:
    """In the long ones its neighbours' conditionals have changed significantly, too."""
    p, q = chain(rng, rows, 3, rho=0.9), chain(rng, rows, 3, rho=0.9)
    q[:, 1] = rng.permutation(q[:, 1])
    assert names(compare(table(p), table(q))) == ["x1"]


def test_conditions_explain_and_are_not_tested(rng: np.random.Generator) -> None:
    """Colder weather is no change of the sensors that follow it (tested with one term each)."""
    weather = rng.standard_normal((2, 85, 1)) + np.array([0.0, 1.5])[:, None, None]
    p, q = (np.column_stack([w + rng.standard_normal((85, 3)), w]) for w in weather)
    columns = columns_of(table(p))
    given = check(table(p), table(q), columns, condition_on=["x3"])
    assert {found.subject for found in given.findings} == {"x0", "x1", "x2"}
    assert not given.alarm


def test_only_features_are_tested(rng: np.random.Generator) -> None:
    """Other roles are left alone, however they moved."""
    p, q = chain(rng, 300, 3), chain(rng, 300, 3)
    q[:, 2] += 9
    columns = columns_of(table(p)) | {"x2": Column(type="number", role="ignore")}
    result = check(table(p), table(q), columns, false_alarm_rate=0.001)
    assert {found.subject for found in result.findings} == {"x0", "x1"}
    assert not result.alarm


def test_the_seed_decides_and_nothing_else_does(rng: np.random.Generator) -> None:
    """The same seed gives the same object, to the last bit."""
    p, q = numbers(rng), numbers(rng)
    assert compare(p, q, seed=3) == compare(p, q, seed=3)
    assert compare(p, q, seed=3) != compare(p, q, seed=4)


def test_the_result_is_json_with_a_rank_per_feature(rng: np.random.Generator) -> None:
    """Ranks are 1, 2, … and p-values never vanish, however strong the evidence."""
    p, q = chain(rng, 30_000, 3), chain(rng, 30_000, 3)
    q[:, 1] = 3 * rng.standard_normal(30_000) + 5
    result = compare(table(p), table(q))
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert data["alarm"]
    assert data["rows"] == {"reference": 30_000, "current": 30_000, "rejected": 0}
    assert [found["rank"] for found in data["findings"]] == [1, 2, 3]
    assert all(found["p_value"] > 0 for found in data["findings"])


def test_too_few_rows_and_no_feature_are_the_users_mistakes(rng: np.random.Generator) -> None:
    """The message names the table and how many rows it needs."""
    long, short = numbers(rng), numbers(rng).slice(0, LEAST_ROWS - 1)
    with pytest.raises(SourceError, match=r"the current table has 39 rows; .* needs at least 40"):
        compare(long, short)
    with pytest.raises(SourceError, match="the reference table has 39 rows"):
        compare(short, long)
    with pytest.raises(ReferenceDataError, match="no feature"):
        check(long, long, columns_of(long), condition_on=long.column_names)


def test_rows_that_depend_on_each_other_for_long_are_noted(rng: np.random.Generator) -> None:
    """Where so few stretches are independent, the rate is not assured."""
    result = compare(*(table(serial(rng, 400, 3, 0.98)) for _ in range(2)))
    assert len(result.notes) == 1
    assert "the false-alarm rate is not assured" in result.notes[0]
    assert compare(numbers(rng), numbers(rng)).notes == ()


@pytest.mark.parametrize(
    ("rows", "time", "blocks"),
    [(100_000, 1.0, 100), (1000, 1.0, 50), (200, 1.0, 16), (1000, 9.0, 16), (1000, 20.0, 10)],
)
def test_blocks_are_long_before_they_are_many(rows: int, time: float, blocks: int) -> None:
    """Twenty autocorrelation times where sixteen blocks remain, five at the least."""
    notes: list[str] = []
    assert rows / block_length(rows, time, notes) == pytest.approx(blocks)
    assert notes == []


@pytest.mark.parametrize("rows", [40, 999, 1000, 12_345, 1_000_000])
def test_blocks_of_a_table_have_one_length_with_gaps_where_there_would_be_too_many(
    rows: int,
) -> None:
    """Even numbers are blocks; odd ones lie between them."""
    block = number(rows, 22.0)
    assert (np.diff(block) >= 0).all()
    sizes = np.bincount(block)[::2]
    assert len(sizes) == min(MOST_BLOCKS, round(rows / 22))
    assert sizes.min() >= 20
    assert sizes.max() <= 24
