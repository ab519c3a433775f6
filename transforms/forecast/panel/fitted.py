"""A fitted panel forecaster: what it forecasts at an issue, and how it is saved and read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import BaselineError
from transforms.calibrate import cqr
from transforms.calibrate.cqr import Conformal
from transforms.forecast.fitted import Fitted, load, write_whole
from transforms.forecast.panel.design import SERIES, Design
from transforms.forecast.panel.frame import Frame, panel_frame
from transforms.forecast.panel.grid import Panel, Table, read_panel
from transforms.forecast.panel.past import Typical
from transforms.windows import key_text

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

PANEL_VERSION = 1
TOGETHER = ""  # the key of the model of all series
_FILE = "panel.json"
_ROWS_AT_ONCE = 500_000  # of forecasts: some 30 columns of features each
_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class PanelModel:
    """A forecaster of scaled rows, and how far its interval moves at each part of the horizon."""

    forecaster: Fitted
    last_steps: tuple[int, ...]  #: of the parts of the horizon
    conformals: tuple[Conformal, ...]  #: of each part, in units of a series' scale

    def interval(self, quantiles: Floats, steps: Places, ends: tuple[int, int]) -> Floats:
        """Return the calibrated interval of scaled quantiles, shape (n, 2)."""
        group = np.searchsorted(self.last_steps, steps)
        found = np.empty((len(steps), 2))
        for number, conformal in enumerate(self.conformals):
            own = group == number
            found[own] = np.column_stack(
                conformal.apply(quantiles[own, ends[0]], quantiles[own, ends[1]])
            )
        return found


@dataclass(frozen=True, slots=True)
class FittedPanel:
    """Forecasts of one target over all steps of the horizon, for all series at once."""

    design: Design
    typical: Typical
    levels: tuple[float, ...]
    ends: tuple[int, int]  #: positions among the levels of the ends of the calibrated interval
    unconditional: tuple[float, ...]  #: quantiles of the target, for a series without any value
    models: Mapping[str, PanelModel]  #: TOGETHER, and those of single keys by their text
    #: as `forecast` returns it, with `outcome`: rows it was fitted on, from models that had not
    #: seen their fold. Not saved: empty after `load_panel`.
    out_of_fold: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False, compare=False)

    @property
    def target(self) -> str:
        """The column that is forecast."""
        return self.design.target

    @property
    def kind(self) -> str:
        """The kind of the model of all series."""
        return self.models[TOGETHER].forecaster.kind

    @property
    def losses(self) -> dict[str, float]:
        """Out-of-fold pinball loss of each kind tried for all series, in units of their scales."""
        return self.models[TOGETHER].forecaster.losses

    @property
    def horizon(self) -> int:
        """How many steps ahead."""
        return self.design.horizon

    @property
    def step_us(self) -> int:
        """Length of a step in microseconds."""
        return self.design.step

    @property
    def history_steps(self) -> int:
        """How many steps up to the issue a forecast reads."""
        return self.design.history_steps

    @property
    def model_id(self) -> str:
        """Twenty hex digits of the hash of what `save` writes."""
        parts = [self._state(), *(model.forecaster.model_id for model in self.models.values())]
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=10).hexdigest()

    def issue_time(self, time: datetime) -> datetime:
        """Return the last step that has begun at a time: forecasts are issued there."""
        return self.design.time_of(self.design.place_at_or_before(time))

    def forecast(self, history: Table, issue_time: datetime) -> pl.DataFrame:
        """Forecast every series over the horizon.

        Parameters
        ----------
        history : table
            The columns it was fitted on, rows in any order; at least those of the last
            `history_steps` steps up to the issue. Of later rows, columns known ahead are read and
            nothing else.
        issue_time : datetime
            Values up to it are known. Taken as UTC without a zone; the last step at or before it
            is the one forecasts count from.

        Returns
        -------
        DataFrame
            One row for each series of the table and each step, in the order of keys and steps:
            the key columns, ``issue_time`` and ``valid_time`` (UTC), ``horizon`` (steps from 1),
            ``quantiles`` (a list, never crossing), ``lower`` and ``upper`` (the calibrated
            interval), ``scale`` (the series' own unit, positive: by it the errors of series
            compare). A series without any value gets the unconditional quantiles of all.

        Raises
        ------
        SourceError
            When columns are missing or of another type than at fit time.
        """
        panel = read_panel(history, self.design, issue_time)
        return self.forecast_at(panel, self.design.place_at_or_before(issue_time))

    def forecast_at(self, panel: Panel, place: int) -> pl.DataFrame:
        """Do the same for rows on the grid, from one of its steps."""
        some = max(1, _ROWS_AT_ONCE // self.horizon)
        texts = series_texts(panel, self.design)
        models = np.array([text if text in self.models else TOGETHER for text in texts])
        return pl.concat(
            self._forecast_some(panel, place, np.arange(begin, end), models[begin:end])
            for begin in range(0, panel.series, some)
            for end in [min(begin + some, panel.series)]
        )

    def _forecast_some(
        self, panel: Panel, place: int, series: Places, models: NDArray[np.str_]
    ) -> pl.DataFrame:
        """Forecast some series, each by the model named."""
        steps = np.tile(np.arange(1, self.horizon + 1), (len(series), 1))
        issue = np.full(len(series), place)
        frame = panel_frame(panel, series, issue, steps, self.design, self.typical)
        scaled = np.full((len(frame.steps), len(self.levels)), np.nan)
        interval = np.full((len(frame.steps), 2), np.nan)
        known = np.isfinite(frame.centre)
        named = np.repeat(models, self.horizon)
        for text in dict.fromkeys(models.tolist()):
            rows = known & (named == text)
            if not rows.any():
                continue
            model = self.models[text]
            own = frame if rows.all() else frame.take(rows)
            scaled[rows] = model.forecaster.predict(own.features)
            interval[rows] = model.interval(scaled[rows], own.steps, self.ends)
        quantiles = in_units(frame, scaled, self.design)
        bounds = in_units(frame, interval, self.design)
        without = np.clip(np.array(self.unconditional), *self.design.limits)
        quantiles[~known], bounds[~known] = without, without[list(self.ends)]
        return forecasts_table(self.design, panel, frame, quantiles, bounds)

    def save(self, folder: Path) -> None:
        """Write each model into a folder of its own, and last ``panel.json``, which names them."""
        for number, model in enumerate(self.models.values()):
            model.forecaster.save(folder / str(number))
        write_whole(folder / _FILE, self._state())

    def _state(self) -> str:
        state = {
            "version": PANEL_VERSION,
            "design": self.design.to_dict(),
            "typical": [self.typical.share, self.typical.scale],
            "levels": list(self.levels),
            "ends": list(self.ends),
            "unconditional": list(self.unconditional),
            "models": [
                {
                    "key": text,
                    "model_id": model.forecaster.model_id,
                    "last_steps": list(model.last_steps),
                    "conformals": [conformal.to_dict() for conformal in model.conformals],
                }
                for text, model in self.models.items()
            ],
        }
        return json.dumps(state, sort_keys=True, allow_nan=False)


def load_panel(folder: Path) -> FittedPanel:
    """Read what `FittedPanel.save` wrote; its forecasts are bit-equal to those before.

    Raises
    ------
    BaselineError
        When files are missing, damaged, or of another version.
    """
    again = "run `tidegauge fit` again"
    try:
        state: dict[str, Any] = json.loads((folder / _FILE).read_text("utf-8"))
        if state["version"] != PANEL_VERSION:
            raise BaselineError(
                f"{folder}: the panel forecaster has version {state['version']!r}, this program "
                f"reads {PANEL_VERSION}; {again}"
            )
        models = {}
        for number, part in enumerate(state["models"]):
            forecaster = load(folder / str(number))
            if forecaster.model_id != part["model_id"]:
                raise BaselineError(f"{folder}: {number} is not the one that was fitted; {again}")
            models[part["key"]] = PanelModel(
                forecaster=forecaster,
                last_steps=tuple(part["last_steps"]),
                conformals=tuple(map(cqr.from_dict, part["conformals"])),
            )
        return FittedPanel(
            design=Design.from_dict(state["design"]),
            typical=Typical(*state["typical"]),
            levels=tuple(state["levels"]),
            ends=(state["ends"][0], state["ends"][1]),
            unconditional=tuple(state["unconditional"]),
            models=models,
        )
    except OSError as error:
        raise BaselineError(
            f"{folder}: the panel forecaster cannot be read ({error.strerror}); {again}"
        ) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BaselineError(
            f"{folder}: the panel forecaster is damaged ({error!r}); {again}"
        ) from error


def series_texts(panel: Panel, design: Design) -> list[str]:
    """Return each series' key as text; that of a table without keys is TOGETHER's."""
    if not design.key:
        return [TOGETHER] * panel.series
    return [key_text(design.key, values) for values in panel.keys.drop(SERIES).iter_rows()]


def in_units(frame: Frame, scaled: Floats, design: Design) -> Floats:
    """Return scaled values, shape (rows, k), in the unit of the target, within its bounds."""
    return np.clip(frame.centre[:, None] + frame.scale[:, None] * scaled, *design.limits)


def forecasts_table(
    design: Design, panel: Panel, frame: Frame, quantiles: Floats, bounds: Floats
) -> pl.DataFrame:
    """Return forecasts, shapes (n, levels) and (n, 2), as `FittedPanel.forecast` describes them."""
    times = {
        name: pl.Series(design.micros(places)).cast(_TIME)
        for name, places in (("issue_time", frame.issue), ("valid_time", frame.valid))
    }
    return (
        panel.keys[frame.series]
        .drop(SERIES)
        .hstack(
            pl.DataFrame(
                {
                    **times,
                    "horizon": frame.steps,
                    "quantiles": pl.Series(quantiles).arr.to_list(),
                    "lower": bounds[:, 0],
                    "upper": bounds[:, 1],
                    "scale": frame.scale,
                }
            )
        )
    )
