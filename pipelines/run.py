"""`tidegauge run`: score the windows of a stream against its baseline, and leave a run folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl

from monitors.alarms.control import control
from monitors.alarms.episodes import episodes
from monitors.baseline import check_fits, load_baseline
from monitors.beam import ScoreWindows
from pipelines.files import write_text
from pipelines.run_folder import MANIFEST, RUN_VERSION, Run, open_run
from pipelines.runners import run_graph
from pipelines.sinks import WriteParts, staging_folder, write_part
from pipelines.sources import check_files, first_rows, row_counts, source_files, tally_table
from schemas.errors import OutputError
from schemas.records import RECORDS
from schemas.stream import Stream
from transforms.beam import REJECTS, TALLIES, ReadBatches


def run(
    stream: Stream,
    baseline_folder: Path,
    out: Path,
    *,
    runner: str = "local",
    options: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Run:
    """Score every window of the stream's source, and make the result the run in a folder.

    The folder holds the old run until the manifest of the new one takes its place, in one rename.

    Raises
    ------
    TidegaugeError
        Before anything of the old run is touched.
    """
    started = datetime.now(tz=UTC)
    clock = time.monotonic()
    baseline = load_baseline(baseline_folder)
    check_fits(baseline, stream, baseline_folder)
    paths = source_files(stream.source)
    check_files(paths, stream.source, stream)
    first = {} if stream.window.rows is None else first_rows(paths, stream.source)
    with staging_folder(out) as staging:

        def build(pipeline: beam.Pipeline) -> None:
            read = pipeline | "read" >> ReadBatches(paths, stream.source, stream)
            scored = read["batches"] | "score" >> ScoreWindows(stream, baseline_folder, first)
            for name, tables in {**scored, "rejects": read[REJECTS]}.items():
                _ = tables | f"keep {name}" >> WriteParts(staging / name)
            _ = read[TALLIES] | "as rows" >> beam.Map(tally_table) | WriteParts(staging / "tallies")

        say("scoring the windows")
        run_graph(build, runner, options)
        say("following the alarms")
        _follow(staging, stream, baseline.keys)
        rows = row_counts(staging / "tallies")
        files = _adopt(staging, out)
        manifest: dict[str, Any] = {
            "version": RUN_VERSION,
            "stream": stream.model_dump(mode="json"),
            "baseline_id": baseline.id,
            "started": started.isoformat(),
            "finished": datetime.now(tz=UTC).isoformat(),
            "duration_seconds": time.monotonic() - clock,
            "rows": rows,
            "windows": _windows(out, files),
            "reference": dict(baseline.span),
            "files": files,
        }
        write_text(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        _forget(out, files)
    return open_run(out)


def _follow(staging: Path, stream: Stream, keys: int) -> None:
    """Decide which findings alarm, where that takes more than a window, and gather the episodes."""
    parts = sorted((staging / "findings").glob("*.parquet"))
    if not parts:
        return
    findings = pl.scan_parquet(parts, hive_partitioning=False)
    if stream.alarms.control != "window":
        findings = control(findings.collect(), stream, keys).lazy()
        for part in parts:
            part.unlink()
        write_part(findings.collect().to_arrow().cast(RECORDS["findings"]), staging / "findings")
    shifts = episodes(findings)
    if shifts.height:
        write_part(shifts.to_arrow().cast(RECORDS["episodes"]), staging / "episodes")


def _adopt(staging: Path, out: Path) -> dict[str, list[str]]:
    """Move the finished parts into the run folder; one that is there already is the same."""
    files: dict[str, list[str]] = {}
    try:
        for name in RECORDS:
            parts = sorted((staging / name).glob("*.parquet"))
            (out / name).mkdir(exist_ok=True)
            for part in parts:
                part.replace(out / name / part.name)
            files[name] = [f"{name}/{part.name}" for part in parts]
    except OSError as error:
        message = f"{error.filename}: cannot be written: {error.strerror}; move it away"
        raise OutputError(message) from error
    return files


def _windows(out: Path, files: dict[str, list[str]]) -> int:
    """Count the windows judged: each has one summary row per column."""
    seen = pl.scan_parquet([out / part for part in files["summaries"]], hive_partitioning=False)
    about = ["key", "window_start", "window_end", "window_index"]
    return (
        seen.select(about).unique().select(pl.len()).collect().item() if files["summaries"] else 0
    )


def _forget(out: Path, files: dict[str, list[str]]) -> None:
    """Remove the parts of earlier runs."""
    for name, kept in files.items():
        for part in (out / name).glob("*.parquet"):
            if f"{name}/{part.name}" not in kept:
                part.unlink()
