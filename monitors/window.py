"""What is kept of the rows of one window: mergeable parts, small enough to cross a shuffle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitors.distinct import NO_TIMES, DistinctTimes
from monitors.forecast_scores import ForecastScores
from monitors.gram import Profile
from monitors.kept_rows import NO_ROWS, NOTHING, KeptRows
from monitors.marginals.histograms import WIDTH
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
            {
                target: _of(self, target).merge(_of(other, target))
                for target in {**self.scores, **other.scores}
            },
            self.times + other.times,
            self.rows + other.rows,
        )


def scores_alone(scores: Mapping[str, ForecastScores]) -> WindowPart:
    """Return a part of no rows: added to those of a window, it changes the scores alone.

    Its arrays have one row and column of zeros, which broadcast to whatever they are added to.
    """
    nothing = Profile(np.zeros((1, 1)), np.zeros((1, 2), np.int64), np.zeros((1, WIDTH)))
    return WindowPart(nothing, TableSummary({}), scores, rows=NOTHING)


def _of(part: WindowPart, target: str) -> ForecastScores:
    return part.scores.get(target, _NO_SCORES)


_NO_SCORES = ForecastScores()
