"""The strongest alarms of the latest window in words, as series that an alert's annotation reads.

A sentence in a label makes a new series of every alarm. There are few at a time, their labels are
bounded, and they go with the window that they are about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import polars as pl

from monitors.catalogue import TOP_ALARMS
from monitors.explain.sentences import beginning
from monitors.findings_tally import FindingsView

LONGEST = 240  # characters of a label


def alarm_series(
    found: FindingsView, monitors: Sequence[str], pages: str
) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """Yield name, labels (all but the stream) and value of each of the series.

    Parameters
    ----------
    monitors : those of causes before those of consequences; others come last.
    pages : address of the pages of findings, up to their id; empty where none are served.
    """
    strength = (pl.col("statistic") / pl.col("threshold")).fill_null(0.0)
    order = {name: place for place, name in enumerate(monitors)}
    alarms = (
        found.latest.filter("alarm")
        .with_columns(strength=strength)
        .sort("strength", "key", "subject", "id", descending=[True, False, False, False])
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("monitor"))
        .filter(pl.col("rank") <= TOP_ALARMS)
    )
    rows = sorted(
        alarms.iter_rows(named=True),
        key=lambda row: (row["rank"], order.get(row["monitor"], len(order)), row["monitor"]),
    )
    for row in rows[:TOP_ALARMS]:
        labels = (
            row["monitor"],
            str(row["rank"]),
            "" if row["key"] == "{}" else row["key"],
            row["subject"],
            row["kind"] or "",
            _minutes(row["since"]),
            row["id"],
            _clause(row["subject"], row["explanation"], row["since"]),
            f"{pages}{row['id']}" if pages else "",
        )
        yield "alarm_info", tuple(_bounded(label) for label in labels), 1.0


def _minutes(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"


def _clause(subject: str, explanation: str, since: datetime | None) -> str:
    """Return an explanation as it follows the subject's name; its time is a label of its own."""
    text = explanation.removeprefix(f"{subject} ").removesuffix(".")
    return text if since is None else text.removesuffix(beginning(since))


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
