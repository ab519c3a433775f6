"""Which monitors watch a stream, and their options."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Marginal = Literal[
    "ks",
    "wasserstein",
    "energy",
    "jensen_shannon",
    "psi",
    "chi_square",
    "missing_rate",
    "new_category",
    "range",
]
OF_NUMBERS: tuple[Marginal, ...] = ("ks", "wasserstein", "energy", "range")
OF_CATEGORIES: tuple[Marginal, ...] = ("new_category",)
COUNTED: tuple[Marginal, ...] = ("missing_rate", "new_category")  #: need no histogram


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureShift(_Part):
    """The conditional feature-shift monitor."""

    method: Literal["moments", "fisher", "model-ks"] = Field(
        default="moments",
        description="moments: whole distributions and dependence; fisher, model-ks: Gaussian ones. "
        "A change needs a new baseline.",
    )
    ignore_below: float = Field(
        default=0.1,
        ge=0,
        allow_inf_nan=False,
        description="Smallest effect worth an alarm, in conditional standard deviations.",
    )


class Monitors(_Part):
    """Which monitors run; ``false`` switches one off."""

    feature_shift: FeatureShift | Literal[False] = FeatureShift()
    marginals: tuple[Marginal, ...] = Field(
        default=(),
        description="Monitors of one column at a time; each shares the alarm budget. All but "
        "missing_rate and new_category need a baseline that was fitted with them.",
    )
    coverage: bool = True
    pinball: bool = True
    pit: bool = True
    attributions: bool = Field(
        default=False,
        description="What each feature adds to the forecasts, against the reference; needs a "
        "baseline that was fitted with it.",
    )
    expectations: bool = Field(
        default=True, description="Great Expectations over the reference and each window's summary."
    )

    @field_validator("marginals")
    @classmethod
    def _each_once(cls, names: tuple[Marginal, ...]) -> tuple[Marginal, ...]:
        for at, name in enumerate(names):
            if name in names[:at]:
                message = f"each monitor once, and {name} is twice"
                raise ValueError(message)
        return names

    @property
    def histograms(self) -> tuple[Marginal, ...]:
        """The marginal monitors that read histograms."""
        return tuple(name for name in self.marginals if name not in COUNTED)
