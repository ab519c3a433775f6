"""A table as the matrix that LightGBM reads: numbers, category codes, NaN where missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import SourceError, did_you_mean

Kind = Literal["number", "category"]

# LightGBM bins a category column into max_bin = 255 bins; rarer values are treated as unknown.
_MOST_CATEGORIES = 254


@dataclass(frozen=True, slots=True)
class Features:
    """The feature columns of a forecaster, in its order, as they were at fit time."""

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    categories: Mapping[str, tuple[str, ...]]  #: most frequent first

    @property
    def category_positions(self) -> list[int]:
        """Return the positions of the category columns."""
        return [place for place, kind in enumerate(self.kinds) if kind == "category"]

    def matrix(self, table: pl.DataFrame) -> NDArray[np.float64]:
        """Encode a table; the order of its columns does not matter.

        Returns
        -------
        float64 array, shape (rows, features)
            Booleans as 0 and 1, times as seconds, categories as codes; NaN for missing values and
            for categories that the fit had not seen.

        Raises
        ------
        SourceError
            When columns are missing, or hold something else than they did at fit time.
        """
        missing = [name for name in self.names if name not in table.columns]
        if missing:
            listed = ", ".join(f"{n!r}{did_you_mean(n, table.columns)}" for n in missing)
            raise SourceError(
                f"the table lacks columns that the forecaster was fitted on: {listed}; "
                "give them, with nulls where they are unknown, or run `tidegauge fit` again"
            )
        matrix = np.empty((table.height, len(self.names)))
        for place, (name, kind) in enumerate(zip(self.names, self.kinds, strict=True)):
            column = table[name]
            if column.dtype != pl.Null and kind != _kind(column):
                raise SourceError(
                    f"column {name!r} holds {column.dtype} values, but was a {kind} when the "
                    "forecaster was fitted; give it the type it had, or run `tidegauge fit` again"
                )
            matrix[:, place] = _numbers(column, self.categories.get(name))
        return matrix

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "names": list(self.names),
            "kinds": list(self.kinds),
            "categories": {name: list(values) for name, values in self.categories.items()},
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Features:
        """Return what `to_dict` wrote."""
        return cls(
            names=tuple(state["names"]),
            kinds=tuple(state["kinds"]),
            categories={name: tuple(values) for name, values in state["categories"].items()},
        )


def learn_features(table: pl.DataFrame, names: Sequence[str]) -> Features:
    """Learn kinds and categories of feature columns from the reference."""
    kinds = tuple(_kind(table[name]) for name in names)
    categories = {
        name: tuple(
            table.select(pl.col(name).cast(pl.String).drop_nulls().alias("value"))
            .group_by("value")
            .len()
            .sort(["len", "value"], descending=[True, False])
            .head(_MOST_CATEGORIES)["value"]
        )
        for name, kind in zip(names, kinds, strict=True)
        if kind == "category"
    }
    return Features(names=tuple(names), kinds=kinds, categories=categories)


def _kind(column: pl.Series) -> Kind:
    dtype = column.dtype
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "category"
    if dtype.is_numeric() or dtype.is_temporal() or dtype in (pl.Boolean, pl.Null):
        return "number"
    raise SourceError(
        f"column {column.name!r} holds {dtype} values, which a forecaster cannot read; "
        "use numbers, booleans, times or texts, or give it `role: ignore`"
    )


def _numbers(column: pl.Series, categories: tuple[str, ...] | None) -> NDArray[np.float64]:
    if categories is not None:
        codes = {value: float(code) for code, value in enumerate(categories)}
        column = column.cast(pl.String).replace_strict(
            list(codes), list(codes.values()), default=None, return_dtype=pl.Float64
        )
    elif column.dtype == pl.Datetime:
        column = column.dt.epoch("us") / 1e6
    elif column.dtype.is_temporal():
        column = column.to_physical()
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
