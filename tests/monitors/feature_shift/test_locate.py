from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitors.counts import fit_rates
from monitors.encoder import fit_encoder
from monitors.feature_shift.gram_methods import GRAM_METHODS
from monitors.feature_shift.locate import MOST_NAMED, Evidence, locate
from monitors.gram import profile, profile_blocks
from monitors.null import Null, fit_null
from tests.monitors.simulated import Floats, chain, columns_of, table

D = 6
MOMENTS = GRAM_METHODS["moments"]
BLOCKS = 30


def moved(p: pa.Table, q: pa.Table, terms: int = 2, **limits: float) -> list[Evidence]:
    """Return what is said of every feature of a window q, by exchange of blocks with p."""
    enough = 1_000_000 if terms == 2 else 1
    encoder = fit_encoder(p, columns_of(p), features=p.column_names, window_rows=enough)
    blocks = [
        list(profile_blocks(encoder, t, np.arange(t.num_rows) * BLOCKS // t.num_rows).values())
        for t in (p, q)
    ]
    stack = np.stack([block.gram for part in blocks for block in part])
    rows = np.array([float(block.rows) for block in blocks[0]])
    rng = np.random.default_rng(0)

    def null_without(removed: tuple[int, ...]) -> Null:
        bases = MOMENTS.bases(encoder.bases(np.inf), removed)
        shares = MOMENTS.parts(bases)
        return fit_null(stack, MOMENTS.within(bases), BLOCKS, rng, rows=1.0, shares=shares)

    return locate(
        profile(encoder, p),
        profile(encoder, q),
        MOMENTS,
        encoder.bases(np.inf),
        fit_rates(encoder.features, np.stack([block.counts for block in blocks[0]]), rows),
        null_without,
        **({"level": 0.01, "ignore_below": 0.1} | limits),
    )


def named(found: list[Evidence]) -> list[tuple[int, str]]:
    """Return the features that alarm, in the order of naming, and by which test."""
    return [(item.feature, item.kind) for item in found if item.alarm]


def pair(rng: np.random.Generator, rows: int = 1000) -> tuple[Floats, Floats]:
    """Return two tables of one law."""
    return chain(rng, rows, D), chain(rng, rows, D)


def test_nothing_is_named_where_nothing_moved(rng: np.random.Generator) -> None:
    """And every feature is reported once, strongest first."""
    p, q = pair(rng)
    found = moved(table(p), table(q))
    assert named(found) == []
    assert sorted(item.feature for item in found) == list(range(D))
    assert [item.evidence for item in found] == sorted((e.evidence for e in found), reverse=True)


@pytest.mark.parametrize("rows", [1000, 20_000])
@pytest.mark.parametrize("change", ["replayed", "offset", "noisier", "wider"])
def test_the_feature_that_moved_is_named_and_its_neighbours_are_not(
    rng: np.random.Generator, rows: int, change: str
) -> None:
    """Also in long tables, where every neighbour's own conditional has changed significantly."""
    p, q = pair(rng, rows)
    q[:, 3] = {
        "replayed": rng.permutation(q[:, 3]),
        "offset": q[:, 3] + 0.5,
        "noisier": q[:, 3] + 0.7 * rng.standard_normal(rows),
        "wider": 1.4 * q[:, 3],
    }[change]
    assert named(moved(table(p), table(q))) == [(3, "conditional")]


@pytest.mark.parametrize("rows", [1000, 20_000])
def test_the_root_is_named_first_where_it_drags_its_neighbours(
    rng: np.random.Generator, rows: int
) -> None:
    """x2 shifts before x3 is drawn from it, and so on down the chain."""
    p, q = pair(rng, rows)
    q += np.concatenate([[0, 0], 0.7 ** np.arange(D - 2)])
    assert named(moved(table(p), table(q)))[0] == (2, "conditional")


@pytest.mark.parametrize("other", [3, 5])
def test_two_features_that_moved_at_once_are_both_named(
    rng: np.random.Generator, other: int
) -> None:
    """Neighbours or not."""
    p, q = pair(rng)
    q[:, 2] = rng.permutation(q[:, 2])
    q[:, other] += 0.8
    assert sorted(named(moved(table(p), table(q)))) == [(2, "conditional"), (other, "conditional")]


def test_missing_values_are_named_as_such_and_nothing_else_is(rng: np.random.Generator) -> None:
    """Gaps at random leave what the feature is, given the others, as it was."""
    p, q = pair(rng)
    q[rng.random(len(q)) < 0.1, 4] = np.nan
    found = moved(table(p), table(q))
    assert named(found) == [(4, "missing")]
    assert found[0].effect == pytest.approx(2 * np.arcsin(np.sqrt(0.1)), rel=0.15)


@pytest.mark.parametrize("offset", [0.25, 0.3, 0.4])
def test_many_missing_values_are_named_before_a_weaker_change_elsewhere(
    rng: np.random.Generator, offset: float
) -> None:
    """What is counted does not vanish when another feature is set aside."""
    p, q = pair(rng)
    q[:, 1] += offset
    q[rng.random(len(q)) < 0.2, 4] = np.nan
    assert named(moved(table(p), table(q))) == [(4, "missing"), (1, "conditional")]


def test_fewer_missing_values_are_a_change_too(rng: np.random.Generator) -> None:
    """The test of missing values is two-sided."""
    p, q = pair(rng)
    p[rng.random(len(p)) < 0.1, 4] = np.nan
    assert named(moved(table(p), table(q))) == [(4, "missing")]


def words(rng: np.random.Generator, rows: int, new: float) -> dict[str, pa.Array]:
    """Return a column of three words, and a share of one that no reference has."""
    drawn = rng.choice(["a", "b", "c", "new"], rows, p=[0.6 - new, 0.3, 0.1, new])
    return {"word": pa.array(drawn.tolist())}


def test_a_new_category_is_named(rng: np.random.Generator) -> None:
    """Two rows in a hundred with a value the reference never had."""
    p, q = pair(rng)
    found = moved(table(p, words(rng, 1000, 0.0)), table(q, words(rng, 1000, 0.02)))
    assert named(found) == [(D, "unseen")]


def test_a_change_of_spread_alone_is_named(rng: np.random.Generator) -> None:
    """An independent feature: its mean and its dependence are as they were."""
    p, q = rng.standard_normal((1000, D)), rng.standard_normal((1000, D))
    q[:, 1] *= 1.4
    found = moved(table(p), table(q))
    assert named(found) == [(1, "conditional")]


def test_a_shift_too_small_to_matter_is_no_alarm_however_significant(
    rng: np.random.Generator,
) -> None:
    """In 100,000 rows .05 conditional standard deviations are found, and ignored unless asked."""
    p, q = rng.standard_normal((100_000, D)), rng.standard_normal((100_000, D))
    q[:, 1] += 0.05
    ignored = moved(table(p), table(q))
    assert named(ignored) == []
    assert ignored[0].feature == 1
    assert ignored[0].evidence > ignored[0].threshold
    assert ignored[0].effect == pytest.approx(0.05, rel=0.2)
    assert named(moved(table(p), table(q), ignore_below=0.0)) == [(1, "conditional")]


def test_the_effect_of_an_offset_is_its_size_in_conditional_standard_deviations(
    rng: np.random.Generator,
) -> None:
    """Half of one is .5, within a fifth, with one term or two."""
    p, q = rng.standard_normal((4000, D)), rng.standard_normal((4000, D))
    q[:, 1] += 0.5
    for terms in (1, 2):
        found = moved(table(p), table(q), terms)[0]
        assert found.effect == pytest.approx(0.5, rel=0.2)


def test_when_everything_moves_the_naming_ends(rng: np.random.Generator) -> None:
    """Ten names say it; the rest are reported without an alarm."""
    p, q = rng.standard_normal((600, 14)), rng.standard_normal((600, 14)) * 2 + 1
    found = moved(table(p), table(q))
    assert len(named(found)) == MOST_NAMED
    assert len(found) == 14


def test_further_names_cost_a_fifth_of_the_level(rng: np.random.Generator) -> None:
    """The threshold rises after the first name."""
    p, q = pair(rng)
    q[:, 2] += 2
    found: Any = moved(table(p), table(q))
    assert found[1].threshold > found[0].threshold


def test_the_one_that_explains_the_rest_is_named_first(rng: np.random.Generator) -> None:
    """x3 follows the square of x2 and stops to: the second term of x2 lost all that told it."""
    p, q = pair(rng, 2000)
    for x in (p, q):
        x[:, 3] = x[:, 2] ** 2 + 0.3 * rng.standard_normal(len(x))
    q[:, 3] = rng.permutation(q[:, 3])
    assert named(moved(table(p), table(q))) == [(3, "conditional")]
