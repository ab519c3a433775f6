from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from monitors.check import METHODS, Comparison, check
from monitors.feature_shift.row_methods import ROW_METHODS
from schemas.errors import ReferenceDataError, StreamFileError
from tests.monitors.simulated import Floats, chain, columns_of, heavy, likely, table

PAPER = [method for method in METHODS if method != "moments"]
QUICK = [method for method in PAPER if method != "flow"]  # to compile it takes seconds a table


def compare(p: Floats, q: Floats, method: str, seed: int = 0) -> Comparison:
    """Compare two matrices of numbers."""
    rows = table(p)
    return check(rows, table(q), columns_of(rows), method=method, seed=seed)


@pytest.mark.parametrize("sizes", [(120, 120), (400, 80)])
def test_fisher_is_wrong_as_often_as_allowed(
    rng: np.random.Generator, sizes: tuple[int, int]
) -> None:
    """Over 120 pairs of heavy-tailed tables that do not differ; equal and unequal in length."""
    alarms = sum(
        compare(heavy(rng, sizes[0], 4), heavy(rng, sizes[1], 4), "fisher", seed).alarm
        for seed in range(120)
    )
    assert likely(alarms, 120, 0.05)


@pytest.mark.parametrize("method", PAPER)
def test_a_replayed_feature_is_named_and_no_other(rng: np.random.Generator, method: str) -> None:
    """Its own distribution is what it was; only what it had to do with the others is gone."""
    p, q = chain(rng, 800, 4, rho=0.6), chain(rng, 800, 4, rho=0.6)
    q[:, 1] = rng.permutation(q[:, 1])
    result = compare(p, q, method)
    assert [finding.subject for finding in result.findings if finding.alarm] == ["x1"]
    assert result.findings[0].effect > 0.3
    assert {finding["method"] for finding in result.to_json()["findings"]} == {method}


@pytest.mark.parametrize("method", QUICK)
def test_two_features_that_moved_are_both_named(rng: np.random.Generator, method: str) -> None:
    """Each is set aside once named, until nothing is left that is not what it was."""
    p, q = rng.normal(size=(2, 400, 2))
    q += [2.0, -3.0]
    named = [finding.subject for finding in compare(p, q, method).findings if finding.alarm]
    assert sorted(named) == ["x0", "x1"]


@pytest.mark.parametrize("method", ["model-ks", "knn-ks"])
def test_categories_explain_and_are_not_tested(rng: np.random.Generator, method: str) -> None:
    """A number that follows a category is tested given it; the note names the category."""
    codes = [rng.integers(0, 2, 300) for _ in range(2)]
    before, now = (
        table(code[:, None] * 3.0 + rng.normal(size=(300, 2)), {"kind": pa.array(_words(code))})
        for code in codes
    )
    columns = columns_of(before)
    result = check(before, now, columns, method=method)
    assert sorted(finding.subject for finding in result.findings) == ["x0", "x1"]
    assert [note for note in result.notes if "'kind'" in note]
    broken = now.set_column(2, "kind", pa.array(_words(rng.permutation(codes[1]))))
    assert check(before, broken, columns, method=method).alarm
    with pytest.raises(ReferenceDataError, match="numbers only"):
        check(
            before.select(["kind"]), now.select(["kind"]), {"kind": columns["kind"]}, method=method
        )


def _words(code: np.ndarray) -> list[str]:
    return ["odd" if one else "even" for one in code]


@pytest.mark.parametrize("method", QUICK)
def test_missing_values_are_counted_and_filled(method: str) -> None:
    """Gaps alike in both tables are no news; many more of them are."""
    alarms = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        p, q = chain(rng, 300, 3), chain(rng, 300, 3)
        p[rng.random(p.shape) < 0.1] = np.nan
        q[rng.random(q.shape) < 0.1] = np.nan
        alarms += compare(p, q, method).alarm
    assert likely(alarms, 8, 0.05)
    q[:120, 2] = np.nan
    first = compare(p, q, method).findings[0]
    assert (first.subject, first.alarm) == ("x2", True)
    assert "missing" in first.explanation


def test_long_tables_are_thinned_for_neighbours_with_a_note(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that are counted are those that were given."""
    shorter = {**ROW_METHODS, "knn-ks": replace(ROW_METHODS["knn-ks"], most_rows=150)}
    monkeypatch.setattr("monitors.check.ROW_METHODS", shorter)
    result = compare(chain(rng, 230, 2), chain(rng, 100, 2), "knn-ks")
    assert result.rows == {"reference": 230, "current": 100, "rejected": 0}
    assert ["150 rows" in note for note in result.notes] == [True]


def test_unknown_method_is_refused_with_the_nearest_name() -> None:
    """Before anything else is looked at."""
    empty = pa.table({})
    with pytest.raises(StreamFileError, match=r"did you mean 'fisher'.*moments, fisher, model-ks"):
        check(empty, empty, {}, method="fischer")


def test_a_method_whose_extra_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything else is looked at."""
    monkeypatch.setattr("monitors.feature_shift.row_methods.find_spec", lambda _: None)
    empty = pa.table({})
    with pytest.raises(StreamFileError, match=r"'flow' needs .*flowjax.*tidegauge\[flow\]"):
        check(empty, empty, {}, method="flow")


def test_check_imports_no_model_that_another_method_needs() -> None:
    """LightGBM, Polars and JAX are imported by the statistics that use them, when they do."""
    code = (
        "import sys, monitors.check; "
        "print([name for name in ('lightgbm', 'polars', 'jax', 'flowjax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
