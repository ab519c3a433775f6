"""The kinds of forecasters, by name: how each is fitted, and read back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transforms.forecast import location_scale, symmetric
from transforms.forecast.aggregate.cross_fit import cross_fit_aggregate
from transforms.forecast.aggregate.model import Aggregate
from transforms.forecast.direct import Direct, cross_fit_direct
from transforms.forecast.empirical import Climatology, cross_fit_climatology
from transforms.forecast.garch import Garch, cross_fit_garch
from transforms.forecast.har import Har, cross_fit_har
from transforms.forecast.likelihood import HEADS
from transforms.forecast.linear import Linear, cross_fit_linear
from transforms.forecast.location_scale import LocationScale, cross_fit_location_scale
from transforms.forecast.neural.implicit import (
    ImplicitQuantiles,
    cross_fit_implicit_quantiles,
)
from transforms.forecast.neural.sequence import SequenceNetwork, cross_fit_sequence
from transforms.forecast.panel.seasonal_naive import SeasonalNaive, cross_fit_seasonal_naive
from transforms.forecast.parametric import Parametric, cross_fit_parametric
from transforms.forecast.selected_family import SelectedFamily, cross_fit_selected_family
from transforms.forecast.symmetric import Symmetric, cross_fit_symmetric
from transforms.forecast.training import CrossFit, QuantileModel, TrainingSet


class Model(Protocol):
    """A class of fitted models."""

    def from_dict(self, state: Mapping[str, Any], boosters: tuple[str, ...]) -> QuantileModel:
        """Return what `QuantileModel.to_dict` wrote."""


MODELS: Mapping[str, Model] = {
    model.kind: model
    for model in (
        Climatology,
        LocationScale,
        Symmetric,
        Direct,
        Linear,
        Aggregate,
        SeasonalNaive,
        Har,
        Garch,
        SelectedFamily,
        ImplicitQuantiles,
    )
} | {**dict.fromkeys(HEADS, Parametric), "cnn": SequenceNetwork, "lstm": SequenceNetwork}

CROSS_FITS: Mapping[str, Callable[[TrainingSet], CrossFit]] = {
    Climatology.kind: cross_fit_climatology,
    LocationScale.kind: cross_fit_location_scale,
    Symmetric.kind: cross_fit_symmetric,
    Direct.kind: cross_fit_direct,
    Linear.kind: cross_fit_linear,
    Aggregate.kind: cross_fit_aggregate,
    SeasonalNaive.kind: cross_fit_seasonal_naive,
    Har.kind: cross_fit_har,
    Garch.kind: cross_fit_garch,
    SelectedFamily.kind: cross_fit_selected_family,
    ImplicitQuantiles.kind: cross_fit_implicit_quantiles,
    "cnn": functools.partial(cross_fit_sequence, network="cnn"),
    "lstm": functools.partial(cross_fit_sequence, network="lstm"),
    **{
        family: functools.partial(cross_fit_parametric, family=family)  # of distributions
        for family in HEADS
    },
}

#: The same with fewer rounds of boosting where that is enough to tell kinds apart on few rows.
COMPARISONS: Mapping[str, Callable[[TrainingSet], CrossFit]] = {
    **CROSS_FITS,
    LocationScale.kind: functools.partial(
        cross_fit_location_scale, stops=location_scale.STOPS_TO_COMPARE
    ),
    Symmetric.kind: functools.partial(cross_fit_symmetric, stops=symmetric.STOPS_TO_COMPARE),
}

#: What is tried beside climatology, where the stream file does not say.
DEFAULT_KINDS = (Symmetric.kind, LocationScale.kind, Direct.kind, Linear.kind, Aggregate.kind)


def suits(kind: str, y: NDArray[np.float64]) -> bool:
    """Whether a target, finite, has no value that is impossible for the kind."""
    return kind not in HEADS or HEADS[kind].family.suits(y)
