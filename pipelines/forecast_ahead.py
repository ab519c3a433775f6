"""Issues the forecasts of series' own future that are due in a tick, and keeps what they read.

The state: the last rows of each series, and up to when the future of each target is forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from monitors.ahead import ahead_specs, issue_ahead, next_issue, outcomes_of_rows
from monitors.baseline_folder import Baselines
from monitors.beam.profile import HISTORY
from monitors.beam.verify import ARRIVE, FRESH
from pipelines.late_outcomes import STATE_TABLES
from pipelines.progress import Progress
from pipelines.run_folder import Run
from pipelines.sinks import WriteParts, read_parts, write_part
from pipelines.take_in import NEW_OUTCOMES, join_outcomes
from schemas.stream import Stream
from transforms.contract import ROW
from transforms.forecast.panel.fitted import FittedPanel

SERIES = "series"  # a table of the state, and its folder in a tick


def forecast_ahead(
    stream: Stream,
    baselines: Baselines,
    staging: Path,
    before: Run | None,
    progress: Progress,
    run_graph: Callable[[Callable[[beam.Pipeline], None]], None],
) -> Progress:
    """Issue the forecasts that are due, and join outcomes to all forecasts of the tick and before.

    The first issue is the first one not before the run's first row. Each next one comes when the
    watermark has passed it, from the baseline that counts then.

    Parameters
    ----------
    staging : with the new rows, in the folder `HISTORY`.
    progress : after these rows.

    Returns
    -------
    The progress after these forecasts.
    """
    until = _issue_all(stream, baselines, staging, before, progress)
    run_graph(_joining(stream, baselines, staging, before))
    return replace(progress, ahead=until)


def _issue_all(
    stream: Stream, baselines: Baselines, staging: Path, before: Run | None, progress: Progress
) -> dict[str, int]:
    """Write the forecasts that are due, the values that others await, and the last rows.

    Returns
    -------
    Up to when the future of each target is forecast, in µs since 1970; none before the first row.
    """
    until, watermark = dict(progress.ahead), progress.watermark
    new = read_parts(staging / HISTORY)
    if new is None and not until:
        return {}
    rows = _rows(baselines, before, new)
    assert stream.time is not None  # noqa: S101 (`ahead` needs it)
    time, earliest = stream.time.column, []
    for spec in ahead_specs(stream):
        models = [baselines.load(v.id).ahead[spec.target].model for v in baselines.versions]
        if new is not None:
            until.setdefault(spec.target, int(new[time].cast(pa.int64()).to_numpy().min()))
            designs = [model.design for model in models]
            write_part(outcomes_of_rows(stream, spec.target, designs, new), staging / NEW_OUTCOMES)
        if watermark is not None:
            begun = until[spec.target]
            until[spec.target] = _issue(
                stream, spec.target, baselines, rows, begun, watermark, staging
            )
        earliest.append(until[spec.target] - max(map(_read_before, models)))
    kept = rows.filter(pl.col(time).dt.timestamp("us") > min(earliest))
    write_part(kept.to_arrow(), staging / SERIES)
    return until


def _issue(
    stream: Stream,
    target: str,
    baselines: Baselines,
    rows: pl.DataFrame,
    until: int,
    watermark: int,
    staging: Path,
) -> int:
    """Write the forecasts of one target that are due, and return up to when there are any."""
    while True:
        identity = baselines.id_at(until)
        model = baselines.load(identity).ahead[target].model
        issue = next_issue(model.design, until)
        if issue >= watermark:  # rows of the watermark's own time may still come
            return until
        until = issue + model.horizon * model.step_us
        fresh = issue_ahead(model, stream, rows, issue, identity)
        if fresh.num_rows:
            write_part(fresh, staging / FRESH)
            continue
        times = rows[model.design.time].dt.timestamp("us").to_numpy()
        until = max(until, int(times[times > issue].min(initial=watermark)))  # past a gap


def _joining(
    stream: Stream, baselines: Baselines, staging: Path, before: Run | None
) -> Callable[[beam.Pipeline], None]:
    """Return what builds the graph that joins outcomes to forecasts."""
    folders = {FRESH: FRESH, NEW_OUTCOMES: ARRIVE}
    files = [
        (name, part)
        for folder, name in folders.items()
        for part in sorted((staging / folder).glob("*.parquet"))
    ]
    if before is not None:
        files += [(name, part) for name in STATE_TABLES for part in before.state(name)]

    def build(pipeline: beam.Pipeline) -> None:
        folder, versions = str(baselines.folder), baselines.versions
        for name, tables in join_outcomes(pipeline, stream, folder, versions, files).items():
            _ = tables | f"keep {name}" >> WriteParts(staging / name)

    return build


def _read_before(model: FittedPanel) -> int:
    """Return how long before the end of the last forecast its next issue may read, in µs."""
    return (model.history_steps + 1) * model.step_us


def _rows(baselines: Baselines, before: Run | None, new: pa.Table | None) -> pl.DataFrame:
    """Return the last rows of each series: at the start of a run, those of the reference."""
    tables: Sequence[pa.Table | None]
    if before is not None and before.state(SERIES):
        tables = [pq.read_table(part) for part in before.state(SERIES)]
    else:
        tables = [baselines.load(baselines.versions[0].id).history]
    own = [*tables, None if new is None else new.drop_columns([ROW])]
    frames = [pl.DataFrame(pl.from_arrow(table)) for table in own if table is not None]
    return pl.concat(frames, how="diagonal_relaxed")
