"""The first graph of a tick: new rows and outcomes in; profiles of spans and forecasts out.

With forecasts `ahead`, these are issued when the rows are there: outcomes are joined in a graph of
its own then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection

from monitors.ahead import ahead_specs
from monitors.baseline_folder import Version
from monitors.beam.merge import MergeParts
from monitors.beam.profile import FORECASTS, HISTORY, LATE, ProfileRows
from monitors.beam.profile import TALLIES as LATE_TALLIES
from monitors.beam.verify import (
    ARRIVE,
    AWAIT,
    COUNTS,
    FRESH,
    NULLS,
    PARTS,
    STATES,
    TOLD,
    Named,
    ReadOutcomes,
    VerifyForecasts,
)
from monitors.forecasting import scored_later
from monitors.profiling import SpanKey, SpanPart
from pipelines.late_outcomes import OUTCOME_TALLIES, outcome_stream
from pipelines.progress import Intake
from pipelines.sources import tally_table
from pipelines.window_state import SPANS, MergeSpans, span_table
from schemas.stream import Stream
from transforms.beam import REJECTS, TALLIES, ReadBatches

Tables = PCollection[pa.Table]
NEW_OUTCOMES = "new outcomes"  # a folder, of tables of schema ARRIVED


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What a tick takes in."""

    rows: Intake | None  #: None: none
    watermark: int | None  #: before them, in µs since 1970
    outcomes: Sequence[str]  #: files
    kept: Mapping[str, Sequence[Path]]  #: of earlier ticks; see `late_outcomes`


@dataclass(slots=True)
class _Found:
    """Collections that are put together."""

    parts: list[PCollection[tuple[SpanKey, SpanPart]]] = field(default_factory=list)
    rejects: list[Tables] = field(default_factory=list)
    tables: dict[str, Tables] = field(default_factory=dict)  #: by the name of their folder


def take_in(
    pipeline: beam.Pipeline,
    stream: Stream,
    baselines: str,
    versions: Sequence[Version],
    arrivals: Arrivals,
) -> Mapping[str, Tables]:
    """Build the graph, and return its tables by the name of their folder."""
    found = _Found()
    if arrivals.rows is not None and not arrivals.rows.empty:
        _profile(pipeline, stream, baselines, versions, arrivals, arrivals.rows, found)
    arrived = _read_outcomes(pipeline, stream, arrivals, found)
    if ahead_specs(stream):
        if FORECASTS in found.tables:
            found.tables[FRESH] = found.tables.pop(FORECASTS)
        if arrived is not None:
            found.tables[NEW_OUTCOMES] = arrived | "their tables" >> beam.Values()
    elif scored_later(stream):
        kept = [(name, str(path)) for name, paths in arrivals.kept.items() for path in paths]
        tables = [pipeline | "kept" >> beam.Create(kept) | "read kept" >> beam.MapTuple(_read)]
        if FORECASTS in found.tables:
            tables.append(found.tables[FORECASTS] | "fresh" >> beam.Map(lambda own: (FRESH, own)))
        if arrived is not None:
            tables.append(arrived)
        together = tables | "all tables" >> beam.Flatten()
        _verify(together, stream, baselines, versions, found)
    if found.rejects:
        found.tables[REJECTS] = found.rejects | "all rejects" >> beam.Flatten()
    if found.parts:
        found.tables[SPANS] = _spans(found)
    return found.tables


def join_outcomes(
    pipeline: beam.Pipeline,
    stream: Stream,
    baselines: str,
    versions: Sequence[Version],
    files: Sequence[tuple[str, Path]],
) -> Mapping[str, Tables]:
    """Build the graph that joins forecasts and outcomes, and return its tables by their folder.

    Parameters
    ----------
    files : of named tables, as `VerifyForecasts` takes them.
    """
    found = _Found()
    named = [(name, str(path)) for name, path in files]
    tables = pipeline | "files" >> beam.Create(named) | "read" >> beam.MapTuple(_read)
    _verify(tables, stream, baselines, versions, found)
    return {**found.tables, SPANS: _spans(found)}


def _spans(found: _Found) -> Tables:
    spans: Tables = (
        found.parts
        | "all parts" >> beam.Flatten()
        | "typed" >> beam.Map(lambda part: part).with_output_types(tuple[SpanKey, SpanPart])
        | "merge" >> beam.CombinePerKey(MergeSpans())
        | "as rows" >> beam.Map(span_table)
    )
    return spans


def _profile(
    pipeline: beam.Pipeline,
    stream: Stream,
    baselines: str,
    versions: Sequence[Version],
    arrivals: Arrivals,
    source: Intake,
    found: _Found,
) -> None:
    """New rows to profiles of spans, forecasts, rejects and tallies."""
    read = pipeline | "read" >> source.read()
    rows = ProfileRows(stream, baselines, source.first_rows, arrivals.watermark, versions)
    profiled = read["batches"] | "profile and forecast" >> beam.ParDo(rows).with_outputs(
        FORECASTS, HISTORY, LATE, LATE_TALLIES, main="parts"
    )
    if ahead_specs(stream):
        found.tables[HISTORY] = profiled[HISTORY]
    found.parts.append(profiled["parts"])
    found.rejects += [read[REJECTS], profiled[LATE]]
    found.tables[FORECASTS] = profiled[FORECASTS]
    found.tables[TALLIES] = _by_path("rows", [read[TALLIES], profiled[LATE_TALLIES]])


def _read_outcomes(
    pipeline: beam.Pipeline, stream: Stream, arrivals: Arrivals, found: _Found
) -> PCollection[Named] | None:
    """Outcomes that come by themselves to tables of them, rejects and tallies; None without any."""
    if stream.outcomes is None or not arrivals.outcomes:
        return None
    checked = outcome_stream(stream)
    read = pipeline | "read outcomes" >> ReadBatches(arrivals.outcomes, stream.outcomes, checked)
    new = read["batches"] | "outcomes" >> beam.ParDo(
        ReadOutcomes(stream, stream.outcomes)
    ).with_outputs(REJECTS, TALLIES, NULLS, main="arrived")
    found.rejects += [read[REJECTS], new[REJECTS]]
    found.tables[NULLS] = new[NULLS]
    found.tables[OUTCOME_TALLIES] = _by_path("outcomes", [read[TALLIES], new[TALLIES]])
    arrived: PCollection[Named] = new["arrived"]
    return arrived


def _verify(
    tables: PCollection[Named],
    stream: Stream,
    baselines: str,
    versions: Sequence[Version],
    found: _Found,
) -> None:
    """Forecasts and outcomes to what scores gain by them."""
    verified = tables | "join outcomes" >> VerifyForecasts(stream, baselines, versions)
    found.parts.append(verified[PARTS])
    found.tables |= {name: verified[name] for name in (AWAIT, ARRIVE, STATES, TOLD, COUNTS)}
    found.tables[FORECASTS] = verified["forecasts"]


def _read(name: str, path: str) -> tuple[str, pa.Table]:
    return name, pq.read_table(path)


def _by_path(what: str, tallies: Sequence[Tables]) -> Tables:
    """Return one tally of each file, as a table."""
    added: Tables = (
        tallies
        | f"all tallies of {what}" >> beam.Flatten()
        | f"{what} by path" >> beam.Map(lambda tally: (tally.path, tally))
        | f"add up {what}" >> beam.CombinePerKey(MergeParts())
        | f"tallies of {what} as rows" >> beam.MapTuple(lambda _, tally: tally_table(tally))
    )
    return added
