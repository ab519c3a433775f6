"""The second pass of `tidegauge fit`: from the rows of the reference to the references of the keys.

All work that grows with the number of keys is done in the graph, a key at a time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import pyarrow as pa

from monitors.baseline import shift_method
from monitors.beam.merge import MergeParts
from monitors.beam.reference import ALL, TOO_SHORT, FitReferences, ProfileBlocks
from monitors.encoder import Encoder
from monitors.pooling import POOL, is_pooled
from monitors.reference_store import StoredReferences, staged_references
from monitors.rollup import ALL_KEYS
from pipelines.files import write_text
from pipelines.runners import run_graph
from pipelines.sinks import WriteParts, read_parts
from pipelines.sources import first_rows
from schemas.errors import ReferenceDataError
from schemas.stream import Stream
from transforms.beam import ReadBatches


@dataclass(frozen=True, slots=True)
class Cut:
    """How the rows of the reference are cut."""

    keys: int
    per_window: int  #: blocks per window
    drawn: float  #: share of the windows that the pool holds, where keys share one reference
    between: tuple[int, int] | None = None  #: event times in µs since 1970; None: all


@dataclass(frozen=True, slots=True)
class FittedReferences:
    """The references, and the keys that have none."""

    references: StoredReferences
    short: Sequence[str]  #: keys whose own reference is too short


def fit_references(
    stream: Stream,
    paths: Sequence[str],
    encoder: Encoder,
    cut: Cut,
    staging: Path,
    runner: str,
    options: Sequence[str],
) -> FittedReferences:
    """Profile the blocks of the reference, and learn how the windows of each key vary.

    Raises
    ------
    ReferenceDataError
        When the reference of every key is too short.
    """
    first = {} if stream.window.rows is None else first_rows(paths, stream.reference)
    file = staging / "encoder.json"
    write_text(file, json.dumps(encoder.to_json()))
    method = shift_method(stream)

    def build(pipeline: beam.Pipeline) -> None:
        read = pipeline | "read" >> ReadBatches(paths, stream.reference, stream, cut.between)
        blocks = read["batches"] | "profile" >> beam.ParDo(
            ProfileBlocks(file, stream, cut.per_window, cut.drawn, first)
        ).with_outputs(ALL, main="blocks")
        by_key = blocks["blocks"] | "merge" >> beam.CombinePerKey(MergeParts())
        if is_pooled(stream):
            named = by_key | "pool" >> beam.GroupBy(lambda _: POOL)
        else:
            named = by_key | "alone" >> beam.Map(lambda own: (own[0], [own]))
        marginals = stream.monitors.histograms
        fit = FitReferences(file, method, cut.per_window, marginals)
        fitted = named | "fit" >> beam.ParDo(fit).with_outputs(ALL, TOO_SHORT, main="references")
        tables = [fitted["references"]]
        if cut.keys > 1:
            together = blocks[ALL] if is_pooled(stream) else fitted[ALL]
            rolled = (
                together
                | "merge keys" >> beam.CombineGlobally(MergeParts()).without_defaults()
                | "all keys" >> beam.Map(lambda merged: (ALL_KEYS, [(ALL_KEYS, merged)]))
                | "fit all keys" >> beam.ParDo(fit).with_outputs(ALL, TOO_SHORT, main="references")
            )
            tables.append(rolled["references"])
        _ = tables | beam.Flatten() | "keep" >> WriteParts(staging / "references")
        short = fitted[TOO_SHORT] | "as rows" >> beam.MapTuple(
            lambda key, reason: pa.table({"key": [key], "reason": [reason]})
        )
        _ = short | "keep short" >> WriteParts(staging / "short")

    run_graph(build, runner, options)
    short = read_parts(staging / "short")
    table = read_parts(staging / "references")
    reasons = [] if short is None else sorted(zip(*short.to_pydict().values(), strict=True))
    if table is None:
        message = reasons[0][1]
        raise ReferenceDataError(message)
    return FittedReferences(
        staged_references(table, encoder, method, cut.per_window), [key for key, _ in reasons]
    )
