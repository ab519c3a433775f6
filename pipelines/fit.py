"""`tidegauge fit`: the reference in, a baseline out; two passes over its rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from monitors.ahead import AheadForecaster, ahead_specs, check_ahead, history_columns
from monitors.attribute.attribution_findings import check_attributions
from monitors.baseline import Baseline, Forecaster
from monitors.baseline_folder import save_baseline
from monitors.beam.merge import MergeParts, SummariseRows
from monitors.encoder import Encoder, fit_encoder
from monitors.expectations import gate, validate_reference
from monitors.feature_shift.reference import blocks_per_window
from monitors.pooling import is_pooled, windows_drawn
from monitors.reference_rows import choose_rows, reference_step
from monitors.rollup import ALL_KEYS
from monitors.summary import TableSummary, merge
from pipelines.fit_forecasters import (
    ahead_of,
    forecaster_of,
    last_rows,
    window_of_rows,
    with_outcomes,
)
from pipelines.fit_references import Cut, fit_references
from pipelines.run_folder import RowCounts
from pipelines.runners import run_graph
from pipelines.sinks import WriteParts, read_parts, staging_folder
from pipelines.sources import (
    check_files,
    first_rows,
    read_tallies,
    row_counts,
    source_files,
    tally_table,
)
from schemas.errors import ReferenceDataError, StreamFileError
from schemas.records import Batch
from schemas.stream import Stream
from transforms.beam import TALLIES, ReadBatches, SampleRows, WithPositions
from transforms.lags import LAGGED
from transforms.windows import time_spans

SAMPLE_ROWS = (
    100_000  # the basis and the forecasters are fitted on them; all rows go into the profile
)
FEW_WINDOWS = 8
_SERIES = "series"
MOST_NAMED = 3  # keys whose reference is too short


@dataclass(frozen=True, slots=True)
class Recent:
    """Rows of the stream's source that take the place of the reference."""

    start: datetime
    end: datetime  #: the first time that is not among them
    #: columns key, target, valid_time, outcome: those that came after their rows
    outcomes: pl.DataFrame | None = None
    scored: Collection[str] = ()  #: targets whose forecasts can be tested, and must stay so

    @property
    def between(self) -> tuple[int, int]:
        """Both in µs since 1970."""
        return round(self.start.timestamp() * 1e6), round(self.end.timestamp() * 1e6)


@dataclass(frozen=True, slots=True)
class FitReport:
    """What `fit` did."""

    baseline: Baseline
    rows: RowCounts
    windows: float
    notes: Sequence[str]


def fit(
    stream: Stream,
    folder: Path,
    *,
    runner: str = "local",
    options: Sequence[str] = (),
    since: datetime | None = None,
    recent: Recent | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> FitReport:
    """Fit the baseline of a stream and make it the current one of a folder.

    Parameters
    ----------
    since : windows that begin then or later are judged by it; None: all of them.
    recent : fit on these rows; None: on the stream's reference.

    Raises
    ------
    SourceError, ReferenceDataError, OutputError
        Before anything is written.
    """
    if since is not None and stream.window.rows is not None:
        message = "--since: windows counted in rows have no time from which a baseline could count"
        raise StreamFileError(message)
    check_attributions(stream)
    check_ahead(stream)
    told, between = stream, None
    if recent is not None:
        stream, between = stream.model_copy(update={"reference": stream.source}), recent.between
    paths = source_files(stream.reference)
    check_files(paths, stream.reference, stream)
    with staging_folder(folder) as staging:
        say("reading the reference")
        sample, summary, rows = _sample(stream, paths, staging, runner, options, between)
        results: list[dict[str, Any]] = []
        if stream.monitors.expectations:
            say("checking what is expected of the reference")
            results = validate_reference(sample, summary, stream)
            gate(results)
        windows, keys = _windows(stream, sample, rows["used"])
        _require_two_windows(stream, sample, rows["used"])
        if recent is not None:
            _require_enough("holds", windows)
        _require_lags(stream, sample)
        encoder = fit_encoder(
            sample,
            stream.columns | dict.fromkeys(stream.lagged, LAGGED),
            features=stream.with_role("feature"),
            conditions=[*stream.with_role("condition"), *stream.lagged],
            calendar=stream.calendar,
            time_column=None if stream.time is None else stream.time.column,
            window_rows=round(rows["used"] / max(windows, 1.0) / keys),
        )
        say("profiling the reference, and learning how its own windows vary")
        per_window = blocks_per_window(windows)
        drawn = windows_drawn(len(encoder.centre), per_window) / _windows_of_keys(stream, sample)
        cut = Cut(keys, per_window, drawn, between)
        fitted = fit_references(stream, paths, encoder, cut, staging, runner, options)
        series = read_parts(staging / _SERIES)
    if recent is not None and recent.outcomes is not None:
        sample = with_outcomes(stream, sample, recent.outcomes)
        series = None if series is None else with_outcomes(stream, series, recent.outcomes)
    forecasters, ahead = dict[str, Forecaster](), dict[str, AheadForecaster]()
    for spec in stream.forecasts:
        say(f"fitting the forecaster of {spec.target}")
        if spec.ahead is None:
            forecasters[spec.target] = forecaster_of(stream, spec, sample)
        else:
            assert series is not None  # noqa: S101 (there are rows, see `_sample`)
            ahead[spec.target] = ahead_of(stream, spec, series)
    for target in () if recent is None else recent.scored:
        _require_enough(f"has outcomes of {target!r} in", forecasters[target].null.misses.windows)
    history = None
    if series is not None and stream.explain.rows:  # 0: no row of the reference is to be kept
        history = last_rows(stream, ahead.values(), series)
    known = keys if is_pooled(stream) else len(set(fitted.references) - {ALL_KEYS})
    step = reference_step(stream, sample, rows["used"])
    span = _span(stream, sample, rows) | {"keys": known, "step": step}
    baseline = Baseline(
        told,
        encoder,
        fitted.references,
        summary,
        forecasters,
        span,
        results,
        rows=choose_rows(stream, sample, step),
        ahead=ahead,
        history=history,
    )
    notes = _notes(encoder, windows, results, fitted.short)
    return FitReport(save_baseline(baseline, folder, since), rows, windows, notes)


def _sample(
    stream: Stream,
    paths: Sequence[str],
    staging: Path,
    runner: str,
    options: Sequence[str],
    between: tuple[int, int] | None,
) -> tuple[pa.Table, TableSummary, RowCounts]:
    """First pass: a bounded sample, the column summaries, and the row counts.

    With forecasts `ahead`, all rows as well, of the columns that these read.
    """
    first = {} if stream.window.rows is None else first_rows(paths, stream.reference)

    def build(pipeline: beam.Pipeline) -> None:
        read = pipeline | "read" >> ReadBatches(paths, stream.reference, stream, between)
        sample = (
            read["batches"]
            | "positions" >> beam.ParDo(WithPositions(first))
            | "sample" >> beam.CombineGlobally(SampleRows(SAMPLE_ROWS)).without_defaults()
            | "sampled rows" >> beam.Map(lambda sample: sample.table)
        )
        summary = (
            read["batches"]
            | "summarise" >> beam.ParDo(SummariseRows(stream))
            | "merge" >> beam.CombineGlobally(MergeParts(merge)).without_defaults()
            | "as JSON" >> beam.Map(lambda part: pa.table({"json": [part.to_json()]}))
        )
        if ahead_specs(stream):
            _ = (
                read["batches"]
                | "columns of series" >> beam.Map(_columns, history_columns(stream))
                | "keep series" >> WriteParts(staging / _SERIES)
            )
        _ = sample | "keep sample" >> WriteParts(staging / "sample")
        _ = summary | "keep summary" >> WriteParts(staging / "summary")
        _ = read[TALLIES] | "as rows" >> beam.Map(tally_table) | WriteParts(staging / "tallies")

    run_graph(build, runner, options)
    rows = row_counts(read_tallies(staging / "tallies"))
    sample = read_parts(staging / "sample")
    if sample is None:
        message = (
            f"{stream.reference.path}: none of the {rows['in']:,} rows of the reference can be "
            f"used; check the types and ranges in the stream file"
        )
        raise ReferenceDataError(message)
    summary = read_parts(staging / "summary")
    assert summary is not None  # noqa: S101 (where there is a sample there is a summary)
    return sample, TableSummary.from_json(summary["json"][0].as_py()), rows


def _columns(batch: Batch, names: Sequence[str]) -> pa.Table:
    return batch.table.select(names)


def _windows(stream: Stream, sample: pa.Table, rows: int) -> tuple[float, int]:
    """Return how many windows the reference holds (of one key), and how many keys."""
    keys = 1
    if stream.key:
        keys = pl.DataFrame(pl.from_arrow(sample.select(list(stream.key)))).n_unique()
    if stream.window.rows is not None:
        return rows / stream.window.rows, keys
    assert stream.time is not None  # noqa: S101 (windows of a length need it)
    assert stream.window.length_seconds is not None  # noqa: S101
    spans = time_spans(sample[stream.time.column], stream.window.length_seconds)
    return float(len(np.unique(spans))), keys


def _windows_of_keys(stream: Stream, sample: pa.Table) -> int:
    """Return about how many windows the keys have together, from those that the sample meets."""
    about = pl.DataFrame(pl.from_arrow(sample.select(list(stream.key))))
    window = pl.Series("\0window", window_of_rows(stream, sample))
    return about.with_columns(window).n_unique()


def _require_two_windows(stream: Stream, sample: pa.Table, rows: int) -> None:
    length = stream.window.length_seconds
    if stream.window.rows is not None:
        windows, each = rows / stream.window.rows, f"{stream.window.rows:,} rows"
    else:
        assert stream.time is not None  # noqa: S101 (windows of a length need it)
        assert length is not None  # noqa: S101
        times = np.unique(sample[stream.time.column].cast(pa.int64()).to_numpy())
        # the last time stands for a step, too
        seconds = (times[-1] - times[0]) / 1e6 * len(times) / max(1, len(times) - 1)
        windows, each = seconds / length, str(stream.window.length)
    if round(windows, 2) < 2:  # a sample may miss the very ends
        message = (
            f"{stream.reference.path}: the reference holds {windows:.2g} windows of {each}; two "
            f"are the least, and {FEW_WINDOWS} or more are better: give a longer reference or "
            f"shorter windows"
        )
        raise ReferenceDataError(message)


def _require_enough(has: str, windows: float) -> None:
    """Refuse a baseline of recent rows whose windows could not be tested: the old one can."""
    if windows < FEW_WINDOWS:
        message = (
            f"what `refit: on` spans {has} {windows:.0f} windows, and monitors need {FEW_WINDOWS}; "
            f"give a longer one"
        )
        raise ReferenceDataError(message)


def _require_lags(stream: Stream, sample: pa.Table) -> None:
    for name, (feature, lag) in stream.lagged.items():
        if sample[name].null_count == sample.num_rows:
            message = (
                f"lags: no row of the reference has a value of {feature!r} exactly {lag} before "
                f"it; give lags that are whole steps of the rows' times"
            )
            raise ReferenceDataError(message)


def _span(stream: Stream, sample: pa.Table, rows: RowCounts) -> dict[str, Any]:
    start = end = None
    unique = False
    if stream.time is not None:
        ends = pc.min_max(sample[stream.time.column]).as_py()
        start, end = ends["min"].isoformat(), ends["max"].isoformat()
        about = sample.select([*stream.key, stream.time.column])
        unique = pl.DataFrame(about).n_unique() == sample.num_rows
    return {"rows": rows["used"], "start": start, "end": end, "unique_times": unique}


def _notes(
    encoder: Encoder, windows: float, results: Sequence[Mapping[str, Any]], short: Sequence[str]
) -> list[str]:
    notes = [
        f"the reference of key {key} is too short; its windows will not be tested"
        for key in short[:MOST_NAMED]
    ]
    if len(short) > MOST_NAMED:
        notes.append(f"nor will those of {len(short) - MOST_NAMED:,} more keys")
    if short:
        notes.append("`key_baseline: pooled` compares every key with the rows of all keys")
    notes += [
        f"{item['expectation']}: {item['detail']}"
        for item in results
        if item["result"] != "pass" and item["expectation"] != "constant"
    ]
    notes += [
        f"column {coding.name!r} has one value in the reference: "
        f"only a departure from it can be seen"
        for coding in encoder.features
        if coding.kind == "constant"
    ]
    if windows < FEW_WINDOWS:
        notes.append(
            f"the reference holds {windows:.0f} windows; with fewer than {FEW_WINDOWS} the "
            f"false-alarm rate rests on little: give a longer reference when you can"
        )
    return notes
