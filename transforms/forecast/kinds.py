"""The kinds of forecasters, by name: how each is fitted, and read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from transforms.forecast.direct import Direct, cross_fit_direct
from transforms.forecast.empirical import Climatology, cross_fit_climatology
from transforms.forecast.location_scale import LocationScale, cross_fit_location_scale
from transforms.forecast.training import CrossFit, QuantileModel, TrainingSet


class Model(Protocol):
    """A class of fitted models."""

    def from_dict(self, state: Mapping[str, Any], boosters: tuple[str, ...]) -> QuantileModel:
        """Return what `QuantileModel.to_dict` wrote."""


MODELS: Mapping[str, Model] = {model.kind: model for model in (Climatology, LocationScale, Direct)}

CROSS_FITS: Mapping[str, Callable[[TrainingSet], CrossFit]] = {
    Climatology.kind: cross_fit_climatology,
    LocationScale.kind: cross_fit_location_scale,
    Direct.kind: cross_fit_direct,
}

#: What is tried beside climatology, where the stream file does not say.
DEFAULT_KINDS = (LocationScale.kind, Direct.kind)
