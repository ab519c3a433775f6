"""`tidegauge fit`: the reference in, a baseline out; two passes over its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from monitors.attribute.attribution_findings import check_attributions, watched_features
from monitors.attribute.feature_attributions import attribution_null
from monitors.baseline import Baseline, Forecaster
from monitors.baseline_folder import save_baseline
from monitors.beam.merge import MergeParts, SummariseRows
from monitors.encoder import Encoder, fit_encoder
from monitors.expectations import gate, validate_reference
from monitors.feature_shift.reference import blocks_per_window
from monitors.forecast_scores import ForecastScores, score, score_null
from monitors.judge import SEED
from monitors.pooling import is_pooled, windows_drawn
from monitors.reference_rows import choose_rows, reference_step
from monitors.rollup import ALL_KEYS
from monitors.summary import TableSummary, merge
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
from schemas.forecasts import ForecastSpec
from schemas.stream import Stream
from transforms.beam import TALLIES, ReadBatches, SampleRows, WithPositions
from transforms.calibrate.cqr import calibrate
from transforms.forecast.frame import forecast_features, forecast_frame, interval_columns
from transforms.forecast.select import fit_forecaster
from transforms.lags import LAGGED
from transforms.windows import row_spans, time_spans

SAMPLE_ROWS = (
    100_000  # the basis and the forecasters are fitted on them; all rows go into the profile
)
FOLDS = 5
FEW_WINDOWS = 8
MOST_NAMED = 3  # keys whose reference is too short


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
    say: Callable[[str], None] = lambda _: None,
) -> FitReport:
    """Fit the baseline of a stream and make it the current one of a folder.

    Parameters
    ----------
    since : windows that begin then or later are judged by it; None: all of them.

    Raises
    ------
    SourceError, ReferenceDataError, OutputError
        Before anything is written.
    """
    if since is not None and stream.window.rows is not None:
        message = "--since: windows counted in rows have no time from which a baseline could count"
        raise StreamFileError(message)
    check_attributions(stream)
    paths = source_files(stream.reference)
    check_files(paths, stream.reference, stream)
    with staging_folder(folder) as staging:
        say("reading the reference")
        sample, summary, rows = _sample(stream, paths, staging, runner, options)
        results: list[dict[str, Any]] = []
        if stream.monitors.expectations:
            say("checking what is expected of the reference")
            results = validate_reference(sample, summary, stream)
            gate(results)
        windows, keys = _windows(stream, sample, rows["used"])
        _require_two_windows(stream, sample, rows["used"])
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
        cut = Cut(keys, per_window, drawn)
        fitted = fit_references(stream, paths, encoder, cut, staging, runner, options)
    forecasters = {}
    for spec in stream.forecasts:
        say(f"fitting the forecaster of {spec.target}")
        forecasters[spec.target] = _forecaster(stream, spec, sample)
    known = keys if is_pooled(stream) else len(set(fitted.references) - {ALL_KEYS})
    step = reference_step(stream, sample, rows["used"])
    span = _span(stream, sample, rows) | {"keys": known, "step": step}
    baseline = Baseline(
        stream,
        encoder,
        fitted.references,
        summary,
        forecasters,
        span,
        results,
        rows=choose_rows(stream, sample, step),
    )
    notes = _notes(encoder, windows, results, fitted.short)
    return FitReport(save_baseline(baseline, folder, since), rows, windows, notes)


def _sample(
    stream: Stream, paths: Sequence[str], staging: Path, runner: str, options: Sequence[str]
) -> tuple[pa.Table, TableSummary, RowCounts]:
    """First pass: a bounded sample, the column summaries, and the row counts."""
    first = {} if stream.window.rows is None else first_rows(paths, stream.reference)

    def build(pipeline: beam.Pipeline) -> None:
        read = pipeline | "read" >> ReadBatches(paths, stream.reference, stream)
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
    window = pl.Series("\0window", _window_of_rows(stream, sample))
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


def _forecaster(stream: Stream, spec: ForecastSpec, sample: pa.Table) -> Forecaster:
    """Fit, calibrate and score one forecaster; folds and scores are by window."""
    windows = _window_of_rows(stream, sample)
    numbers = np.unique(windows, return_inverse=True)[1]
    folds = (numbers * FOLDS // (numbers.max() + 1)).astype(np.int64)
    frame = forecast_frame(sample, stream, spec)
    fitted = fit_forecaster(
        frame, spec.target, forecast_features(stream, spec), spec.levels, folds, SEED
    )
    low, high = interval_columns(spec)
    held_out = fitted.out_of_fold
    outcome = frame[spec.target].cast(pl.Float64).to_numpy()
    conformal = calibrate(held_out[:, low], held_out[:, high], outcome, spec.interval)
    lower, upper = conformal.apply(held_out[:, low], held_out[:, high])
    scores: list[ForecastScores] = []
    for number in np.unique(numbers):
        own = numbers == number
        scores.append(score(held_out[own], lower[own], upper[own], outcome[own], spec.levels))
    known = None
    if stream.monitors.attributions:
        names = watched_features(stream, spec)
        known = attribution_null(fitted, frame, _windows_by_key(stream, sample), names)
    null = score_null(scores, spec.interval)
    return Forecaster(fitted, conformal, null, fitted.model_id, known)


def _windows_by_key(stream: Stream, sample: pa.Table) -> np.ndarray:
    """Return for each row the number of its window of its key."""
    about = pl.DataFrame(pl.from_arrow(sample.select(list(stream.key))))
    window = pl.Series("\0window", _window_of_rows(stream, sample))
    number = about.with_columns(window).select(pl.struct(pl.all()).rank("dense"))
    return number.to_series().to_numpy().astype(np.int64)


def _window_of_rows(stream: Stream, sample: pa.Table) -> np.ndarray:
    if stream.window.length_seconds is not None and stream.time is not None:
        return time_spans(sample[stream.time.column], stream.window.length_seconds)
    assert stream.window.rows is not None  # noqa: S101 (windows have a length or a count)
    return row_spans(sample, 0, stream.window.rows)
