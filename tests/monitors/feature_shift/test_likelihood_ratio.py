from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from monitors.feature_shift import likelihood_ratio as module
from monitors.feature_shift.likelihood_ratio import likelihood_ratio, log_dispersion, without
from monitors.gram import gram_matrix
from tests.monitors.simulated import Floats, chain

D = 5
SINGLE = [np.array([j]) for j in range(D)]


@pytest.fixture
def _no_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RIDGE", 1e-12)


def by_least_squares(x: Floats, own: NDArray[np.intp]) -> float:
    """Return the log generalised variance of some columns given all others, from the rows."""
    rest = np.delete(x, own, axis=1)
    design = np.column_stack([np.ones(len(x)), rest])
    fitted = design @ np.linalg.lstsq(design, x[:, own], rcond=None)[0]
    residual = x[:, own] - fitted
    return float(np.linalg.slogdet(residual.T @ residual / len(x))[1])


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
    found = likelihood_ratio(gram_matrix(p), gram_matrix(q), SINGLE)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.usefixtures("_no_ridge")
def test_features_of_several_columns_have_the_determinant_of_their_residuals(
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
    gram_p, groups = without(gram_matrix(p), SINGLE, (1, 3))
    gram_q, _ = without(gram_matrix(q), SINGLE, (1, 3))
    found = likelihood_ratio(gram_p, gram_q, groups)
    kept = [0, 2, 4]
    fewer = [np.array([j]) for j in range(3)]
    expected = likelihood_ratio(gram_matrix(p[:, kept]), gram_matrix(q[:, kept]), fewer)
    np.testing.assert_allclose(found[kept], expected, rtol=1e-9)
    assert found[1] == found[3] == 0.0


def test_a_stack_of_pairs_gives_what_each_pair_gives(rng: np.random.Generator) -> None:
    """Leading axes are only carried along."""
    p = np.stack([gram_matrix(chain(rng, 80, D)) for _ in range(4)])
    q = np.stack([gram_matrix(chain(rng, 60, D)) for _ in range(4)])
    each = [likelihood_ratio(a, b, SINGLE) for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(likelihood_ratio(p, q, SINGLE), each, rtol=1e-12)


@pytest.mark.usefixtures("_no_ridge")
def test_with_nothing_changed_it_has_the_mean_of_its_chi_square(rng: np.random.Generator) -> None:
    """D + 1 degrees of freedom: d − 1 slopes, an intercept and a variance."""
    draws = 400
    ratios = [
        likelihood_ratio(gram_matrix(chain(rng, 600, D)), gram_matrix(chain(rng, 600, D)), SINGLE)
        for _ in range(draws)
    ]
    error = np.sqrt(2 * (D + 1) / draws)
    np.testing.assert_allclose(np.mean(ratios, axis=0), D + 1, atol=4 * error)


def test_columns_that_do_not_vary_give_finite_ratios(rng: np.random.Generator) -> None:
    """A stuck sensor has no variance left: the ridge keeps its logarithm finite and large."""
    p, q = chain(rng, 300, D), chain(rng, 120, D)
    q[:, 2] = 0.3
    found = likelihood_ratio(gram_matrix(p), gram_matrix(q), SINGLE)
    assert np.isfinite(found).all()
    assert np.argmax(found) == 2
