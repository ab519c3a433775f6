"""One run, or one step of a run without an end: read, profile, judge, commit.

Two graphs of the runner's, with a look at the state between them. The first turns new rows into
profiles of spans of time. The second judges the windows that are due, with what earlier ticks have
kept of them. Then all of it becomes the run folder's in one rename: what was read, what is kept,
what was found. A tick that dies has changed nothing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
import polars as pl
import pyarrow.parquet as pq

from monitors.alarms.control import control
from monitors.alarms.episodes import episodes
from monitors.baseline import Baseline, check_fits
from monitors.baseline_folder import Baselines, Version
from monitors.beam.judge import FINDINGS, JudgeParts
from monitors.beam.profile import FORECASTS, LATE, ProfileRows
from monitors.beam.profile import TALLIES as LATE_TALLIES
from monitors.budget import is_rolled_up
from monitors.profiling import SpanKey, SpanPart
from monitors.rollup import ALL_KEYS
from pipelines.commit import STATE, adopt, commit, compact
from pipelines.progress import Intake, Progress, intake
from pipelines.run_folder import RUN_VERSION, Manifest, RowCounts, Run, read_tables
from pipelines.runners import run_graph
from pipelines.sinks import WriteParts, write_part
from pipelines.sources import read_tallies, row_counts, tally_table
from pipelines.window_state import (
    SPANS,
    WINDOWS,
    Clock,
    MergeSpans,
    Plan,
    due_spans,
    judged_windows,
    keep_spans,
    make_plan,
    no_windows,
    read_spans,
    span_table,
)
from schemas.records import RECORDS, Tally
from schemas.stream import Stream
from transforms.beam import REJECTS, TALLIES

_EPISODES, _KEPT = "episodes", "kept"


@dataclass(frozen=True, slots=True)
class Job:
    """What is run, where, and how."""

    stream: Stream
    baselines: Path  #: folder
    out: Path  #: run folder
    runner: str = "local"
    options: Sequence[str] = ()
    say: Callable[[str], None] = lambda _: None


def progress_of(run: Run | None) -> Progress:
    """Return what a run has taken in."""
    return Progress() if run is None else Progress(**run.manifest["progress"])


def version_rows(versions: Iterable[Version]) -> list[list[str | None]]:
    """Return the versions of a baseline folder as a manifest lists them."""
    return [[v.id, None if v.since is None else v.since.isoformat()] for v in versions]


def tick(job: Job, staging: Path, before: Run | None, *, everything: bool, always: bool) -> bool:
    """Take in what is new, judge what is due, and commit.

    Parameters
    ----------
    staging : private folder on the file system of the run folder.
    before : the run so far.
    everything : the source has an end, and every window is complete with it.
    always : commit even if there was nothing to do.

    Returns
    -------
    Whether anything was committed.
    """
    started, clock = datetime.now(tz=UTC), time.monotonic()
    baselines = Baselines(job.baselines)
    check_fits(baselines.at(None), job.stream, job.baselines)
    progress = progress_of(before)
    source = intake(job.stream, progress)
    _empty(staging)
    if source is not None:
        job.say("reading and profiling the rows")
        _profile(job, source, progress, staging)
    tallies = read_tallies(staging / TALLIES)
    after = progress if source is None else source.after(tallies)
    then = Clock(job.stream, progress.watermark, progress.rows)
    now = Clock(job.stream, after.watermark, after.rows, everything)
    fresh = sorted((staging / SPANS).glob("*.parquet"))
    kept = [] if before is None else before.state(SPANS)
    windows = no_windows() if before is None else pl.read_parquet(before.state(WINDOWS))
    rolled_up = is_rolled_up(job.stream, baselines.at(None).keys)
    plan = make_plan(now, then, fresh, kept, windows, rolled_up=rolled_up)
    if source is None and plan.due.is_empty() and not always:
        return False
    if not plan.due.is_empty():
        job.say("judging the windows")
        _judge(job, plan, now, staging)
    manifest = _manifest(job, before, baselines, after, tallies)
    told_anew = _decide(job.stream, baselines.at(None), staging, before, manifest)
    stays = keep_spans(fresh, kept, now, staging / _KEPT)
    left = judged_windows(plan, _named(staging, job.stream), now)
    write_part(left.to_arrow(), staging / WINDOWS)
    _publish(job.stream, staging)
    _adopt(job.out, staging, before, manifest, stays, told_anew=told_anew)
    manifest["windows"] += (
        plan.due.filter("judge", revision=0).filter(pl.col("key") != ALL_KEYS).height
    )
    manifest["started"] = started.isoformat()
    manifest["finished"] = datetime.now(tz=UTC).isoformat()
    manifest["duration_seconds"] = time.monotonic() - clock
    commit(job.out, manifest)
    return True


def _empty(staging: Path) -> None:
    shutil.rmtree(staging)
    staging.mkdir()


def _profile(job: Job, source: Intake, progress: Progress, staging: Path) -> None:
    """New rows to profiles of spans, forecasts, rejects and tallies."""

    def build(pipeline: beam.Pipeline) -> None:
        read = pipeline | "read" >> source.read()
        rows = ProfileRows(job.stream, str(job.baselines), source.first_rows, progress.watermark)
        profiled = read["batches"] | "profile and forecast" >> beam.ParDo(rows).with_outputs(
            FORECASTS, LATE, LATE_TALLIES, main="parts"
        )
        spans = (
            profiled["parts"]
            | "typed" >> beam.Map(lambda part: part).with_output_types(tuple[SpanKey, SpanPart])
            | "merge" >> beam.CombinePerKey(MergeSpans())
            | "as rows" >> beam.Map(span_table)
        )
        rejects = (read[REJECTS], profiled[LATE]) | "all rejects" >> beam.Flatten()
        tallies = (
            (read[TALLIES], profiled[LATE_TALLIES])
            | "all tallies" >> beam.Flatten()
            | "tallies as rows" >> beam.Map(tally_table)
        )
        written = {
            SPANS: spans,
            FORECASTS: profiled[FORECASTS],
            REJECTS: rejects,
            TALLIES: tallies,
        }
        for name, tables in written.items():
            _ = tables | f"keep {name}" >> WriteParts(staging / name)

    run_graph(build, job.runner, job.options)


def _judge(job: Job, plan: Plan, now: Clock, staging: Path) -> None:
    """Profiles of spans to findings, and what led to them."""
    file = staging / "plan.parquet"
    plan.due.write_parquet(file)
    paths = [str(path) for path in due_spans(now, plan, staging / "due")]

    def build(pipeline: beam.Pipeline) -> None:
        parts = (
            pipeline
            | "kept" >> beam.Create(paths)
            | "spans" >> beam.FlatMap(read_spans).with_output_types(tuple[SpanKey, SpanPart])
        )
        judged = parts | "judge" >> JudgeParts(job.stream, str(job.baselines), file)
        for name, tables in judged.items():
            _ = tables | f"keep {name}" >> WriteParts(staging / name)

    run_graph(build, job.runner, job.options)


def _manifest(
    job: Job, before: Run | None, baselines: Baselines, after: Progress, tallies: Iterable[Tally]
) -> Manifest:
    """Return the manifest of a run, but for its files and times."""
    counts = row_counts(tallies)
    rows: RowCounts = {"in": 0, "used": 0, "rejected": 0, "late": 0}
    if before is not None:
        rows = before.manifest["rows"]
    mark = after.watermark
    return {
        "version": RUN_VERSION,
        "stream": job.stream.model_dump(mode="json"),
        "baseline_id": baselines.versions[-1].id,
        "baselines": version_rows(baselines.versions),
        "started": "",
        "finished": "",
        "duration_seconds": 0.0,
        "rows": {
            "in": rows["in"] + counts["in"],
            "used": rows["used"] + counts["used"],
            "rejected": rows["rejected"] + counts["rejected"],
            "late": rows["late"] + counts["late"],
        },
        "windows": 0 if before is None else before.manifest["windows"],
        "ticks": 1 + (0 if before is None else before.manifest["ticks"]),
        "watermark": None if mark is None else datetime.fromtimestamp(mark / 1e6, UTC).isoformat(),
        "reference": dict(baselines.at(None).span),
        "progress": after.to_json(),
        "control": {} if before is None else before.manifest["control"],
        "state": {},
        "files": {},
    }


def _decide(
    stream: Stream, baseline: Baseline, staging: Path, before: Run | None, manifest: Manifest
) -> bool:
    """Decide which findings alarm, where that takes more than a window, and gather the episodes.

    Returns
    -------
    Whether there were findings, and so all episodes were gathered anew.
    """
    parts = sorted((staging / FINDINGS).glob("*.parquet"))
    if not parts:
        return False
    earlier = [] if before is None else before.parts(FINDINGS)
    if stream.alarms.control != "window":
        found = read_tables("findings", parts).collect()
        revised = found.filter(pl.col("revision") > 0).select("id")
        decided = read_tables("findings", earlier).join(revised.lazy(), on="id", how="semi")
        found, manifest["control"] = control(
            found, stream, baseline.keys, manifest["control"], decided.collect()
        )
        for part in parts:
            part.unlink()
        parts = [write_part(found.to_arrow().cast(RECORDS["findings"]), staging / FINDINGS)]
    shifts = episodes(read_tables("findings", [*earlier, *parts]))
    if shifts.height:
        write_part(shifts.to_arrow().cast(RECORDS[_EPISODES]), staging / _EPISODES)
    return True


def _publish(stream: Stream, staging: Path) -> None:
    """Send what was found to its topics. Whoever dies before the commit sends it again."""
    if stream.sinks.kafka is None:
        return
    from pipelines.kafka.sink import publish_records

    for name in (FINDINGS, FORECASTS, REJECTS):
        for part in sorted((staging / name).glob("*.parquet")):
            publish_records({name: pq.read_table(part)}, stream.sinks.kafka)


def _named(staging: Path, stream: Stream) -> pl.DataFrame:
    """Return the features named in each window that was tested now: key, window, named."""
    parts = sorted((staging / FINDINGS).glob("*.parquet"))
    place = (
        pl.col("window_index")
        if stream.window.rows is not None
        else pl.col("window_start").dt.timestamp("us")
    )
    return (
        read_tables("findings", parts)
        .filter(pl.col("monitor") == "feature_shift", pl.col("status") == "tested")
        .group_by("key", window=place)
        .agg(named=pl.col("subject").filter("alarm"))
        .collect()
    )


def _adopt(
    out: Path,
    staging: Path,
    before: Run | None,
    manifest: Manifest,
    stays: Sequence[Path],
    *,
    told_anew: bool,
) -> None:
    """Move what was written into the run folder, and list it."""
    for name in RECORDS:
        new = adopt(staging / name, out, name)
        old = [] if before is None else before.manifest["files"].get(name, [])
        if name == _EPISODES and told_anew:
            old = []
        manifest["files"][name] = compact(out, name, list(dict.fromkeys([*old, *new])))
    kept = [path.relative_to(out).as_posix() for path in stays]
    manifest["state"] = {
        SPANS: [*kept, *adopt(staging / _KEPT, out, f"{STATE}/{SPANS}")],
        WINDOWS: adopt(staging / WINDOWS, out, f"{STATE}/{WINDOWS}"),
    }
