"""Tables as they come: nothing breaks, nothing floods, and what moved is still named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from monitors.check import Comparison, check
from monitors.encoder import fit_encoder
from monitors.feature_shift.reference import reference_from_blocks
from monitors.gram import profile_blocks
from schemas.errors import ReferenceDataError
from tests.monitors.simulated import chain, columns_of, likely, likely_at_least, table

ROWS = 600
Law = Callable[[np.random.Generator], pa.Table]


def many_values(rng: np.random.Generator) -> pa.Table:
    """Return an id, a category of 1,500 values, and one with a long tail of rare ones."""
    more = {
        "id": [f"u{value}" for value in rng.integers(0, 10**9, ROWS)],
        "many": [f"m{value}" for value in rng.integers(0, 1500, ROWS)],
        "tail": [f"z{min(value, 10**9)}" for value in rng.zipf(1.3, ROWS)],
    }
    return table(chain(rng, ROWS, 4), {name: pa.array(texts) for name, texts in more.items()})


def constants_and_flags(rng: np.random.Generator) -> pa.Table:
    """Return columns of one value, and booleans: a number's sign, and a rare event."""
    x = chain(rng, ROWS, 4)
    more = {
        "flag": pa.array(x[:, 1] > 0.5),
        "rare": pa.array(rng.random(ROWS) < 0.01),
        "constant": pa.array(np.full(ROWS, 3.0)),
        "word": pa.array(["same"] * ROWS),
    }
    return table(x, more)


def copies_and_sums(rng: np.random.Generator) -> pa.Table:
    """Return x5 = x1, x6 = x0 + x2, x7 = −2 x3: no column is free given the others."""
    x = chain(rng, ROWS, 5)
    return table(np.column_stack([x, x[:, 1], x[:, 0] + x[:, 2], -2 * x[:, 3]]))


def wild(rng: np.random.Generator) -> pa.Table:
    """Return a chain with the tails of Cauchy's law."""
    return table(chain(rng, ROWS, 6) / np.abs(rng.standard_normal((ROWS, 1))))


def zeros(rng: np.random.Generator) -> pa.Table:
    """Return numbers of which nine in ten are zero."""
    x = chain(rng, ROWS, 6)
    return table(np.where(x > 1.28, np.exp(x), 0.0))


def small_counts(rng: np.random.Generator) -> pa.Table:
    """Return integers with few values."""
    return table(np.round(chain(rng, ROWS, 5)))


def gaps(rng: np.random.Generator) -> pa.Table:
    """Return numbers, a category and a flag, each of them missing in 30 % of the rows."""
    x = chain(rng, ROWS, 6)
    holes = rng.random((ROWS, 8)) < 0.3
    grade = np.digitize(x[:, 3], [-1.0, 0.0, 1.0]).astype(str)
    more = {
        "grade": pa.array(grade, mask=holes[:, 6]),
        "flag": pa.array(x[:, 0] > 0.3, mask=holes[:, 7]),
    }
    return table(np.where(holes[:, :6], np.nan, x), more)


def few_distinct_rows(rng: np.random.Generator) -> pa.Table:
    """Return 5,000 rows of which four are different."""
    rows = np.random.default_rng(0).standard_normal((4, 6))
    return table(rows[rng.integers(0, 4, 5000)])


def extreme_units(rng: np.random.Generator) -> pa.Table:
    """Return numbers near both ends of what a float can hold, and far from zero."""
    x = chain(rng, ROWS, 5)
    far = 1e15 + x[:, 2]
    return table(
        np.column_stack([x[:, 0] * 1e300, x[:, 1] * 1e-300, far, np.exp(60 * x[:, 3]), x[:, 4]])
    )


HARD = (
    many_values,
    constants_and_flags,
    copies_and_sums,
    wild,
    zeros,
    small_counts,
    gaps,
    few_distinct_rows,
    extreme_units,
)


def compare(p: pa.Table, q: pa.Table, level: float = 0.05) -> Comparison:
    """Compare two tables all of whose columns are features."""
    return check(p, q, columns_of(p), false_alarm_rate=level)


def named(result: Comparison) -> list[str]:
    """Return the features that are named, in order."""
    return [found.subject for found in result.findings if found.alarm]


def broken(rows: pa.Table, name: str, rng: np.random.Generator) -> pa.Table:
    """Return a table with one column permuted: its own distribution is what it was."""
    at = rows.column_names.index(name)
    return rows.set_column(at, name, rows[name].take(pa.array(rng.permutation(rows.num_rows))))


@pytest.mark.slow
@pytest.mark.parametrize("law", HARD, ids=lambda law: law.__name__)
def test_hard_tables_cost_no_more_false_alarms_than_asked_for(law: Law) -> None:
    """At a level of .2; fewer are no harm (rare events can only be fewer)."""
    alarms, pairs = 0, 40
    for seed in range(pairs):
        rng = np.random.default_rng(4000 + seed)
        alarms += compare(law(rng), law(rng), 0.2).alarm
    assert alarms < 0.2 * pairs or likely(alarms, pairs, 0.2)


@pytest.mark.parametrize(
    ("law", "name"),
    [
        (many_values, "x1"),
        (constants_and_flags, "flag"),
        (wild, "x2"),
        (zeros, "x2"),
        (small_counts, "x1"),
        (gaps, "x1"),
        (few_distinct_rows, "x3"),
        (extreme_units, "x1"),
        (copies_and_sums, "x1"),
        (copies_and_sums, "x5"),
        (copies_and_sums, "x6"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_column_that_no_longer_follows_the_others_is_named_first(law: Law, name: str) -> None:
    """Also where another is its exact copy: the copy still follows the rest."""
    right, trials = 0, 4
    for seed in range(trials):
        rng = np.random.default_rng(6000 + seed)
        right += named(compare(law(rng), broken(law(rng), name, rng)))[:1] == [name]
    assert likely_at_least(right, trials, 0.9)


def test_more_columns_than_rows_are_compared() -> None:
    """60 rows of 80 columns: the ridge keeps every covariance invertible."""
    rng = np.random.default_rng(7)
    p, q = (table(chain(rng, 60, 80)) for _ in range(2))
    result = compare(p, q, 0.001)
    assert len(result.findings) == 80
    assert named(result) == []


def test_a_column_that_is_all_missing_in_one_table_is_named_or_refused() -> None:
    """Named where it had values before; a reference without any says what to do."""
    rng = np.random.default_rng(8)
    p, q = table(chain(rng, ROWS, 4)), table(chain(rng, ROWS, 4))
    empty = q.set_column(2, "x2", pa.nulls(ROWS, pa.float64()))
    assert named(compare(p, empty)) == ["x2"]
    with pytest.raises(ReferenceDataError, match="'x2' has no value in the reference"):
        compare(empty, p)


def test_infinities_score_as_the_largest_values_there_are() -> None:
    """A file's rows with infinities are rejected before; in the library they are only far out."""
    rng = np.random.default_rng(9)
    x = chain(rng, ROWS, 4)
    x[:5, 1], x[5:9, 1] = np.inf, -np.inf
    assert named(compare(table(chain(rng, ROWS, 4)), table(x))) == []


@pytest.mark.parametrize(
    "names", [("", " ", "a,b", "日本\n'\"\\"), ("x.y", "x y", "X.Y", "%{}[b]")]
)
def test_odd_column_names_are_names(names: tuple[str, ...]) -> None:
    """Empty, blank, with quotes, commas, brackets and line breaks."""
    rng = np.random.default_rng(10)
    p, q = (pa.table(dict(zip(names, chain(rng, ROWS, 4).T, strict=True))) for _ in range(2))
    assert named(compare(p, broken(q, names[1], rng))) == [names[1]]


def test_the_longest_windows_of_a_short_reference_have_a_law(rng: np.random.Generator) -> None:
    """Of two windows: one twice as long would be all of it, with nothing left to compare with."""
    rows = table(chain(rng, 2000, 4))
    encoder = fit_encoder(rows, columns_of(rows), features=rows.column_names, window_rows=1000)
    blocks = profile_blocks(encoder, rows, np.arange(2000) * 8 // 1000)
    reference = reference_from_blocks(encoder, "moments", blocks, 8).fit_nulls(0)
    assert all(np.isfinite(null.evidence(null.mean())).all() for null in reference.nulls)


def test_tables_of_constants_are_compared_by_their_values() -> None:
    """There is nothing to regress on, and everything else is new."""
    p = pa.table({"number": [1.0] * 100, "word": ["w"] * 100})
    q = pa.table({"number": [2.0] * 100, "word": ["w"] * 100})
    assert named(compare(p, p)) == []
    assert named(compare(p, q)) == ["number"]
