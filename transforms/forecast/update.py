"""A fitted forecaster brought up to new rows: what it asks is kept, what it answers is learnt anew.

The trees and slopes stay; the laws that they point to are estimated again from rows they have not
seen. That is one prediction of the new rows and a few quantiles, and follows a target whose level,
spread or tails moved. How features act on it is learnt by a fit, not by this.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import SourceError, did_you_mean
from transforms.forecast import student
from transforms.forecast.aggregate.model import Aggregate
from transforms.forecast.direct import Direct, add_rows
from transforms.forecast.empirical import Climatology, fit_climatology, sample_quantiles
from transforms.forecast.fitted import Fitted
from transforms.forecast.linear import Linear
from transforms.forecast.location_scale import LocationScale
from transforms.forecast.symmetric import Symmetric
from transforms.forecast.training import QuantileModel

Floats = NDArray[np.float64]

FEWEST_ROWS = 100  # with a target: the tails of a law are not known from fewer


def update_forecaster(fitted: Fitted, table: pl.DataFrame) -> Fitted:
    """Return the forecaster with its laws learnt from the rows of a table.

    - location_scale, symmetric: the residual quantiles are those of the new rows alone;
    - linear: each level's intercept moves until the new rows lie below as often as it says;
    - direct: the new rows are counted in the leaves beside the old ones;
    - climatology: the quantiles of the new rows;
    - aggregate: each member so, with the weights it had.

    Parameters
    ----------
    table : DataFrame
        Features and target, as `transforms.forecast.select.fit_forecaster` reads them; rows that
        the forecaster was not fitted on. Those whose target is null are left out.

    Returns
    -------
    Fitted
        Without out-of-fold quantiles; its losses are still those of the fit.

    Raises
    ------
    SourceError
        When the target is missing or has a value in fewer than `FEWEST_ROWS` rows, when feature
        columns are missing, or when the kind cannot be updated.
    """
    if fitted.target not in table.columns:
        near = did_you_mean(fitted.target, table.columns)
        raise SourceError(f"the table has no column {fitted.target!r}{near}")
    outcome = table[fitted.target].cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = np.isfinite(outcome)
    if known.sum() < FEWEST_ROWS:
        raise SourceError(
            f"target {fitted.target!r} has a value in {known.sum()} rows; an update needs "
            f"{FEWEST_ROWS}: wait for more, or keep the forecaster as it is"
        )
    X = fitted.features.matrix(table)[known]
    model = _updated(fitted.model, X, outcome[known], np.array(fitted.levels))
    return replace(fitted, model=model, out_of_fold=np.empty((0, 0)))


@singledispatch
def _updated(model: QuantileModel, X: Floats, y: Floats, levels: Floats) -> QuantileModel:  # noqa: ARG001
    raise SourceError(
        f"a forecaster of kind {model.kind!r} cannot be updated; run `tidegauge fit` again"
    )


@_updated.register
def _(model: LocationScale | Symmetric, X: Floats, y: Floats, levels: Floats) -> QuantileModel:
    errors = student.residuals(model.parameters(X), (y - model.centre) / model.unit)
    law = tuple(sample_quantiles(errors, levels).tolist())
    return replace(model, residuals=law, limits=_widened(model.limits, y))


@_updated.register
def _(model: Linear, X: Floats, y: Floats, levels: Floats) -> QuantileModel:
    planes = model.coefficients[0] + model.design.matrix(X) @ model.coefficients[1:]
    gaps = [
        sample_quantiles(y - plane, np.array([level]))[0]
        for plane, level in zip(planes.T, levels, strict=True)
    ]
    coefficients = model.coefficients.copy()
    coefficients[0] += gaps
    return replace(model, coefficients=coefficients, limits=_widened(model.limits, y))


@_updated.register
def _(model: Direct, X: Floats, y: Floats, levels: Floats) -> QuantileModel:  # noqa: ARG001
    return add_rows(model, X, y)


@_updated.register
def _(model: Climatology, X: Floats, y: Floats, levels: Floats) -> QuantileModel:  # noqa: ARG001
    return fit_climatology(y, levels)


@_updated.register
def _(model: Aggregate, X: Floats, y: Floats, levels: Floats) -> QuantileModel:
    members = tuple(_updated(member, X, y, levels) for member in model.members)
    return replace(model, members=members)


def _widened(limits: tuple[float, float], y: Floats) -> tuple[float, float]:
    reach = float(y.max() - y.min())
    return min(limits[0], float(y.min()) - reach), max(limits[1], float(y.max()) + reach)
