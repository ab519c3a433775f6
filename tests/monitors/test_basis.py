from __future__ import annotations

import numpy as np
import pytest

from monitors.basis import Basis
from monitors.gram import gram_matrix


@pytest.fixture
def basis() -> Basis:
    """Return features of two, one and no columns, and a column that is no feature's."""
    groups = (np.array([0, 1]), np.array([2]), np.array([], dtype=np.intp))
    return Basis(np.array([1, 2, 4, 5]), groups)


def test_a_gram_matrix_of_the_basis_is_that_of_its_columns(
    basis: Basis, rng: np.random.Generator
) -> None:
    """For one and for a stack; a basis of all columns leaves it as it is."""
    x = rng.standard_normal((30, 6))
    gram, part = gram_matrix(x), gram_matrix(x[:, [1, 2, 4, 5]])
    np.testing.assert_allclose(basis.of(gram), part)
    np.testing.assert_allclose(basis.of(np.stack([gram, 2 * gram]))[1], 2 * part)
    assert Basis(np.arange(6), ()).of(gram) is gram


def test_a_removed_feature_keeps_its_place_with_no_columns(basis: Basis) -> None:
    """The others find theirs at their new places."""
    fewer = basis.without([0])
    assert fewer.columns.tolist() == [4, 5]
    assert [group.tolist() for group in fewer.groups] == [[], [0], []]
    assert basis.without([]).columns.tolist() == basis.columns.tolist()


def test_features_removed_one_by_one_or_at_once_leave_the_same(basis: Basis) -> None:
    """In any order."""
    one, other = basis.without([0]).without([1]), basis.without([1, 0])
    assert one.columns.tolist() == other.columns.tolist() == [5]
    assert [g.tolist() for g in one.groups] == [g.tolist() for g in other.groups]


def test_a_choice_of_columns_can_leave_a_feature_with_fewer(basis: Basis) -> None:
    """As the first terms alone do."""
    first = basis.keep(np.array([0, 2, 3]))
    assert first.columns.tolist() == [1, 4, 5]
    assert [group.tolist() for group in first.groups] == [[0], [1], []]
