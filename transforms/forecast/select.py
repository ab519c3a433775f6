"""Fits a forecaster: the kind with the lowest out-of-fold pinball loss, climatology included."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import BaselineError, SourceError, did_you_mean
from transforms.forecast.direct import Direct, cross_fit_direct
from transforms.forecast.empirical import (
    Climatology,
    CrossFit,
    QuantileModel,
    cross_fit_climatology,
    mean_pinball,
)
from transforms.forecast.features import Features, learn_features
from transforms.forecast.location_scale import LocationScale, cross_fit_location_scale

Floats = NDArray[np.float64]

FORECASTER_VERSION = 1
FEWEST_ROWS = 50  # below, no model of the features can be told from luck
_ROWS_TO_CHOOSE = 10_000  # the kind is chosen on so many rows, evenly spread; it is fitted on all

_KINDS: dict[str, type[Climatology | LocationScale | Direct]] = {
    model.kind: model for model in (Climatology, LocationScale, Direct)
}
_CROSS_FITS = {
    LocationScale.kind: cross_fit_location_scale,
    Direct.kind: cross_fit_direct,
}


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted forecaster of one target."""

    target: str
    levels: tuple[float, ...]
    features: Features
    model: QuantileModel
    losses: dict[str, float]  #: mean out-of-fold pinball loss of each kind tried, same rows for all
    #: shape (rows, levels): quantiles of the rows it was fitted on, from models that had not seen
    #: their fold; NaN where the target was missing. Not saved: no rows after `load`.
    out_of_fold: Floats = field(default_factory=lambda: np.empty((0, 0)), repr=False, compare=False)

    @property
    def kind(self) -> str:
        """``location_scale``, ``direct`` or ``climatology``."""
        return self.model.kind

    @property
    def model_id(self) -> str:
        """Twenty hex digits of the hash of what `save` writes."""
        content = "\0".join(self._files().values())
        return hashlib.blake2b(content.encode(), digest_size=10).hexdigest()

    def predict(self, table: pl.DataFrame) -> Floats:
        """Forecast each row.

        Parameters
        ----------
        table : DataFrame
            Holds the features, in any order and among others; nulls allowed.

        Returns
        -------
        float64 array, shape (rows, levels)
            In the unit of the target, non-decreasing along levels, never NaN.

        Raises
        ------
        SourceError
            When feature columns are missing or of another type than at fit time.
        """
        X = self.features.matrix(table)
        return self.model.quantiles(X) if len(X) else np.empty((0, len(self.levels)))

    def save(self, folder: Path) -> None:
        """Write ``forecaster.json``, and a LightGBM text file ``booster_0.txt``… for each booster.

        Each file appears whole or not at all; the JSON, which holds the boosters' hashes, last.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in reversed(self._files().items()):
            partial = folder / f".{name}.partial"
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(folder / name)

    def _files(self) -> dict[str, str]:
        boosters = self.model.boosters
        state = {
            "version": FORECASTER_VERSION,
            "target": self.target,
            "levels": list(self.levels),
            "kind": self.kind,
            "losses": self.losses,
            "features": self.features.to_dict(),
            "boosters": [_digest(text) for text in boosters],
            "model": self.model.to_dict(),
        }
        files = {"forecaster.json": json.dumps(state, sort_keys=True, allow_nan=False)}
        return files | {f"booster_{place}.txt": text for place, text in enumerate(boosters)}


def load(folder: Path) -> Fitted:
    """Read what `Fitted.save` wrote; its predictions are bit-equal to those before.

    Raises
    ------
    BaselineError
        When files are missing, damaged, or of another version.
    """
    again = "run `tidegauge fit` again"
    try:
        state: dict[str, Any] = json.loads((folder / "forecaster.json").read_text("utf-8"))
        if state["version"] != FORECASTER_VERSION:
            raise BaselineError(
                f"{folder}: the forecaster has version {state['version']!r}, this program reads "
                f"{FORECASTER_VERSION}; {again}"
            )
        boosters = []
        for place, digest in enumerate(state["boosters"]):
            name = f"booster_{place}.txt"
            boosters.append((folder / name).read_bytes().decode("utf-8"))
            if _digest(boosters[-1]) != digest:
                raise BaselineError(f"{folder}: {name} is not the one that was fitted; {again}")
        return Fitted(
            target=state["target"],
            levels=tuple(state["levels"]),
            features=Features.from_dict(state["features"]),
            model=_KINDS[state["kind"]].from_dict(state["model"], tuple(boosters)),
            losses=state["losses"],
        )
    except OSError as error:
        raise BaselineError(
            f"{folder}: the forecaster cannot be read ({error.strerror}); {again}"
        ) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BaselineError(f"{folder}: the forecaster is damaged ({error!r}); {again}") from error


def fit_forecaster(
    table: pl.DataFrame,
    target: str,
    features: Sequence[str],
    levels: Sequence[float],
    folds: NDArray[np.int64],
    seed: int,
    weights: Floats | None = None,
) -> Fitted:
    """Fit location-scale, direct and climatology, and keep the best out of fold.

    Parameters
    ----------
    table : DataFrame
        Numbers, booleans, texts and times; nulls allowed. Rows whose target is null are left out.
    target, features : column names
    levels : increasing floats in (0, 1)
    folds : int array, shape (rows,)
        Fold of each row, at least two; contiguous in time (`contiguous_folds`), or out-of-fold
        errors of dependent rows look too small.
    seed : int
        The same table and seed give the same forecaster, bit for bit.
    weights : float64 array, shape (rows,)
        How much each row counts, in units of a row; those of 0 are left out. None: each counts 1.

    Returns
    -------
    Fitted
        With the out-of-fold quantiles of every row. Climatology when fewer than `FEWEST_ROWS` rows
        have a target, when it is constant, or when there are no features.

    Raises
    ------
    SourceError
        When a column is missing, or the target is no number or has no value at all.
    """
    for name in (target, *features):
        if name not in table.columns:
            raise SourceError(
                f"the table has no column {name!r}{did_you_mean(name, table.columns)}"
            )
    if not (table[target].dtype.is_numeric() or table[target].dtype == pl.Null):
        raise SourceError(f"target {target!r} holds {table[target].dtype} values, not numbers")
    outcome = table[target].cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = np.isfinite(outcome)
    if not known.any():
        raise SourceError(
            f"target {target!r} has no value in any of {table.height} rows; a forecaster needs at "
            "least one: check the column, or leave out the forecast"
        )
    if weights is not None:
        known &= weights > 0
        if not known.any():
            raise SourceError(f"no row with a value of target {target!r} has a positive weight")
        weights = weights[known]
    encoding = learn_features(table, features)
    X, y, fold = encoding.matrix(table)[known], outcome[known], np.asarray(folds)[known]
    tau = np.asarray(levels, np.float64)
    chosen, losses = _choose(X, y, fold, tau, encoding.category_positions, seed, weights)
    out_of_fold = np.full((table.height, len(tau)), np.nan)
    out_of_fold[known] = chosen.quantiles
    return Fitted(
        target=target,
        levels=tuple(float(level) for level in levels),
        features=encoding,
        model=chosen.refit(),
        losses=losses,
        out_of_fold=out_of_fold,
    )


def contiguous_folds(order: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Cut rows into `count` folds of near equal size that are contiguous in `order` (such as time).

    Returns
    -------
    int64 array, shape (n,): the fold of each row, from 0. Ties keep their order in the table.
    """
    folds = np.empty(len(order), np.int64)
    folds[np.argsort(order, kind="stable")] = np.arange(len(order)) * count // max(len(order), 1)
    return folds


def _choose(
    X: Floats,
    y: Floats,
    folds: NDArray[np.int64],
    levels: Floats,
    categories: Sequence[int],
    seed: int,
    weights: Floats | None,
) -> tuple[CrossFit, dict[str, float]]:
    """Return the best cross-fit on all rows, and the losses of those compared."""
    if len(np.unique(folds)) < 2:
        folds = np.arange(len(y)) * 2 // len(y) if len(y) > 1 else folds
    climatology = (
        cross_fit_climatology(y, folds, levels, weights)
        if len(y) > 1
        else CrossFit(
            np.tile(y[:, None], len(levels)), lambda: Climatology((float(y[0]),) * len(levels))
        )
    )
    losses = {Climatology.kind: mean_pinball(y, climatology.quantiles, levels, weights)}
    if len(y) < FEWEST_ROWS or X.shape[1] == 0 or y.min() == y.max():
        return climatology, losses
    some = np.arange(0, len(y), -(-len(y) // _ROWS_TO_CHOOSE))
    own = None if weights is None else weights[some]
    trials: dict[str, CrossFit] = {}
    for kind, cross_fit in _CROSS_FITS.items():
        trials[kind] = cross_fit(
            X[some], y[some], folds[some], levels, categories=categories, seed=seed, weights=own
        )
        losses[kind] = mean_pinball(y[some], trials[kind].quantiles, levels, own)
    losses[Climatology.kind] = mean_pinball(y[some], climatology.quantiles[some], levels, own)
    best = min(losses, key=losses.__getitem__)
    if best == Climatology.kind:
        return climatology, losses
    chosen = trials[best]
    if len(some) < len(y):
        chosen = _CROSS_FITS[best](
            X, y, folds, levels, categories=categories, seed=seed, weights=weights
        )
    lost, least = (mean_pinball(y, c.quantiles, levels, weights) for c in (chosen, climatology))
    if lost >= least:
        return climatology, losses
    return chosen, losses


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()
