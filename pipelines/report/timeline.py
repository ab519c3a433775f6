"""The windows of a run in order, as the time axis that all figures share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import polars as pl

from pipelines.report.words import NBSP, tick, window_label

Bounds: TypeAlias = tuple[datetime | None, datetime | None, int | None]

COLUMNS = ("window_start", "window_end", "window_index")


@dataclass(frozen=True, slots=True)
class Timeline:
    """The windows of all keys, in order."""

    windows: tuple[Bounds, ...]

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def in_time(self) -> bool:
        """Whether the windows are spans of event time."""
        return bool(self.windows) and self.windows[0][0] is not None

    @property
    def noun(self) -> str:
        """What the axis shows."""
        return "start of the window (UTC)" if self.in_time else "window, counted in rows"

    def positions(self) -> dict[Bounds, int]:
        """Return the place of each window on the axis, from 0."""
        return {window: place for place, window in enumerate(self.windows)}

    def label(self, place: int) -> str:
        """Return the name of the window at a place."""
        return window_label(*self.windows[place])

    def ticks(self, most: int, stride: int = 1) -> tuple[list[int], list[str]]:
        """Return at most so many places with labels; `stride` windows share a place."""
        places = range(0, len(self.windows), stride)
        step = -(-len(places) // most)
        shown = list(places)[:: max(1, step)]
        labels: list[str] = []
        previous: datetime | None = None
        for place in shown:
            start, _, index = self.windows[place]
            labels.append(tick(start, previous) if start else f"{NBSP}{index or 0:,}")
            previous = start
        return [place // stride for place in shown], labels


def timeline(tables: Iterable[pl.DataFrame]) -> Timeline:
    """Collect the windows that any of the tables names."""
    parts = [table.select(COLUMNS) for table in tables]
    frame = pl.concat(parts).unique().sort(COLUMNS, nulls_last=True)
    return Timeline(tuple(frame.iter_rows()))
