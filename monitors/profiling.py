"""Checked rows in; mergeable window parts, and the forecasts of the rows, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.ahead import ahead_specs, history_columns
from monitors.baseline import Baseline
from monitors.baseline_folder import Baselines, Version
from monitors.distinct import NO_TIMES, distinct_times
from monitors.forecast_scores import ForecastScores
from monitors.forecasting import forecast_rows, scored_later
from monitors.gram import profile_blocks
from monitors.kept_rows import STEPS_PER_RUN, keep_rows, kept_columns, places_of, rows_of_a_window
from monitors.marginals.histograms import Bins, watched_bins
from monitors.summary import summarise_groups
from monitors.verification import issued
from monitors.window import WindowPart
from schemas.kafka import Topic
from schemas.records import Batch
from schemas.stream import Stream
from transforms.contract import ROW
from transforms.lateness import late_rows, lateness
from transforms.messages import placed
from transforms.windows import gather, places, row_spans, time_spans

#: What the rows of one part have in common: the key as JSON, the number of their span of time
#: (`every` of the window) or of rows, and the id of the baseline they are profiled for.
SpanKey: TypeAlias = tuple[str, int, str]
#: The least event time of some rows in µs since 1970 (0 where there is none), and their part.
SpanPart: TypeAlias = tuple[int, WindowPart]


@dataclass(slots=True)
class Profiled:
    """What one batch of rows gives."""

    parts: list[tuple[SpanKey, SpanPart]] = field(default_factory=list)
    #: schema FORECAST, or `verification.ISSUED` where they are scored later
    forecasts: list[pa.Table] = field(default_factory=list)
    late: pa.Table | None = None  #: rows that came too late, schema REJECT
    history: pa.Table | None = None  #: of `ahead.history_columns` and `ROW`, where it is forecast


class RowProfiler:
    """Profiles batches of rows against the baselines of a folder."""

    def __init__(
        self,
        stream: Stream,
        baselines: Path,
        first_rows: Mapping[str, int],
        watermark: int | None = None,
        versions: Sequence[Version] | None = None,
    ) -> None:
        """Read which baselines there are, unless that is given.

        Parameters
        ----------
        first_rows : position in the whole source of each file's first row; windows of rows need it.
        watermark : of the whole stream before all batches, in µs since 1970.
        """
        self.stream, self.first_rows = stream, first_rows
        self.watermark, self.lateness = watermark, lateness(stream)
        self.baselines, self.later = Baselines(baselines, versions), scored_later(stream)
        self._bins: dict[str, Bins | None] = {}
        self._history = [*history_columns(stream), ROW] if ahead_specs(stream) else []

    def profile(self, batch: Batch) -> Profiled:
        """Profile the rows of a batch."""
        stream, found = self.stream, Profiled()
        if self.lateness is None:
            assert stream.window.rows is not None  # noqa: S101 (windows have a length or a count)
            spans = row_spans(batch.table, self.first_rows[batch.path], stream.window.rows)
            self._profile(found, self.baselines.at(None), batch, spans)
            return found
        assert stream.time is not None  # noqa: S101 (windows of a length need it)
        times = batch.table[stream.time.column].cast(pa.int64()).to_numpy()
        late = self.lateness.late(
            times, self.watermark, batch.latest, ordered=isinstance(stream.source, Topic)
        )
        if late.any():
            found.late = late_rows(batch, late, stream.name)
            batch = Batch(batch.table.filter(pa.array(~late)), batch.path, batch.first_row)
        if self._history:
            found.history = batch.table.select(self._history)
        if batch.table.num_rows:
            spans = time_spans(batch.table[stream.time.column], self.lateness.every / 1e6)
            for baseline in self._baselines_of(spans):
                self._profile(found, baseline, batch, spans)
        if isinstance(stream.source, Topic):
            found.late = None if found.late is None else placed(found.late)
            found.forecasts = [placed(table) for table in found.forecasts]
        return found

    def _baselines_of(self, spans: NDArray[np.int64]) -> Iterator[Baseline]:
        """Yield the baselines of the windows that hold some spans."""
        assert self.lateness is not None  # noqa: S101 (spans of time)
        # windows that begin up to a length before a span hold it, perhaps under another baseline
        starts = np.unique(spans) * self.lateness.every
        back = self.lateness.length - self.lateness.every
        within = range(-back, 1, self.lateness.every)
        ids = {self.baselines.id_at(int(start) + at) for start in starts for at in within}
        return (self.baselines.load(identity) for identity in sorted(ids))

    def _profile(
        self, found: Profiled, baseline: Baseline, batch: Batch, spans: NDArray[np.int64]
    ) -> None:
        stream = self.stream
        table, groups = gather(batch.table, stream.key, spans)
        sizes = [group.stop - group.start for group in groups]
        if baseline.id not in self._bins:
            self._bins[baseline.id] = watched_bins(baseline.encoder, stream)
        bins = self._bins[baseline.id]
        profiles = profile_blocks(baseline.encoder, table, places(groups), bins)
        summaries = summarise_groups(table, stream.columns, sizes, baseline.encoder.known_values)
        kept = keep_rows(
            table.select(kept_columns(stream)),
            places_of(stream, table, self.first_rows.get(batch.path, 0)),
            sizes,
            rows_of_a_window(stream, baseline.keys),
            STEPS_PER_RUN * baseline.step,
        )
        whole = zip(groups, profiles.values(), summaries, kept, strict=True)
        for group, own, summary, some in whole:
            rows = table.slice(group.start, group.stop - group.start)
            scores = {}
            for target in baseline.forecasters:
                forecasts, scores[target] = forecast_rows(
                    baseline, stream, target, rows, group.key, batch.path
                )
                if self.later:
                    scores[target] = ForecastScores()
                    forecasts = issued(forecasts, group.span, baseline.id)
                found.forecasts.append(forecasts)
            times, first = NO_TIMES, 0
            if stream.time is not None:
                column = rows[stream.time.column]
                times, first = distinct_times(column), int(column.cast(pa.int64()).to_numpy().min())
            part = WindowPart(own, summary, scores, times, some)
            found.parts.append(((group.key, group.span, baseline.id), (first, part)))
