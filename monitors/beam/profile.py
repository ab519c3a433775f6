"""Profiles and forecasts rows: see `monitors.profiling`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from monitors.baseline_folder import Version
from monitors.profiling import RowProfiler
from schemas.records import Batch, Tally
from schemas.stream import Stream

FORECASTS = "forecasts"
LATE = "late"
TALLIES = "late tallies"
HISTORY = "rows of series"


class ProfileRows(beam.DoFn):
    """Profile the rows of a batch: (`SpanKey`, `SpanPart`) for each key and span.

    The other outputs: the `FORECASTS` of the rows; rows that came too `LATE`, as rejects, and a
    `Tally` of them; with forecasts `ahead`, what is kept of the rows as the `HISTORY` of series.
    """

    def __init__(
        self,
        stream: Stream,
        baselines: str,
        first_rows: Mapping[str, int],
        watermark: int | None = None,
        versions: Sequence[Version] | None = None,
    ) -> None:
        super().__init__()
        self.stream, self.folder, self.first_rows = stream, baselines, dict(first_rows)
        self.watermark, self.versions = watermark, versions

    def setup(self) -> None:
        """Read the baselines."""
        self.profiler = RowProfiler(
            self.stream, Path(self.folder), self.first_rows, self.watermark, self.versions
        )

    def start_bundle(self) -> None:
        """Look for a new baseline."""
        self.profiler.baselines.refresh()

    def process(self, batch: Batch) -> Iterator[Any]:
        """Yield the parts of a batch."""
        found = self.profiler.profile(batch)
        if found.late is not None:
            yield TaggedOutput(LATE, found.late)
            yield TaggedOutput(TALLIES, Tally(batch.path, 0, 0, late=found.late.num_rows))
        if found.history is not None and found.history.num_rows:
            yield TaggedOutput(HISTORY, found.history)
        for forecasts in found.forecasts:
            yield TaggedOutput(FORECASTS, forecasts)
        yield from found.parts
