from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from schemas.errors import SourceError
from transforms.forecast.features import Features, learn_features

TABLE = pl.DataFrame(
    {
        "wind": [1.5, None, 3.0],
        "count": [1, 2, None],
        "wet": [True, False, None],
        "site": ["b", "a", "b"],
        "seen": [datetime(2024, 1, 1, tzinfo=UTC), None, datetime(2024, 1, 2, tzinfo=UTC)],
        "empty": pl.Series([None, None, None]),
    }
)


def test_every_type_becomes_a_number_or_nan() -> None:
    """Numbers stay, booleans are 0 and 1, categories codes by frequency, times seconds."""
    matrix = learn_features(TABLE, TABLE.columns).matrix(TABLE)
    day = 1_704_067_200.0
    nan = np.nan
    np.testing.assert_array_equal(
        matrix,
        [
            [1.5, 1, 1, 0, day, nan],
            [nan, 2, 0, 1, nan, nan],
            [3.0, nan, nan, 0, day + 86_400, nan],
        ],
    )


def test_unseen_categories_are_missing() -> None:
    """A category that the fit had not seen is NaN, as is a null, whatever the text type."""
    features = learn_features(TABLE, ["site"])
    new = pl.DataFrame({"site": pl.Series(["a", "z", None], dtype=pl.Categorical)})
    np.testing.assert_array_equal(features.matrix(new)[:, 0], [1, np.nan, np.nan])


def test_order_of_columns_does_not_matter() -> None:
    """The matrix follows the names given at fit time."""
    features = learn_features(TABLE, ["wind", "site", "wet"])
    shuffled = TABLE.select(reversed(TABLE.columns))
    np.testing.assert_array_equal(features.matrix(TABLE), features.matrix(shuffled))


def test_missing_columns_are_named_in_one_error() -> None:
    """All missing columns are named, with the nearest spelling."""
    features = learn_features(TABLE, ["wind", "site"])
    with pytest.raises(SourceError, match=r"'wind' \(did you mean 'winds'\?\), 'site'"):
        features.matrix(pl.DataFrame({"winds": [1.0]}))


def test_a_column_of_another_type_is_named() -> None:
    """Texts where the fit saw numbers are refused."""
    features = learn_features(TABLE, ["wind"])
    with pytest.raises(SourceError, match="'wind' holds String values, but was a number"):
        features.matrix(pl.DataFrame({"wind": ["1.5"]}))


def test_types_that_cannot_be_read_are_named() -> None:
    """A list column is no feature."""
    with pytest.raises(SourceError, match="'tags' holds List"):
        learn_features(pl.DataFrame({"tags": [[1], [2]]}), ["tags"])


def test_json_round_trip() -> None:
    """The encoding is the same after writing and reading."""
    features = learn_features(TABLE, TABLE.columns)
    assert Features.from_dict(features.to_dict()) == features
