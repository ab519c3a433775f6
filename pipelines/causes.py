"""The causes of a run's findings: opens what is kept of their windows, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from monitors.baseline import Baseline
from monitors.budget import FORECAST_MONITORS
from monitors.cause.explain_window import NO_PART, OF_ALL_KEYS, explain_window
from monitors.cause.record import Cause
from monitors.rollup import ALL_KEYS
from monitors.window import WindowPart
from pipelines.run_folder import Run, scan_parts
from schemas.errors import OutputError, TidegaugeError, did_you_mean
from schemas.records import FINDING, Finding

_TYPES = pl.DataFrame(FINDING.empty_table()).schema
_WINDOW = ("key", "window_start", "window_end", "window_index")


class Causes:
    """Puts causes together, one at a time; what several of them need is read once.

    Of the findings only those asked for are held: a stream that was followed for a year has many.

    Raises
    ------
    OutputError
        From any method, when a part of the run is damaged.
    """

    def __init__(self, run: Run, baseline: Path | None = None) -> None:
        """Take a run, and the folder of its baselines unless that is where it was."""
        self.run, self._folder = run, baseline
        self._shifts = run.table("episodes").to_dicts()
        self._baselines: dict[str, Baseline | str] = {}

    def find(self, beginning: str) -> Finding:
        """Return the finding whose id begins like this.

        Raises
        ------
        OutputError
            When there is none, or more than one.
        """
        found = self._findings(pl.col("id").str.starts_with(beginning))
        if not beginning or len(found) != 1:
            what = "more than one finding" if found else "no finding"
            near = did_you_mean(beginning, [] if found else self.run.table("findings")["id"])
            message = f"{self.run.folder}: {what} has the id {beginning!r}{near}"
            raise OutputError(message)
        return found[0]

    def cause(self, finding: Finding) -> Cause:
        """Return the cause of a finding; its notes say what could not be computed, and why."""
        of_all = finding.key == ALL_KEYS
        names = _WINDOW[1:] if of_all else _WINDOW
        also = [pl.col("alarm")] if of_all else []
        window = self._findings(*(_is(name, getattr(finding, name)) for name in names), *also)
        notes: list[str] = []
        part, baseline = self._part(finding, notes), None
        if part is not None:
            baseline = self._baseline(finding.baseline_id, notes)
        return explain_window(baseline, self.run.stream, finding, part, window, self._shifts, notes)

    def _findings(self, *which: pl.Expr) -> list[Finding]:
        """Return the last revisions of some findings, those of causes first."""
        rows = scan_parts("findings", self.run.parts("findings")).filter(*which)
        try:
            found = rows.sort("revision").unique("id", keep="last").collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).partition("\n")[0]
            message = f"{self.run.folder}: a part of this run cannot be read: {reason}; run again"
            raise OutputError(message) from error
        ordered = found.sort("monitor", "rank", "subject", "id", nulls_last=True)
        causes_first = sorted(
            (finding_of(row) for row in ordered.iter_rows(named=True)),
            key=lambda finding: finding.monitor in FORECAST_MONITORS,
        )
        return list(causes_first)

    def _part(self, finding: Finding, notes: list[str]) -> WindowPart | None:
        """Return what is kept of a finding's window; None and a note where nothing is."""
        try:
            part = self.run.evidence_of(finding.as_row())
        except TidegaugeError as error:
            notes.append(str(error))
            return None
        if part is None:
            notes.append(OF_ALL_KEYS if finding.key == ALL_KEYS else NO_PART)
        return part

    def _baseline(self, identity: str, notes: list[str]) -> Baseline | None:
        """Return a baseline; None and a note where it is gone."""
        if identity not in self._baselines:
            try:
                self._baselines[identity] = self.run.baseline(identity, self._folder)
            except TidegaugeError as error:
                self._baselines[identity] = str(error)
        found = self._baselines[identity]
        if isinstance(found, Baseline):
            return found
        notes.append(found)
        return None


def _is(name: str, value: object) -> pl.Expr:
    return pl.col(name).eq_missing(pl.lit(value, dtype=_TYPES[name]))


def finding_of(row: Mapping[str, Any]) -> Finding:
    """Return a row of the findings table as a record."""
    return Finding(**{name: row[name] for name in Finding.__dataclass_fields__})
