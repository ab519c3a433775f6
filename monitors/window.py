"""What is kept of the rows of one window: mergeable parts, small enough to cross a shuffle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from monitors.distinct import NO_TIMES, DistinctTimes
from monitors.forecast_scores import ForecastScores
from monitors.gram import Profile
from monitors.kept_rows import NO_ROWS, KeptRows
from monitors.summary import TableSummary, merge


@dataclass(frozen=True, slots=True)
class WindowPart:
    """The mergeable profile of some rows: Gram matrix, column summaries, scores, some rows."""

    profile: Profile
    summary: TableSummary
    scores: Mapping[str, ForecastScores]  #: by target
    times: DistinctTimes = NO_TIMES  #: none where the stream has no event time
    rows: KeptRows = NO_ROWS  #: for the explanation of findings

    def __add__(self, other: WindowPart) -> WindowPart:
        """Merge two parts."""
        return WindowPart(
            self.profile + other.profile,
            merge(self.summary, other.summary),
            {target: score.merge(other.scores[target]) for target, score in self.scores.items()},
            self.times + other.times,
            self.rows + other.rows,
        )
