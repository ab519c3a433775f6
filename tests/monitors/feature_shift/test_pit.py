from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from numpy.polynomial import legendre

from monitors.check import check
from monitors.feature_shift import pit
from monitors.feature_shift.rows import Rows
from tests.monitors.simulated import Floats, columns_of, likely, table

ROWS, BLOCKS = 300, 60


def curved(rng: np.random.Generator, rows: int) -> Floats:
    """Return two columns: the second follows the square of the first, and no straight line."""
    x = rng.standard_normal((rows, 2))
    x[:, 1] = 0.6 * (x[:, 0] ** 2 - 1.0) + 0.5 * x[:, 1]
    return x


def in_blocks(x: Floats) -> Rows:
    """Return rows of two tables one after the other, in blocks of the same size."""
    block = np.arange(len(x)) * BLOCKS // len(x)
    columns = [np.array([j]) for j in range(x.shape[1])]
    return Rows(x, block, np.arange(BLOCKS) >= BLOCKS // 2, columns, list(range(x.shape[1])))


def test_the_forecasters_do_not_know_which_table_a_row_is_from(rng: np.random.Generator) -> None:
    """The same rows with other labels give the same statistic of any dealing: the test is exact."""
    rows = in_blocks(rng.standard_normal((ROWS, 2)))
    other = Rows(rows.phi, rows.block, ~rows.in_window, rows.groups, rows.numeric)
    dealt = np.array([rng.permutation(rows.in_window) for _ in range(5)])
    first, second = (pit.prepare(own, np.random.default_rng(1)) for own in (rows, other))
    np.testing.assert_allclose(first.statistic(dealt), second.statistic(dealt))


def test_terms_are_legendre_polynomials_and_the_first_with_the_forecast(
    rng: np.random.Generator,
) -> None:
    """Neyman's components of the probability, centred; the forecast in its own deviations."""
    probability, median = rng.random(50), rng.normal(3.0, 2.0, 50)
    terms = pit._terms(probability, median)
    u = 2.0 * probability - 1.0
    np.testing.assert_allclose(terms.mean(axis=0), 0.0, atol=1e-12)
    square = legendre.legval(u, [0.0, 0.0, 1.0])
    np.testing.assert_allclose(terms[:, 1], square - square.mean())
    together = u * (median - median.mean()) / median.std()
    np.testing.assert_allclose(terms[:, -1], together - together.mean())


def test_a_feature_without_others_is_tested_by_its_histogram(rng: np.random.Generator) -> None:
    """One column has nothing to be forecast from; a spread twice as large is seen."""
    p, q = rng.normal(size=(300, 1)), rng.normal(size=(300, 1)) * 2.0
    rows = table(p)
    assert check(rows, table(q), columns_of(rows), method="pit").alarm


def test_a_lost_curve_is_found_that_no_straight_line_shows(rng: np.random.Generator) -> None:
    """`fisher`, which sees correlations alone, is blind to it."""
    p, q = curved(rng, ROWS), curved(rng, ROWS)
    q[:, 1] = rng.permutation(q[:, 1])
    rows = table(p)
    found = {
        method: check(rows, table(q), columns_of(rows), method=method).alarm
        for method in ("pit", "fisher")
    }
    assert found == {"pit": True, "fisher": False}


def test_a_category_explains_and_is_not_tested(rng: np.random.Generator) -> None:
    """A number that followed it and no longer does is named; the note names the category."""
    codes = rng.integers(0, 2, (2, ROWS))
    p, q = (code[:, None] * 3.0 + rng.normal(size=(ROWS, 1)) for code in codes)
    before, now = (
        table(x, {"kind": pa.array(np.where(code, "odd", "even").tolist())})
        for x, code in ((p, codes[0]), (q, rng.permutation(codes[1])))
    )
    result = check(before, now, columns_of(before), method="pit")
    assert [(finding.subject, finding.alarm) for finding in result.findings] == [("x0", True)]
    assert [note for note in result.notes if "'kind'" in note]


@pytest.mark.parametrize("sizes", [(120, 120), (200, 60)])
def test_it_is_wrong_as_often_as_allowed(rng: np.random.Generator, sizes: tuple[int, int]) -> None:
    """Over 40 pairs of tables that do not differ; equal and unequal in length."""

    def alarm(seed: int) -> bool:
        p, q = (table(curved(rng, rows)) for rows in sizes)
        return check(p, q, columns_of(p), method="pit", seed=seed).alarm

    assert likely(sum(alarm(seed) for seed in range(40)), 40, 0.05)
