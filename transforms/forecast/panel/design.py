"""What a panel forecaster reads of a table, counted in steps: its columns, grid and spans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.duration import parse_duration
from schemas.errors import StreamFileError
from schemas.forecasts import Ahead, ForecastSpec
from schemas.stream import CalendarTerm, Stream

Places = NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAGS = (1, 2, 3)  # steps; earlier ones are read season by season
#: columns of a panel and of its forecasts, beside those of the key
SERIES, PLACE = "__series", "__place"
_OF_FORECASTS = "issue_time valid_time horizon quantiles lower upper scale outcome forecaster"
_TAKEN = (SERIES, PLACE, *_OF_FORECASTS.split())


@dataclass(frozen=True, slots=True)
class Design:
    """The columns that are read, and how far back; lengths are whole steps."""

    time: str
    zone: str  #: of times that carry none
    key: tuple[str, ...]
    categories: tuple[str, ...]  #: key columns that are read, as categories
    target: str
    at_issue: tuple[str, ...]  #: columns whose value at the issue is read
    known: tuple[str, ...]  #: columns that are read at the valid time
    calendar: tuple[CalendarTerm, ...]
    step: int  #: microseconds
    phase: int  #: microseconds: the times of the grid are those of whole steps since 1970, and this
    horizon: int
    season: int  #: 1 without a season
    seasons: int  #: how many of them the centre and the scale of a forecast are measured over
    lags: tuple[int, ...]
    rolling: tuple[int, ...]
    bounds: tuple[float | None, float | None]  #: the column's `min` and `max`

    @property
    def history_steps(self) -> int:
        """How many steps up to the issue are read."""
        return max(self.seasons * self.season, *self.lags, *self.rolling)

    def places(self, micros: Places) -> Places:
        """Return the number of the step that each time, in microseconds since 1970, is nearest."""
        return (micros - self.phase + self.step // 2) // self.step

    def micros(self, places: Places) -> Places:
        """Return the times of steps, in microseconds since 1970."""
        return places * self.step + self.phase

    def place_at_or_before(self, time: datetime) -> int:
        """Return the last step that has begun at a time; a time without zone is taken as UTC."""
        return (micros_of(time) - self.phase) // self.step

    def time_of(self, place: int) -> datetime:
        """Return the time of one step."""
        return _EPOCH + timedelta(microseconds=place * self.step + self.phase)

    @property
    def limits(self) -> tuple[float, float]:
        """The bounds, infinite where there is none."""
        low, high = self.bounds
        return -np.inf if low is None else low, np.inf if high is None else high

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Design:
        """Return what `to_dict` wrote."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in state.items()
        }
        return cls(**values)


def design_of(
    stream: Stream,
    spec: ForecastSpec,
    *,
    phase: int = 0,
    seasons: int = 1,
    categories: tuple[str, ...] = (),
) -> Design:
    """Return what the stream file asks for.

    Parameters
    ----------
    phase : of the grid, in microseconds (`grid.common_phase`)
    seasons, categories : see `Design`

    Raises
    ------
    StreamFileError
        When the forecast is not one of the series' own future, a key column has the name of a
        column of the forecasts, or a model is one of single series.
    """
    ahead = horizon_of(spec)
    for name in stream.key:
        if name in _TAKEN:
            raise StreamFileError(
                f"key column {name!r} has the name of a column of the forecasts; give it another"
            )
    if "garch" in spec.models:
        raise StreamFileError(
            f"the forecast of {spec.target!r} has `ahead`, and `garch` forecasts rows of one "
            "series from lags in their columns; take one of the two away"
        )
    time = stream.time
    if time is None:
        raise StreamFileError("`ahead` needs `time:` with the event-time column")
    season = 1 if ahead.season is None else ahead.steps(ahead.season)
    column = stream.columns[spec.target]
    return Design(
        time=time.column,
        zone=time.zone,
        key=stream.key,
        categories=categories,
        target=spec.target,
        at_issue=tuple(n for n in stream.forecast_features(spec) if n not in ahead.known),
        known=ahead.known,
        calendar=stream.calendar,
        step=round(parse_duration(ahead.step) * 1e6),
        phase=phase,
        horizon=ahead.steps(ahead.horizon),
        season=season,
        seasons=seasons,
        lags=tuple(ahead.steps(lag) for lag in ahead.lags) or _LAGS,
        rolling=tuple(ahead.steps(span) for span in ahead.rolling) or _halves(seasons, season),
        bounds=(column.min, column.max),
    )


def micros_of(time: datetime) -> int:
    """Return microseconds since 1970; a time without zone is taken as UTC."""
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def horizon_of(spec: ForecastSpec) -> Ahead:
    """Return the `ahead` part of a forecast.

    Raises
    ------
    StreamFileError
        When it has none.
    """
    if spec.ahead is None:
        raise StreamFileError(
            f"the forecast of {spec.target!r} has no `ahead:` with a horizon and a step; "
            "add it, or forecast each row from its own features"
        )
    return spec.ahead


def _halves(seasons: int, season: int) -> tuple[int, ...]:
    """Return spans of 1, 2, 4, … seasons, of two steps at the least."""
    spans = {seasons * season // 2**power for power in range(seasons.bit_length())}
    return tuple(sorted({max(2, span) for span in spans}))
