"""`tidegauge backtest`: the stream's forecasters on its reference, from rolling origins."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from monitors.online_intervals import follow_reference
from pipelines.sources import check_files, source_files
from schemas.errors import ReferenceDataError, StreamFileError
from schemas.forecasts import ForecastSpec
from schemas.stream import Stream
from transforms.beam import open_file
from transforms.calibration_tests import CalibrationTest, level_test
from transforms.contract import check_rows
from transforms.decisions import ShortfallCost
from transforms.decode import read_batches
from transforms.forecast.backtest import Backtest, BacktestRow, rolling_origin
from transforms.forecast.empirical import Climatology
from transforms.forecast.evaluation import ForecastSummary, summarise
from transforms.forecast.frame import forecast_features, forecast_frame, interval_columns
from transforms.forecast.panel.backtest import PanelBacktest, backtest_panel
from transforms.lags import with_lags_of_keys
from transforms.slices import Slice, coverage_slices

Floats = NDArray[np.float64]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TargetReport:
    """One target forecast from the features of each row."""

    spec: ForecastSpec
    origins: tuple[BacktestRow, ...]
    summary: tuple[ForecastSummary, ...]  #: the forecaster as it will run first
    levels: CalibrationTest
    slices: tuple[Slice, ...]  #: the most surprising first

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; what is not finite is null."""
        return _head(self.spec) | {
            "origins": [asdict(row) | {"skill": row.skill} for row in self.origins],
            "summary": [asdict(one) for one in self.summary],
            "levels": asdict(self.levels),
            "slices": [asdict(one) for one in self.slices],
        }


@dataclass(frozen=True, slots=True)
class PanelReport:
    """One target whose series are forecast ahead."""

    spec: ForecastSpec
    panel: PanelBacktest

    @property
    def not_done(self) -> tuple[str, ...]:
        """What the stream file asks for and a backtest of series does not do."""
        asked = {
            "online calibration": self.spec.calibration == "online",
            "decision cost": self.spec.cost is not None,
        }
        return tuple(name for name, wanted in asked.items() if wanted)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; what is not finite is null."""
        return _head(self.spec) | {
            "calibration": "fixed",
            "not_done": self.not_done,
            "origins": [
                asdict(one) | {"issue_time": one.issue_time.isoformat()}
                for one in self.panel.origins
            ],
            "horizons": [asdict(row) for row in self.panel.rows],
        }


Report = TargetReport | PanelReport


@dataclass(frozen=True, slots=True)
class StreamReport:
    """All targets of a stream."""

    stream: str
    rows: int  #: of the reference
    rejected: int  #: of them, that break the stream's contract: they are not used
    targets: tuple[Report, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``tidegauge backtest --json`` prints; not finite is null."""
        return {
            "stream": self.stream,
            "rows": {
                "in": self.rows,
                "used": self.rows - self.rejected,
                "rejected": self.rejected,
            },
            "targets": [_finite(target.to_json()) for target in self.targets],
        }


def backtest_stream(stream: Stream, *, say: Say = lambda _: None) -> StreamReport:
    """Evaluate every forecaster of a stream.

    The reference is read into memory: an evaluation from rolling origins needs its rows in order.

    Raises
    ------
    StreamFileError
        When the stream forecasts nothing.
    SourceError, ReferenceDataError
        When the reference cannot be used.
    """
    if not stream.forecasts:
        message = f"stream {stream.name!r} has no `forecasts:`; add a target to evaluate"
        raise StreamFileError(message)
    say("reading the reference")
    table, rejected = _reference(stream)
    targets = tuple(_report(table, stream, spec, say) for spec in stream.forecasts)
    return StreamReport(stream.name, table.num_rows + rejected, rejected, targets)


def _report(table: pa.Table, stream: Stream, spec: ForecastSpec, say: Say) -> Report:
    if spec.ahead is not None:
        say(f"{spec.target}: forecasting its future from rolling origins")
        return PanelReport(spec, backtest_panel(table, stream, spec))
    order = np.arange(table.num_rows)
    if stream.time is not None:
        order = table[stream.time.column].cast(pa.int64()).to_numpy()
    frame = forecast_frame(table, stream, spec)
    features = forecast_features(stream, spec)
    done = rolling_origin(frame, features, spec, order, say=say)
    cost = None if spec.cost is None else ShortfallCost(spec.cost.under, spec.cost.over)
    low, high = interval_columns(spec)
    ends = {"fixed": (done.lower, done.upper)}
    if spec.calibration == "online":
        say(f"{spec.target}: calibrating online")
        ends = {"online": _online(table, stream, spec, done), **ends}
    kinds = {row.kind for row in done.origins}
    # climatology that was chosen is calibrated, and the one it is compared with is not
    one = len(kinds) == 1 and kinds != {Climatology.kind}
    chosen = kinds.pop() if one else "as chosen"
    forecasters = [
        (f"{chosen} {name}" if len(ends) > 1 else chosen, done.quantiles, own)
        for name, own in ends.items()
    ]
    unconditional = done.climatology[:, low], done.climatology[:, high]
    forecasters.append((Climatology.kind, done.climatology, unconditional))
    summary = [
        summarise(name, done.outcome, quantiles, spec.levels, own, spec.interval, cost)
        for name, quantiles, own in forecasters
    ]
    segments, in_force = _segments(table, stream, spec)[done.tested], next(iter(ends.values()))
    return TargetReport(
        spec=spec,
        origins=done.origins,
        summary=tuple(summary),
        levels=level_test(done.outcome, done.quantiles, spec.levels),
        slices=tuple(coverage_slices(segments, done.outcome, *in_force, spec.interval)),
    )


def _segments(table: pa.Table, stream: Stream, spec: ForecastSpec) -> pl.DataFrame:
    """Return the columns by whose values coverage is looked at: keys, and all but targets."""
    read = [*stream.with_role("feature", "condition"), *stream.forecast_features(spec)]
    names = [name for name in dict.fromkeys([*stream.key, *read]) if name != spec.target]
    frame = pl.from_arrow(table.select(names))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 (a table gives a frame)
    return frame


def _online(
    table: pa.Table, stream: Stream, spec: ForecastSpec, done: Backtest
) -> tuple[Floats, Floats]:
    """Return the intervals of the tested rows, had they followed the outcomes from the start.

    What was before the first origin warms the calibrators up, by its out-of-fold forecasts.
    """
    low, high = interval_columns(spec)
    places = np.concatenate([done.before, done.tested])
    base = np.concatenate([done.seen, done.quantiles])
    assert stream.time is not None  # noqa: S101 (the stream file was checked)
    time = stream.time.column
    rows = table.select([*stream.key, time]).take(places)
    outcome = table[spec.target].cast(pa.float64()).take(places).to_numpy()
    ends = base[:, low], base[:, high]
    followed = follow_reference(rows, stream.key, time, ends, outcome, spec.interval)
    first = len(done.before)
    return followed.lower[first:], followed.upper[first:]


def _reference(stream: Stream) -> tuple[pa.Table, int]:
    """Return the rows that can be used, in order of time, and how many others there are."""
    paths = source_files(stream.reference)
    check_files(paths, stream.reference, stream)
    wanted = [*stream.key, *stream.columns]
    if stream.time is not None:
        wanted.insert(0, stream.time.column)
    tables, rejected = [], 0
    for path in paths:
        with open_file(path) as file:
            for decoded in read_batches(file, path, stream.reference, wanted, stream.name):
                checked = check_rows(
                    decoded.batch, stream.columns, stream.time, stream.key, stream.name
                )
                tables.append(checked.batch.table)
                rejected += decoded.rejects.num_rows + checked.rejects.num_rows
    table = pa.concat_tables(tables)
    if not table.num_rows:
        raise ReferenceDataError(
            f"{stream.reference.path}: none of the {rejected:,} rows of the reference can be used; "
            "check the types and ranges in the stream file"
        )
    if stream.time is None:
        return table, rejected
    if stream.lags:
        table = with_lags_of_keys(table, stream)
    # a fit depends on the order of its rows, which shall not depend on the files'
    order = [(name, "ascending") for name in (stream.time.column, *stream.key)]
    return table.sort_by(order), rejected


def _head(spec: ForecastSpec) -> dict[str, Any]:
    return {"target": spec.target, "interval": spec.interval, "calibration": spec.calibration}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
