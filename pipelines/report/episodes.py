"""The shifts of a run: what moved, from when to when, and how much."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipelines.report.cause_words import MONITORS
from pipelines.report.words import key_label, moment, window_label
from pipelines.run_folder import Run

MOST_EPISODES = 50  # the largest; the table `episodes` of the run holds all


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """One row of the table of shifts."""

    subject: str
    key: str
    monitor: str
    start: str
    end: str
    windows: int
    effect: float | None
    latest: float | None


def episode_rows(run: Run) -> list[EpisodeRow]:
    """Return the shifts in order of their start; of many, those with the most evidence."""
    largest = run.table("episodes").sort("peak", "id", descending=True).head(MOST_EPISODES)
    return [
        EpisodeRow(
            subject=row["subject"],
            key=key_label(row["key"]),
            monitor=MONITORS.get(row["monitor"], row["monitor"]),
            start=_place(row["start"], row["start_index"]),
            end="still open" if row["open"] else _place(row["end"], row["end_index"]),
            windows=row["windows"],
            effect=row["effect"],
            latest=row["latest_effect"],
        )
        for row in largest.sort("start", "start_index", "key", "monitor", "subject").to_dicts()
    ]


def _place(time: datetime | None, index: int | None) -> str:
    return window_label(None, None, index) if time is None else moment(time)
