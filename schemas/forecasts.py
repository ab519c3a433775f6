"""What is forecast, when outcomes come, and when a forecaster is fitted anew."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.duration import Duration, parse_duration
from schemas.source import Source

DEFAULT_LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)

Kind = Literal[
    "location_scale",
    "symmetric",
    "direct",
    "linear",
    "aggregate",
    "seasonal_naive",
    "har",
    "garch",
    "cnn",
    "lstm",
    "implicit_quantiles",
    "normal",
    "student_t",
    "skew_t",
    "lognormal",
    "gamma",
    "zero_inflated_lognormal",
    "selected_family",
]
#: Kinds that read nothing but the target's own earlier values.
OF_OWN_PAST: frozenset[Kind] = frozenset(("har", "garch", "cnn", "lstm"))

Refitting = Literal["feature_shift", "coverage", "pinball", "pit"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ahead(_Part):
    """Forecasts of a series' own future, from what is known of it when they are issued."""

    horizon: Duration = Field(description="How far ahead, such as 28d.")
    step: Duration = Field(description="From one row of a series to the next, such as 1d.")
    season: Duration | None = Field(
        default=None, description="Length of the season, such as 7d: whole steps."
    )
    lags: tuple[Duration, ...] = Field(
        default=(),
        description="How long before the issue: earlier values of the target that are read. "
        "When left out: the last ones, and those of the last seasons.",
    )
    rolling: tuple[Duration, ...] = Field(
        default=(),
        description="Spans before the issue over which mean and deviation of the target are read. "
        "When left out: a few seasons.",
    )
    known: tuple[str, ...] = Field(
        default=(), description="Columns known ahead, such as prices: read at the valid time."
    )
    series: Literal["together", "each"] = Field(
        default="together", description="together: one model of all keys; each: one of each key."
    )

    @model_validator(mode="after")
    def _whole_steps(self) -> Self:
        step = parse_duration(self.step)
        named = [("horizon", self.horizon)]
        named += [("season", self.season)] if self.season is not None else []
        named += [("lags", lag) for lag in self.lags] + [("rolling", r) for r in self.rolling]
        for name, length in named:
            steps = parse_duration(length) / step
            if steps < 1 or steps != int(steps):
                message = f"{name}: {length} is no whole number of steps of {self.step}"
                raise ValueError(message)
        return self

    def steps(self, length: str) -> int:
        """Return how many steps a length of time has."""
        return round(parse_duration(length) / parse_duration(self.step))


class Cost(_Part):
    """What decisions made by a forecast cost, per unit that they are off the outcome."""

    under: float = Field(gt=0, description="Of a unit too little, such as a sale lost.")
    over: float = Field(gt=0, description="Of a unit too much, such as stock left over.")


class ForecastSpec(_Part):
    """One forecaster: a target, what it is forecast from, and at which quantile levels."""

    target: str
    features: tuple[str, ...] | None = Field(
        default=None, description="All features but the target when left out."
    )
    levels: tuple[float, ...] = DEFAULT_LEVELS
    interval: float = Field(
        default=0.9, gt=0, lt=1, description="Nominal coverage of the calibrated interval."
    )
    models: tuple[Kind, ...] = Field(
        default=(),
        description="Which kinds are tried beside climatology; the best out of fold is kept. "
        "When left out: those that serve most targets.",
    )
    ahead: Ahead | None = Field(
        default=None,
        description="Forecast the series' future; without it, each row from its own features.",
    )
    calibration: Literal["fixed", "online"] = Field(
        default="fixed",
        description="fixed: the interval is calibrated on the reference, and monitors tell when it "
        "no longer holds; online: it follows the outcomes as they come.",
    )
    cost: Cost | None = Field(
        default=None,
        description="What being off costs whoever acts on the forecast; a backtest then scores "
        "forecasters by it too.",
    )

    @model_validator(mode="after")
    def _columns_once(self) -> Self:
        known = () if self.ahead is None else self.ahead.known
        if self.target in known:
            message = f"{self.target!r} is what is forecast: it is not known ahead"
            raise ValueError(message)
        for part, names in (("features", self.features or ()), ("known", known)):
            for at, name in enumerate(names):
                if name in names[:at]:
                    message = f"`{part}` has {name!r} twice"
                    raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _levels_in_order(self) -> Self:
        if any(not 0 < level < 1 for level in self.levels):
            message = "levels must lie strictly between 0 and 1"
            raise ValueError(message)
        if list(self.levels) != sorted(set(self.levels)):
            message = "levels must be in increasing order, each once"
            raise ValueError(message)
        ends = ((1 - self.interval) / 2, (1 + self.interval) / 2)
        missing = [e for e in ends if not any(abs(e - level) < 1e-9 for level in self.levels)]
        if missing:
            wanted = ", ".join(f"{end:g}" for end in missing)
            message = f"interval {self.interval:g} needs the levels {wanted} among `levels`"
            raise ValueError(message)
        return self


class Outcomes(Source):
    """Where outcomes come that are not in the rows themselves: late, missing, or revised.

    Each row has the stream's event time and key columns, and the targets' columns.
    """

    within: Duration = Field(
        default="30d", description="How long after its event time an outcome is waited for."
    )
    known_at: str | None = Field(
        default=None,
        description="Column with the time at which an outcome became known; of several for one "
        "forecast the latest counts. When left out: known at its event time.",
    )


class Refit(_Part):
    """When a new baseline is fitted while the stream runs, and on what."""

    when: tuple[Refitting, ...] = Field(
        default=("pinball",), min_length=1, description="Monitors whose alarms call for it."
    )
    windows: int = Field(default=2, ge=1, description="How many windows in a row alarm.")
    on: Duration = Field(description="The rows of how long before: the new reference.")
