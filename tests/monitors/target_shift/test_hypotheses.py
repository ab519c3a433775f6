"""Tests of what is said of a target and its inputs in a window."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import signal, stats

from benchmarks.shifted_populations import FEATURES, TARGET, rows_of
from monitors.target_shift.hypotheses import target_shift
from monitors.target_shift.verdict import TargetShift
from monitors.target_shift.wording import verdict_of
from schemas.errors import ReferenceDataError

TRIALS = 150


def judged(setting: str, seed: int, rows: int = 300, *, labels: bool = True) -> TargetShift:
    """Return the verdict on a window of a population."""
    rng = np.random.default_rng(seed)
    before, after = rows_of("no shift", rows, rng), rows_of(setting, rows, rng)
    return target_shift(
        before, after if labels else after.drop([TARGET]), TARGET, FEATURES, seed=seed
    )


@pytest.mark.parametrize(
    ("setting", "verdict"),
    [
        ("no shift", "none"),
        ("target shift", "target"),
        ("covariate shift", "covariate"),
        ("both", "both"),
    ],
)
def test_each_kind_of_shift_is_told_from_the_others(setting: str, verdict: str) -> None:
    """With the window's targets, 400 rows against 400, three of four seeds or more."""
    found = [str(judged(setting, seed, 400).verdict) for seed in range(4)]
    assert found.count(verdict) >= 3, found


def test_target_shift_is_seen_and_measured_without_labels() -> None:
    """The inputs alone say that y moved and by how much; the sentence says what is assumed."""
    found = judged("target shift", 2, labels=False)
    truth = rows_of("target shift", 20_000, np.random.default_rng(9))[TARGET].to_numpy().mean()
    assert found.verdict == "target"
    assert found.p_covariate is None
    assert found.mean_after == pytest.approx(truth, abs=0.15)
    assert found.mean_before == pytest.approx(0.0, abs=0.15)
    assert "the inputs are as if" in found.sentence


def test_a_column_of_its_own_is_no_target_shift() -> None:
    """Where one input moves by itself, no weights explain it; without labels no more is told."""
    rng = np.random.default_rng(3)
    before, after = rows_of("no shift", 300, rng), rows_of("no shift", 300, rng)
    moved = after["x4"].to_numpy() + 1.0
    after = after.set_column(after.column_names.index("x4"), "x4", pa.array(moved))
    found = target_shift(before, after.drop([TARGET]), TARGET, FEATURES, seed=0)
    assert found.verdict == "unknown"
    assert found.p_target is not None
    assert found.p_target < 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "name", "labels"),
    [
        ("target shift", "p_target", True),
        ("covariate shift", "p_covariate", True),
        ("target shift", "p_target", False),
    ],
)
def test_a_true_hypothesis_is_rejected_as_rarely_as_said(
    setting: str, name: str, *, labels: bool
) -> None:
    """At 5 %, no more often than the binomial law of 150 trials allows (1 in 1,000)."""
    ps = [getattr(judged(setting, seed, 100, labels=labels), name) for seed in range(TRIALS)]
    rejected = sum(p <= 0.05 for p in ps)
    assert rejected <= stats.binom.ppf(0.999, TRIALS, 0.05), rejected


@pytest.mark.slow
def test_memory_of_a_series_is_no_shift() -> None:
    """Rows of AR(1) series are thinned: no more shifts than the binomial law allows."""
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((1100, 3))
        state = signal.lfilter([0.6], [1.0, -0.8], noise, axis=0)[100:]
        y = state.sum(axis=1) + signal.lfilter([0.6], [1.0, -0.8], rng.standard_normal(1000))
        table = pa.table({"a": state[:, 0], "b": state[:, 1], TARGET: y})
        found.append(
            target_shift(table.slice(0, 500), table.slice(500), TARGET, ["a", "b"], seed=seed)
        )
    moved = sum(item.verdict not in ("none", "unknown") for item in found)
    assert moved <= stats.binom.ppf(0.999, 100, 0.05), moved


def test_verdict_follows_from_what_held() -> None:
    """Every pattern of p-values has its verdict; half the level each where there are labels."""
    assert verdict_of(0.03, 0.5, 0.03) == "none"
    assert verdict_of(0.01, 0.5, 0.01) == "target"
    assert verdict_of(0.01, 0.01, 0.5) == "covariate"
    assert verdict_of(0.9, 0.01, 0.01) == "both"
    assert verdict_of(0.01, 0.5, 0.5) == "unknown"
    assert verdict_of(0.9, 0.01, None) == "none"
    assert verdict_of(0.01, 0.5, None) == "target"
    assert verdict_of(0.01, 0.01, None) == "unknown"


def test_the_same_seed_says_the_same() -> None:
    """Every draw comes from the seed."""
    assert judged("target shift", 2) == judged("target shift", 2)


def test_rows_without_use_are_unknown_and_not_an_error() -> None:
    """Too few rows, a constant target, or inputs that do not vary."""
    rng = np.random.default_rng(0)
    rows = rows_of("no shift", 100, rng)
    constant = rows.set_column(5, TARGET, pa.array(np.zeros(100)))
    plain = rows.set_column(0, "x0", pa.array(np.zeros(100)))
    empty = rows.slice(0, 0)
    for before, after, features in (
        (rows, rows.slice(0, 10), FEATURES),
        (constant, rows, FEATURES),
        (plain, rows, ["x0"]),
        (empty, rows, FEATURES),
        (rows, empty, FEATURES),
    ):
        found = target_shift(before, after, TARGET, features, seed=0)
        assert found.verdict == "unknown"
        assert "not tested" in found.sentence


def test_gaps_categories_and_empty_columns_are_read(rng: np.random.Generator) -> None:
    """Nulls, texts, booleans, integers and a column without a value are inputs like others."""
    rows = rows_of("target shift", 200, rng)
    before = rows_of("no shift", 200, rng)

    def spoilt(table: pa.Table) -> pa.Table:
        y = table[TARGET].to_numpy()
        gaps = np.where(rng.random(200) < 0.1, np.nan, table["x0"].to_numpy())
        return pa.table(
            {
                "x0": pa.array(gaps, from_pandas=True),
                "kind": pa.array(np.where(y > 0, "a", "b")),
                "flag": pa.array(y > 1.0),
                "count": pa.array(np.round(table["x1"].to_numpy()).astype(np.int64)),
                "nothing": pa.nulls(200, pa.float64()),
                TARGET: pa.array(np.where(rng.random(200) < 0.1, np.nan, y), from_pandas=True),
            }
        )

    features = ["x0", "kind", "flag", "count", "nothing"]
    found = target_shift(spoilt(before), spoilt(rows), TARGET, features, seed=0)
    assert found.verdict == "target"


def test_mistakes_are_said() -> None:
    """A column that is not there, and a target that is no number."""
    rows = rows_of("no shift", 100, np.random.default_rng(0))
    with pytest.raises(ReferenceDataError, match="did you mean 'x1'"):
        target_shift(rows, rows, TARGET, ["x1x"], seed=0)
    texts = rows.set_column(5, TARGET, pa.array(["a"] * 100))
    with pytest.raises(ReferenceDataError, match="not numbers"):
        target_shift(texts, rows, TARGET, FEATURES, seed=0)
