"""`tidegauge backtest`: the stream's forecasters on its reference, from rolling origins."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pyarrow as pa
from rich.console import Group
from rich.table import Table

from pipelines.sources import check_files, source_files
from schemas.errors import StreamFileError
from schemas.stream import Stream
from transforms.beam import open_file
from transforms.contract import check_rows
from transforms.decode import read_batches
from transforms.forecast.backtest import BacktestRow, rolling_origin
from transforms.forecast.frame import forecast_features, forecast_frame

COLUMNS = (
    "origin",
    "trained on",
    "tested on",
    "forecaster",
    "pinball",
    "climatology",
    "skill",
    "coverage",
    "Winkler",
)


def backtest_stream(stream: Stream, *, say: Callable[[str], None] = lambda _: None) -> Group:
    """Evaluate every forecaster of a stream, and return one table per target.

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
    table = _reference(stream)
    shown = []
    for spec in stream.forecasts:
        say(f"forecasting {spec.target} from rolling origins")
        order = (
            pl.Series(range(table.num_rows))
            if stream.time is None
            else pl.Series(table[stream.time.column])
        )
        rows = rolling_origin(
            forecast_frame(table, stream, spec),
            spec.target,
            forecast_features(stream, spec),
            spec.levels,
            order.to_physical().to_numpy(),
            interval=spec.interval,
        )
        shown.append(_table(spec.target, spec.interval, rows))
    return Group(*shown)


def _reference(stream: Stream) -> pa.Table:
    paths = source_files(stream.reference)
    check_files(paths, stream.reference, stream)
    wanted = [*stream.key, *stream.columns]
    if stream.time is not None:
        wanted.insert(0, stream.time.column)
    tables = []
    for path in paths:
        with open_file(path) as file:
            for decoded in read_batches(file, path, stream.reference, wanted, stream.name):
                checked = check_rows(
                    decoded.batch, stream.columns, stream.time, stream.key, stream.name
                )
                tables.append(checked.batch.table)
    table = pa.concat_tables(tables)
    if stream.time is None:
        return table
    # a fit depends on the order of its rows, which shall not depend on the files'
    return table.sort_by([(name, "ascending") for name in (stream.time.column, *stream.key)])


def _table(target: str, interval: float, rows: list[BacktestRow]) -> Table:
    title = f"{target}: calibrated {interval:.0%} interval, rolling origins"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "forecaster" else "right")
    for row in rows:
        table.add_row(
            str(row.origin),
            f"{row.train_rows:,}",
            f"{row.test_rows:,}",
            row.kind,
            f"{row.pinball:.4g}",
            f"{row.climatology:.4g}",
            f"{row.skill:.0%}",
            f"{row.coverage:.1%}",
            f"{row.winkler:.4g}",
        )
    return table
