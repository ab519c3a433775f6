"""What each feature adds to a forecast: Shapley values, by where the absent features come from.

A feature's value is its mean marginal contribution to v(S), the mean forecast where only the
features in S are known. What is not known is drawn (Chen, Janizek, Lundberg and Lee, *True to the
Model or True to the Data?*, 2020)

- interventional: from the reference, whatever is known: what the model does with a feature. One it
  does not use has the value 0. To debug a model, this is the one;
- observational: from its conditional law given what is known: what a feature tells about the
  forecast, be it by way of others. One that the model does not use has a value if others follow it;
- path: as the trees' paths have it: cheap, needs no reference, and neither of the two exactly.

Where values are sampled, a part of them is exact. Interventional: the sum of trees nearest to the
median is attributed exactly, and the rest, small in a location-scale forecaster, by sampled orders.
Observational: what is linear in the normal scores needs orders but no draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from monitors.attribute.conditional_sampler import fit_copula
from monitors.attribute.permutation_values import (
    Sampled,
    from_background,
    from_copula,
    linear_values,
    sampled_values,
)
from monitors.encoder import FloatArray
from schemas.errors import ReferenceDataError
from transforms.forecast.attributions import AdditiveTrees, additive_part, forecast_median
from transforms.forecast.fitted import Fitted

Kind: TypeAlias = Literal["interventional", "observational", "path"]

SEED = 20_260_101  # the same rows give the same values, whoever asks


@dataclass(frozen=True, slots=True)
class FeatureValues:
    """What each feature adds to the forecast median of each row."""

    names: tuple[str, ...]  #: the forecaster's features, calendar terms included
    values: FloatArray  #: shape (rows, features), in the unit of the target
    base: float  #: forecast with nothing known; with a row's values it adds up to its forecast
    unit: str | None
    error: float  #: standard error of a value, root mean square; path: of what a row's sum misses


def feature_values(
    forecaster: Fitted,
    rows: pl.DataFrame,
    background: pl.DataFrame,
    kind: Kind = "interventional",
    *,
    unit: str | None = None,
    seed: int = SEED,
) -> FeatureValues:
    """Attribute the forecast median of each row to the forecaster's features.

    Parameters
    ----------
    rows, background : DataFrames
        With the forecaster's features, as `forecast_frame` makes them. The background is of the
        reference; some hundred rows are enough, for the cost grows with them but slowly. The kind
        "path" does not read it.
    unit : of the target, handed on.

    Raises
    ------
    SourceError
        When feature columns are missing or of another type than at fit time.
    ReferenceDataError
        When there is no row of the reference, and the kind needs them.
    """
    features = forecaster.features
    X, Z = features.matrix(rows), features.matrix(background)
    if kind != "path" and not len(Z):
        message = (
            f"{kind} feature values need rows of the reference, and the baseline keeps none; "
            f"set `explain: {{rows: 500}}` and run `tidegauge fit` again, or ask for `path`"
        )
        raise ReferenceDataError(message)
    trees = additive_part(forecaster)
    if trees is None or not len(X):
        median = forecast_median(forecaster, X if len(X) else Z)
        base = float(median[0]) if len(median) else 0.0
        return FeatureValues(features.names, np.zeros(X.shape), base, unit, 0.0)
    if kind == "path":
        values, base = trees.path_values(X)
        gap = forecast_median(forecaster, X) - values.sum(axis=1) - base
        return FeatureValues(
            features.names, values, base + float(gap.mean()), unit, float(gap.std())
        )
    if kind == "interventional":
        found = _interventional(forecaster, trees, X, Z, seed)
    else:
        found = _observational(forecaster, X, Z, seed)
    return FeatureValues(
        names=features.names,
        values=found.adding_up_to(forecast_median(forecaster, X)),
        base=found.base,
        unit=unit,
        error=float(np.sqrt(found.variance.mean())),
    )


def _interventional(
    forecaster: Fitted, trees: AdditiveTrees, X: FloatArray, Z: FloatArray, seed: int
) -> Sampled:
    """Attribute the trees exactly, and what the median has beyond them by sampled orders."""

    def remainder(rows: FloatArray) -> FloatArray:
        return forecast_median(forecaster, rows) - trees.predict(rows)

    values, _ = trees.interventional_values(X, Z)
    rest = sampled_values(remainder, from_background(X, Z), X.shape, seed)
    base = float(forecast_median(forecaster, Z).mean())
    return Sampled(values + rest.values, rest.variance, base)


def _observational(forecaster: Fitted, X: FloatArray, Z: FloatArray, seed: int) -> Sampled:
    """Attribute what is linear in the scores without draws, and the rest by draws of the copula."""
    forecast = forecast_median(forecaster, Z)
    copula = fit_copula(Z, forecast, forecaster.features.category_positions)
    known = copula.scores(Z)
    design = np.column_stack([np.ones(len(known)), known])
    intercept, *slopes = np.linalg.lstsq(design, forecast, rcond=None)[0]
    beta = np.array(slopes)
    d = X.shape[1]

    def remainder(rows: FloatArray) -> FloatArray:
        linear = intercept + rows[:, d:] @ beta
        return np.asarray(forecast_median(forecaster, rows[:, :d]) - linear)

    scores = copula.scores(X)
    rest = sampled_values(remainder, from_copula(X, scores, copula), X.shape, seed)
    linear = linear_values(beta, scores, copula, seed)
    return Sampled(
        linear.values + rest.values, linear.variance + rest.variance, float(intercept) + rest.base
    )
