"""Scores a stream without an end: checked batches in; findings and what led to them out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from monitors.beam.judge import JudgeParts
from monitors.beam.profile import FORECASTS, LATE, TALLIES, ProfileRows
from monitors.forecasting import refuse_unbounded
from schemas.records import Batch
from schemas.stream import Stream


class ScoreWindows(beam.PTransform):
    """Score a stream: the parts of a window are kept by the runner until the watermark passes it.

    The outputs are Arrow tables, `findings`, `forecasts`, `summaries`, `expectations`, `sentinels`,
    `evidence` and `late` (rejects), and the `late tallies` of those.
    """

    def __init__(
        self, stream: Stream, baselines: Path, first_rows: Mapping[str, int] | None = None
    ) -> None:
        """Refuse a stream that only a run folder can serve.

        Raises
        ------
        StreamFileError
            With `outcomes`, `refit`, `calibration: online` or `ahead`.
        """
        super().__init__()
        refuse_unbounded(stream)
        self.stream, self.folder, self.first_rows = stream, str(baselines), dict(first_rows or {})

    def expand(self, batches: PCollection[Batch]) -> Mapping[str, PCollection[Any]]:
        """Apply the transform."""
        profiled = batches | "profile and forecast" >> beam.ParDo(
            ProfileRows(self.stream, self.folder, self.first_rows)
        ).with_outputs(FORECASTS, LATE, TALLIES, main="parts")
        judged = profiled["parts"] | JudgeParts(self.stream, self.folder)
        return {name: profiled[name] for name in (FORECASTS, LATE, TALLIES)} | dict(judged)
