from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from monitors.basis import Basis
from monitors.feature_shift import likelihood_ratio as module
from monitors.feature_shift.likelihood_ratio import log_dispersion, statistic
from monitors.gram import gram_matrix
from tests.monitors.simulated import Floats, chain

D = 5
SINGLE = [np.array([j]) for j in range(D)]
ALL = [Basis(np.arange(D), tuple(SINGLE))]


def likelihood_ratio(p: Floats, q: Floats, bases: Sequence[Basis]) -> Floats:
    """Return the ratios between two Gram matrices."""
    return statistic(p + q, q, bases)


@pytest.fixture
def _no_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RIDGE", 1e-12)


def by_least_squares(x: Floats, own: NDArray[np.intp]) -> float:
    """Return the sum of the log variances of some columns given all others, from the rows."""
    rest = np.delete(x, own, axis=1)
    design = np.column_stack([np.ones(len(x)), rest])
    fitted = design @ np.linalg.lstsq(design, x[:, own], rcond=None)[0]
    residual = x[:, own] - fitted
    return float(np.log(residual.var(axis=0)).sum())


@pytest.mark.usefixtures("_no_ridge")
def test_it_is_the_textbook_likelihood_ratio_of_equal_gaussian_regressions(
    rng: np.random.Generator,
) -> None:
    """Computed the slow way: least squares on the rows, per feature and set."""
    p, q = chain(rng, 300, D), chain(rng, 120, D) * 1.3 + 0.2
    both = np.concatenate([p, q])
    expected = [
        len(both) * by_least_squares(both, own)
        - len(p) * by_least_squares(p, own)
        - len(q) * by_least_squares(q, own)
        for own in SINGLE
    ]
    found = likelihood_ratio(gram_matrix(p), gram_matrix(q), ALL)
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


@pytest.mark.usefixtures("_no_ridge")
def test_features_of_several_columns_have_the_variances_of_their_residuals(
    rng: np.random.Generator,
) -> None:
    """Groups of one and of two columns, and an empty one, in one call."""
    x = chain(rng, 300, D)
    groups = [np.array([0, 1]), np.array([2]), np.array([], dtype=np.intp), np.array([3, 4])]
    found = log_dispersion(gram_matrix(x), groups)
    expected = [by_least_squares(x, own) if len(own) else 0.0 for own in groups]
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.usefixtures("_no_ridge")
def test_without_equals_recomputing_from_rows_that_lack_the_columns(
    rng: np.random.Generator,
) -> None:
    """And the removed feature keeps its place, with nothing to say."""
    p, q = chain(rng, 300, D), chain(rng, 120, D)
    fewer = ALL[0].without((1, 3))
    gram_p, gram_q = (fewer.of(gram_matrix(x)) for x in (p, q))
    found = log_dispersion(gram_p, fewer.groups) - log_dispersion(gram_q, fewer.groups)
    kept = [0, 2, 4]
    expected = [
        by_least_squares(p[:, kept], np.array([j])) - by_least_squares(q[:, kept], np.array([j]))
        for j in range(3)
    ]
    np.testing.assert_allclose(found[kept], expected, rtol=1e-6)
    assert found[1] == found[3] == 0.0


@pytest.mark.usefixtures("_no_ridge")
def test_every_basis_has_the_ratios_of_its_own_columns(rng: np.random.Generator) -> None:
    """As if the other columns had never been."""
    p, q = chain(rng, 300, D), chain(rng, 120, D)
    pairs = [np.array([0, 1]), np.array([2, 3]), np.array([4])]
    whole = Basis(np.arange(D), tuple(pairs))
    first = whole.keep(np.array([0, 2, 4]))
    found = likelihood_ratio(gram_matrix(p), gram_matrix(q), [whole, first])
    assert found.shape == (2, 3)
    alone = Basis(np.arange(3), tuple(np.array([j]) for j in range(3)))
    gram_p, gram_q = (gram_matrix(x[:, [0, 2, 4]]) for x in (p, q))
    np.testing.assert_allclose(found[1], likelihood_ratio(gram_p, gram_q, [alone])[0], rtol=1e-9)


def test_a_shift_of_the_others_is_no_change_of_what_follows_them(rng: np.random.Generator) -> None:
    """The conditional covariance of x and x² given w is proportional to the mean of w."""
    ratios = []
    for shift in (0.0, 0.4):
        w = rng.standard_normal((2, 200_000)) + np.array([[0.0], [shift]])
        x = w + rng.standard_normal(w.shape)
        p, q = (gram_matrix(np.column_stack([b, b**2, a, a**2])) for a, b in zip(w, x, strict=True))
        basis = Basis(np.arange(4), (np.array([0, 1]),))
        ratios.append(float(likelihood_ratio(p, q, [basis])[0, 0]))
    effect = np.sqrt(ratios[1] * 2 / 200_000)
    assert ratios[0] < 30
    assert effect < 0.1  # the covariance alone would give .3


def test_a_stack_of_windows_gives_what_each_gives(rng: np.random.Generator) -> None:
    """Leading axes are only carried along."""
    q = np.stack([gram_matrix(chain(rng, 60, D)) for _ in range(4)])
    total = gram_matrix(chain(rng, 80, D)) + q.sum(axis=0)
    each = [statistic(total, window, ALL) for window in q]
    np.testing.assert_allclose(statistic(total, q, ALL), each, rtol=1e-12)


@pytest.mark.usefixtures("_no_ridge")
def test_with_nothing_changed_it_has_the_mean_of_its_chi_square(rng: np.random.Generator) -> None:
    """D + 1 degrees of freedom: d − 1 slopes, an intercept and a variance."""
    draws = 400
    ratios = [
        likelihood_ratio(gram_matrix(chain(rng, 600, D)), gram_matrix(chain(rng, 600, D)), ALL)[0]
        for _ in range(draws)
    ]
    error = np.sqrt(2 * (D + 1) / draws)
    np.testing.assert_allclose(np.mean(ratios, axis=0), D + 1, atol=4 * error)


def test_columns_that_do_not_vary_give_finite_ratios(rng: np.random.Generator) -> None:
    """A stuck sensor has no variance left: the ridge keeps its logarithm finite and large."""
    p, q = chain(rng, 300, D), chain(rng, 120, D)
    q[:, 2] = 0.3
    found = likelihood_ratio(gram_matrix(p), gram_matrix(q), ALL)
    assert np.isfinite(found).all()
    assert np.argmax(found) == 2
