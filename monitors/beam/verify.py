"""Calibrates forecasts and joins them with their outcomes: see `monitors.verification`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
from apache_beam.pvalue import PCollection, TaggedOutput

from monitors.baseline_folder import Baselines, Version
from monitors.profiling import SpanKey, SpanPart
from monitors.verification import (
    ARRIVED,
    AWAITING,
    CALIBRATORS,
    ISSUED,
    Verified,
    calibrator_table,
    verify,
)
from monitors.window import scores_alone
from schemas.duration import parse_duration
from schemas.forecasts import Outcomes
from schemas.records import Batch, Tally
from schemas.stream import Stream
from transforms.beam import REJECTS, TALLIES
from transforms.calibrate.online import OnlineCalibrator
from transforms.calibrate.rules import restore, start
from transforms.contract import ROW
from transforms.lateness import rejects_of
from transforms.windows import gather

Series: TypeAlias = tuple[str, str]  #: a key as JSON, and a target
Named: TypeAlias = tuple[str, pa.Table]  #: which table, and some rows of it

FRESH, AWAIT, ARRIVE, STATES = "fresh", "awaiting", "arrived", "calibrators"
PARTS, TOLD, COUNTS, NULLS = "parts", "outcomes", "counts", "nulls"
_SCHEMAS = {FRESH: ISSUED, AWAIT: AWAITING, ARRIVE: ARRIVED, STATES: CALIBRATORS}


class ReadOutcomes(beam.DoFn):
    """Turn checked rows of outcomes into tables of schema ARRIVED, named `ARRIVE`.

    The other outputs: `REJECTS`, the rows whose outcome became known too late, `TALLIES`, and
    `NULLS`, counts of values that are null.
    """

    def __init__(self, stream: Stream, outcomes: Outcomes) -> None:
        super().__init__()
        assert stream.time is not None  # noqa: S101 (the stream file was checked)
        self.name, self.key, self.time = stream.name, stream.key, stream.time.column
        self.targets = [spec.target for spec in stream.forecasts]
        self.known_at = outcomes.known_at or self.time
        self.within, self.asked = parse_duration(outcomes.within), outcomes.within

    def process(self, batch: Batch) -> Iterator[Any]:
        """Yield the outcomes of a batch."""
        times, known = (batch.table[name].cast(pa.int64()) for name in (self.time, self.known_at))
        late = known.to_numpy() - times.to_numpy() > self.within * 1e6
        if late.any():
            detail = f"became known more than {self.asked} after its event time: see `within`"
            yield TaggedOutput(REJECTS, rejects_of(batch, late, self.name, "late_outcome", detail))
            yield TaggedOutput(TALLIES, Tally(batch.path, 0, rejected=int(late.sum())))
        table, groups = gather(
            batch.table.filter(pa.array(~late)), self.key, np.zeros((~late).sum(), np.int64)
        )
        sizes = [group.stop - group.start for group in groups]
        keys = np.repeat(np.array([group.key for group in groups], dtype=object), sizes)
        for target in self.targets:
            found = pa.table(
                {
                    "key": pa.array(keys, pa.string()),
                    "target": pa.repeat(pa.scalar(target), table.num_rows),
                    "valid_time": table[self.time],
                    "outcome": table[target].cast(pa.float64()),
                    "known_at": table[self.known_at],
                    "path": pa.repeat(pa.scalar(batch.path), table.num_rows),
                    "row": table[ROW],
                }
            ).cast(ARRIVED)
            if empty := found["outcome"].null_count:
                yield TaggedOutput(NULLS, pa.table({"null": [empty]}))
                found = found.filter(found["outcome"].is_valid())
            if found.num_rows:
                yield ARRIVE, found


class VerifyForecasts(beam.PTransform):
    """Bring the forecasts, outcomes and calibrators of each key and target together.

    The input: tables with their names, `FRESH` (schema ISSUED), `AWAIT` (AWAITING), `ARRIVE`
    (ARRIVED) and `STATES` (CALIBRATORS). The outputs: the forecasts as they are issued (the main
    one), what remains of the other three, `TOLD` (schema OUTCOME), `PARTS` (`SpanKey`, `SpanPart`)
    with what scores gain, and `COUNTS` of outcomes, used and repeated.
    """

    def __init__(self, stream: Stream, baselines: str, versions: Sequence[Version]) -> None:
        super().__init__()
        self.stream, self.folder, self.versions = stream, baselines, versions

    def expand(self, tables: PCollection[Named]) -> Any:
        """Apply the transform."""
        return (
            tables
            | "by series" >> beam.FlatMapTuple(by_series).with_output_types(tuple[Series, Named])
            | "bring together" >> beam.GroupByKey()
            | "verify"
            >> beam.ParDo(_Verify(self.stream, self.folder, self.versions)).with_outputs(
                AWAIT, ARRIVE, STATES, TOLD, PARTS, COUNTS, main="forecasts"
            )
        )


def by_series(name: str, table: pa.Table) -> Iterator[tuple[Series, Named]]:
    """Yield the rows of each key and target."""
    frame = pl.from_arrow(table.replace_schema_metadata(None))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 (a table gives a frame)
    for (key, target), own in frame.partition_by(
        "key", "target", as_dict=True, maintain_order=True
    ).items():
        yield (key, target), (name, own.to_arrow().cast(_SCHEMAS[name]))


class _Verify(beam.DoFn):
    def __init__(self, stream: Stream, baselines: str, versions: Sequence[Version]) -> None:
        super().__init__()
        self.stream, self.folder, self.versions = stream, baselines, versions
        self.specs = {spec.target: spec for spec in stream.forecasts}

    def setup(self) -> None:
        self.baselines = Baselines(Path(self.folder), self.versions)

    def process(self, element: tuple[Series, Iterable[Named]]) -> Iterator[pa.Table | TaggedOutput]:
        (key, target), given = element[0], list(element[1])
        tables = {
            name: pa.concat_tables([schema.empty_table(), *(t for n, t in given if n == name)])
            for name, schema in _SCHEMAS.items()
        }
        if not tables[FRESH].num_rows and not tables[ARRIVE].num_rows:
            yield from _tagged({AWAIT: tables[AWAIT], STATES: tables[STATES]})
            return
        states = {row["baseline_id"]: row["state"] for row in tables[STATES].to_pylist()}
        own: dict[str, OnlineCalibrator] = {}

        def calibrator(baseline_id: str) -> OnlineCalibrator:
            own[baseline_id] = self._calibrator(key, target, baseline_id, states.get(baseline_id))
            return own[baseline_id]

        wait = self.stream.outcomes is not None or self.specs[target].ahead is not None
        found = verify(
            self.specs[target],
            tables[AWAIT],
            tables[FRESH],
            tables[ARRIVE],
            calibrator,
            wait=wait,
        )
        if found.forecasts.num_rows:
            yield found.forecasts
        unused = [identity not in own for identity in tables[STATES]["baseline_id"].to_pylist()]
        kept = [calibrator_table(key, target, *one) for one in own.items()]
        states_now = pa.concat_tables([tables[STATES].filter(pa.array(unused, pa.bool_())), *kept])
        yield from _tagged(
            {
                AWAIT: found.awaiting,
                ARRIVE: found.unmatched,
                STATES: states_now,
                TOLD: found.outcomes,
                COUNTS: pa.table({"used": [found.used], "repeated": [found.repeated]}),
            }
        )
        for about, part in _parts(key, target, found):
            yield TaggedOutput(PARTS, (about, part))

    def _calibrator(
        self, key: str, target: str, baseline_id: str, state: str | None
    ) -> OnlineCalibrator:
        """Return the calibrator of a series, as it was left, or as the reference leaves it."""
        if state is not None:
            return restore(json.loads(state))
        learnt = self.baselines.load(baseline_id).forecasters[target].online.get(key)
        if learnt is not None:
            return restore(learnt)
        return start(self.specs[target].interval)


def _tagged(tables: Mapping[str, pa.Table]) -> Iterator[TaggedOutput]:
    for name, table in tables.items():
        if table.num_rows:
            yield TaggedOutput(name, table)


def _parts(key: str, target: str, found: Verified) -> Iterator[tuple[SpanKey, SpanPart]]:
    for span, baseline_id, first, gain in found.scores:
        yield (key, span, baseline_id), (first, scores_alone({target: gain}))
