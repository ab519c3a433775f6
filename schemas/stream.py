"""The stream file as one frozen tree: what a stream is, and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from schemas.alarms import Alarms
from schemas.duration import Duration, parse_duration
from schemas.errors import did_you_mean, error_at
from schemas.explain import Explain
from schemas.forecasts import OF_OWN_PAST, ForecastSpec, Outcomes, Refit
from schemas.kafka import Topic
from schemas.monitors import OF_CATEGORIES, OF_NUMBERS, Monitors
from schemas.sinks import Sinks
from schemas.source import Source
from schemas.watermark import Watermark

STREAM_FILE_VERSION = 1

ColumnType = Literal["number", "integer", "category", "boolean", "timestamp"]
ColumnRole = Literal["feature", "condition", "target", "ignore"]
CalendarTerm = Literal["hour_of_day", "day_of_week", "day_of_year"]

_NUMBERS: tuple[ColumnType, ...] = ("number", "integer")


def _kind_of_source(source: object) -> str:
    messages = isinstance(source, Topic) or (isinstance(source, Mapping) and "topic" in source)
    return "messages" if messages else "files"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Time(_Part):
    """The event time of a row."""

    column: str
    zone: str = Field(
        default="UTC", description="The zone of times that carry none (an IANA name)."
    )

    @model_validator(mode="after")
    def _known_zone(self) -> Self:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            message = (
                f"{self.zone!r} is not a known time zone; use an IANA name such as Europe/Paris"
            )
            raise ValueError(message) from error
        return self


class Column(_Part):
    """What one column holds and what it is for."""

    type: ColumnType
    role: ColumnRole = Field(
        default="feature",
        description="feature: watched; condition: only explains the others; "
        "target: only forecast; ignore: read but not used.",
    )
    unit: str | None = Field(default=None, description="Shown in findings and plots, such as °C.")
    min: float | None = Field(
        default=None, allow_inf_nan=False, description="Rows below it are rejected."
    )
    max: float | None = Field(
        default=None, allow_inf_nan=False, description="Rows above it are rejected."
    )
    categories: tuple[str, ...] | None = Field(
        default=None, description="The closed list of values; rows with others are rejected."
    )
    nullable: bool = Field(default=True, description="If not, rows without a value are rejected.")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            message = f"min {self.min:g} is above max {self.max:g}"
            raise ValueError(message)
        if (self.min is not None or self.max is not None) and self.type not in (
            "number",
            "integer",
        ):
            message = f"min and max are for numbers, not for type {self.type}"
            raise ValueError(message)
        if self.categories is not None and self.type != "category":
            message = f"categories are for type category, not for type {self.type}"
            raise ValueError(message)
        if self.type == "timestamp" and self.role in ("feature", "target"):
            message = "a timestamp cannot be watched or forecast; give it `role: ignore`"
            raise ValueError(message)
        return self


class Window(_Part):
    """How rows are cut into windows: by event time (``length``) or by count (``rows``)."""

    length: Duration | None = None
    every: Duration | None = Field(default=None, description="Step of sliding windows.")
    rows: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.length is None) == (self.rows is None):
            message = "give either `length` (event time, such as 7d) or `rows` (a count)"
            raise ValueError(message)
        if self.every is not None:
            if self.length is None:
                message = "`every` goes with `length`"
                raise ValueError(message)
            ratio = parse_duration(self.length) / parse_duration(self.every)
            if ratio < 1 or ratio != int(ratio):
                message = f"length {self.length} must be a whole multiple of every {self.every}"
                raise ValueError(message)
        return self

    @property
    def length_seconds(self) -> float | None:
        """Length of an event-time window; None for windows by count."""
        return None if self.length is None else parse_duration(self.length)

    @property
    def every_seconds(self) -> float | None:
        """Step of event-time windows (their length when they do not slide)."""
        return self.length_seconds if self.every is None else parse_duration(self.every)


class Stream(_Part):
    """One stream file."""

    tidegauge: Literal[1] = Field(description="Version of the stream-file format.")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)
    source: Annotated[
        Annotated[Source, Tag("files")] | Annotated[Topic, Tag("messages")],
        Discriminator(_kind_of_source),
    ]
    reference: Source
    time: Time | None = None
    key: tuple[str, ...] = ()
    key_baseline: Literal["own", "pooled"] = Field(
        default="own",
        description="own: a key is compared with its own reference; "
        "pooled: with that of all keys together, also a key that the reference does not have.",
    )
    columns: dict[str, Column] = Field(min_length=1)
    window: Window
    watermark: Watermark = Watermark()
    calendar: tuple[CalendarTerm, ...] = Field(
        default=(), description="Calendar terms that explain the features and are never blamed."
    )
    lags: tuple[Duration, ...] = Field(
        default=(),
        description="How long ago: numeric features' own earlier values explain them, like the "
        "calendar, and are never blamed.",
    )
    forecasts: tuple[ForecastSpec, ...] = ()
    outcomes: Outcomes | None = None
    refit: Refit | None = None
    monitors: Monitors = Monitors()
    alarms: Alarms = Alarms()
    explain: Explain = Explain()
    sinks: Sinks = Sinks()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.time is None and self.window.length is not None:
            message = (
                "windows by time need `time:` with the event-time column; "
                "or give `window: {rows: N}`"
            )
            raise error_at(message, "window", "length")
        if isinstance(self.source, Topic):
            self._fits_a_topic(self.source)
        if self.time is None and self.calendar:
            raise error_at("`calendar` needs `time:` with the event-time column", "calendar")
        if self.key_baseline == "pooled" and not self.key:
            message = "`key_baseline: pooled` needs `key:` with the columns that tell series apart"
            raise error_at(message, "key_baseline")
        for name in self.key:
            if name in self.columns:
                message = f"{name!r} is a key and a column; leave it out of `columns`"
                raise error_at(message, "columns", name)
        if self.time is not None and self.time.column in self.columns:
            message = (
                f"{self.time.column!r} is the event time and a column; leave it out of `columns`"
            )
            raise error_at(message, "columns", self.time.column)
        try:
            if self.alarms.control != "fdr":
                self.alarms.per_window(self.window.every_seconds)
        except ValueError as error:
            raise error_at(str(error), "alarms", "false") from error
        return self

    def _fits_a_topic(self, topic: Topic) -> None:
        if self.window.rows is not None or self.time is None:
            message = (
                "the messages of a topic have no order over its partitions: they need `time:` and "
                "windows of event time, such as `window: {length: 1h}`"
            )
            raise error_at(message, "window")
        if self.lags:
            raise error_at("`lags` are for files; a topic has none yet", "lags")
        known = [self.time.column, *self.key, *self.columns]
        for part, name in topic.envelope.fills:
            if name not in known:
                message = f"{name!r} is not a column of the stream{did_you_mean(name, known)}"
                raise error_at(message, "source", "envelope", part)

    @model_validator(mode="after")
    def _marginals_fit(self) -> Self:
        types = {self.columns[name].type for name in self.with_role("feature")}
        for at, name in enumerate(self.monitors.marginals):
            if name in OF_NUMBERS and not types & set(_NUMBERS):
                message = f"{name} needs a feature that is a number"
                raise error_at(message, "monitors", "marginals", at)
            if name in OF_CATEGORIES and not types - set(_NUMBERS):
                message = f"{name} needs a feature that is a category or a boolean"
                raise error_at(message, "monitors", "marginals", at)
        return self

    @model_validator(mode="after")
    def _lags_fit(self) -> Self:
        if self.lags and self.time is None:
            raise error_at("`lags` need `time:` with the event-time column", "lags")
        seconds = [parse_duration(lag) for lag in self.lags]
        for at, lag in enumerate(self.lags):
            if seconds[at] in seconds[:at]:
                raise error_at(f"each lag once, and {lag} is twice", "lags", at)
        if self.lags and not self.lagged:
            raise error_at("`lags` need a feature that is a number", "lags")
        for name in self.lagged:
            if name in self.columns or name in self.key:
                message = f"they make a column {name!r}, and there is one already; rename that"
                raise error_at(message, "lags")
        return self

    @model_validator(mode="after")
    def _graph_fits(self) -> Self:
        for name, place in self.explain.unknown([*self.columns, *self.lagged]):
            message = f"{name!r} is not a column of the stream{did_you_mean(name, self.columns)}"
            raise error_at(message, "explain", "graph", *place)
        return self

    @model_validator(mode="after")
    def _outcomes_fit(self) -> Self:
        for name in ("outcomes", "refit"):
            if getattr(self, name) is not None and self.time is None:
                raise error_at(f"`{name}` needs `time:` with the event-time column", name)
        for number, forecast in enumerate(self.forecasts):
            if forecast.calibration == "online" and self.time is None:
                message = "`calibration: online` needs `time:` with the event-time column"
                raise error_at(message, "forecasts", number, "calibration")
        known_at = None if self.outcomes is None else self.outcomes.known_at
        if known_at in {*self.key, *(forecast.target for forecast in self.forecasts)}:
            message = f"`known_at` names the column of a time, and {known_at!r} is a target or key"
            raise error_at(message, "outcomes", "known_at")
        if self.outcomes is not None and not self.forecasts:
            raise error_at("`outcomes` are those of `forecasts`, and there are none", "outcomes")
        for name in ("outcomes", "refit"):
            if getattr(self, name) is not None and self.window.rows is not None:
                raise error_at(f"`{name}` needs windows of event time, such as 7d", name)
        if self.refit is not None and isinstance(self.source, Topic):
            message = "`refit` reads the rows before again, and a topic does not keep them"
            raise error_at(message, "refit")
        return self

    @model_validator(mode="after")
    def _forecasts_fit(self) -> Self:
        before: set[str] = set()
        lagged = self.lagged
        for number, forecast in enumerate(self.forecasts):
            target, features = forecast.target, forecast.features or ()
            named: list[tuple[str, tuple[str | int, ...]]] = [(target, ("target",))]
            named += [(name, ("features", at)) for at, name in enumerate(features)]
            for name, place in named:
                if name not in self.columns and not (place[0] == "features" and name in lagged):
                    near = did_you_mean(name, [*self.columns, *lagged])
                    message = f"forecast names {name!r}, which is not among `columns`{near}"
                    raise error_at(message, "forecasts", number, *place)
            where = ("forecasts", number, "target")
            if self.columns[target].type not in ("number", "integer"):
                raise error_at(f"forecast target {target!r} must be a number", *where)
            if forecast.ahead is not None and self.time is None:
                message = "`ahead` needs `time:` with the event-time column"
                raise error_at(message, "forecasts", number, "ahead")
            for at, name in enumerate(() if forecast.ahead is None else forecast.ahead.known):
                if name not in self.columns:
                    message = f"{name!r} is not among `columns`{did_you_mean(name, self.columns)}"
                    raise error_at(message, "forecasts", number, "ahead", "known", at)
            if target in features:
                raise error_at(f"{target!r} cannot be forecast from itself", *where)
            if target in before:
                raise error_at(f"each target may be forecast once, and {target!r} is twice", *where)
            before.add(target)
        return self

    def with_role(self, *roles: ColumnRole) -> list[str]:
        """Return the names of the columns with one of these roles, in the file's order."""
        return [name for name, column in self.columns.items() if column.role in roles]

    @property
    def lagged(self) -> dict[str, tuple[str, str]]:
        """The columns that the lags add, such as ``temp 1h ago``: each with its feature and lag."""
        numbers = [n for n in self.with_role("feature") if self.columns[n].type in _NUMBERS]
        return {f"{name} {lag} ago": (name, lag) for lag in self.lags for name in numbers}

    def forecast_features(self, forecast: ForecastSpec) -> list[str]:
        """Return the columns a forecaster reads; kinds of the target's own past read its lags."""
        if forecast.features is not None:
            return list(forecast.features)
        names = [n for n in self.with_role("feature", "condition") if n != forecast.target]
        if forecast.ahead is None and OF_OWN_PAST.intersection(forecast.models):
            names += [lag for lag, (name, _) in self.lagged.items() if name == forecast.target]
        return names
