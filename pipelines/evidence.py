"""The table `evidence` of a run folder: bounded, whatever happens to a stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from monitors.alarms.control import WINDOW
from pipelines.commit import adopt
from pipelines.run_folder import scan_parts
from pipelines.sinks import write_part
from schemas.records import EVIDENCE

NAME = "evidence"
MOST_AT_ONCE = 200  # windows of one run, or of one step of a stream that is followed
MOST = 1_000  # windows of a run folder, the newest: there may be twice as many for a while

_PLACE = ("key", *WINDOW)


def choose_evidence(staging: Path, findings: Sequence[Path]) -> None:
    """Leave of the staged evidence only windows that alarm: those with the strongest alarms.

    Parameters
    ----------
    findings : parts of what was found in these windows, with alarms as they were decided.
    """
    parts = sorted((staging / NAME).glob("*.parquet"))
    if not parts:
        return
    above = pl.col("statistic") / pl.col("threshold")  # comparable among monitors
    staged = scan_parts(NAME, parts).select(_PLACE)  # windows of all keys together have none
    strongest = (
        scan_parts("findings", findings)
        .filter("alarm")
        .join(staged, on=_PLACE, how="semi", nulls_equal=True)
        .group_by(_PLACE)
        .agg(above=above.max())
        .sort(pl.col("above").neg(), *_PLACE)
        .head(MOST_AT_ONCE)
        .collect()
    )
    chosen = [
        scan_parts(NAME, [part])
        .join(strongest.lazy(), on=_PLACE, how="semi", nulls_equal=True)
        .collect()
        for part in parts
    ]
    for part in parts:
        part.unlink()
    kept = pl.concat(chosen).sort(_PLACE)
    if kept.height:
        write_part(kept.to_arrow().cast(EVIDENCE), staging / NAME)


def newest_evidence(out: Path, staging: Path, files: Sequence[str]) -> list[str]:
    """Return the files of the table, or when they hold too much, one with the newest windows."""
    windows = scan_parts(NAME, [out / file for file in files])
    places = windows.select(_PLACE).collect()
    if places.height <= 2 * MOST:
        return list(files)
    newest = places.unique().sort(*WINDOW, "key", descending=True).head(MOST)
    kept = windows.join(newest.lazy(), on=_PLACE, how="semi", nulls_equal=True).collect()
    write_part(kept.to_arrow().cast(EVIDENCE), staging / "newest")
    return adopt(staging / "newest", out, NAME)
