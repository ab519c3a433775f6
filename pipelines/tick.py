"""One run, or one step of a run without an end: read, profile, judge, commit.

Two graphs of the runner's, with a look at the state between them. The first turns new rows into
profiles of spans of time. The second judges the windows that are due, with what earlier ticks have
kept of them. Then all of it becomes the run folder's in one rename: what was read, what is kept,
what was found. A tick that dies has changed nothing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

import apache_beam as beam
import polars as pl
import pyarrow.parquet as pq

from monitors.ahead import ahead_specs
from monitors.alarms.control import control
from monitors.alarms.episodes import episodes
from monitors.baseline import Baseline, check_fits
from monitors.baseline_folder import Baselines, Version, read_versions
from monitors.beam.judge import FINDINGS, JudgeParts
from monitors.beam.profile import FORECASTS
from monitors.budget import is_rolled_up
from monitors.forecasting import scored_later
from monitors.profiling import SpanKey, SpanPart
from monitors.rollup import ALL_KEYS
from pipelines import evidence
from pipelines.commit import STATE, adopt, commit, compact
from pipelines.forecast_ahead import SERIES, forecast_ahead
from pipelines.late_outcomes import NO_COUNTS, SETTLED, STATE_TABLES, new_outcomes, settle
from pipelines.progress import NewMessages, Progress, intake
from pipelines.run_folder import RUN_VERSION, Manifest, RowCounts, Run, scan_parts
from pipelines.runners import run_graph
from pipelines.sinks import WriteParts, write_part
from pipelines.sources import read_tallies, row_counts
from pipelines.take_in import Arrivals, take_in
from pipelines.window_state import (
    SPANS,
    WINDOWS,
    Clock,
    Plan,
    due_spans,
    judged_windows,
    keep_spans,
    make_plan,
    no_windows,
    read_spans,
)
from schemas.errors import BaselineError
from schemas.records import RECORDS, Tally
from schemas.stream import Stream
from transforms.beam import REJECTS, TALLIES
from transforms.lateness import lateness

_EPISODES, _KEPT = "episodes", "kept"
_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Job:
    """What is run, where, and how."""

    stream: Stream
    baselines: Path  #: folder
    out: Path  #: run folder
    runner: str = "local"
    options: Sequence[str] = ()
    say: Callable[[str], None] = lambda _: None  #: what is going on
    note: Callable[[str], None] = lambda _: None  #: what the user should know


def progress_of(run: Run | None) -> Progress:
    """Return what a run has taken in."""
    return Progress() if run is None else Progress.from_json(run.manifest["progress"])


def version_rows(versions: Iterable[Version]) -> list[list[str | None]]:
    """Return the versions of a baseline folder as a manifest lists them."""
    return [[v.id, None if v.since is None else v.since.isoformat()] for v in versions]


def tick(
    job: Job,
    staging: Path,
    before: Run | None,
    *,
    everything: bool,
    always: bool,
    until: Mapping[int, int] | None = None,
) -> bool:
    """Take in what is new, judge what is due, and commit.

    Parameters
    ----------
    staging : private folder on the file system of the run folder.
    before : the run so far.
    everything : the source has an end, and every window is complete with it.
    always : commit even if there was nothing to do.
    until : of a topic, the offsets behind which nothing is read; None: whatever there is.

    Returns
    -------
    Whether anything was committed.
    """
    started, clock = datetime.now(tz=UTC), time.monotonic()
    baselines = Baselines(job.baselines, _versions(job, before))
    check_fits(baselines.at(None), job.stream, job.baselines)
    progress = progress_of(before)
    source = intake(job.stream, progress, until)
    _empty(staging)
    if isinstance(source, NewMessages):
        for lost in source.plan.notes:
            job.note(lost)
    outcomes = new_outcomes(job.stream, progress)
    taken = bool(outcomes) or (source is not None and not source.empty)
    if taken:
        job.say("reading and profiling the rows")
        waiting = {} if before is None else {name: before.state(name) for name in STATE_TABLES}
        arrivals = Arrivals(source, progress.watermark, sorted(outcomes), waiting)
        _take_in(job, baselines, arrivals, staging)
    tallies = read_tallies(staging / TALLIES)
    after = progress if source is None else source.after(tallies)
    after = replace(after, outcomes={**progress.outcomes, **outcomes})
    if ahead_specs(job.stream) and (taken or source is not None):
        graph = partial(run_graph, runner=job.runner, options=job.options)
        after = forecast_ahead(job.stream, baselines, staging, before, after, graph)
    then = Clock(job.stream, progress.watermark, progress.rows)
    now = Clock(job.stream, after.watermark, after.rows, everything)
    fresh = sorted((staging / SPANS).glob("*.parquet"))
    kept = [] if before is None else before.state(SPANS)
    windows = no_windows() if before is None else pl.read_parquet(before.state(WINDOWS))
    rolled_up = is_rolled_up(job.stream, baselines.at(None).keys)
    plan = make_plan(now, then, fresh, kept, windows, rolled_up=rolled_up)
    if source is None and not outcomes and plan.due.is_empty() and not always:
        return False
    if not plan.due.is_empty():
        job.say("judging the windows")
        _judge(job, plan, baselines, now, staging)
    manifest = _manifest(job, before, baselines, after, tallies)
    if (taken or after.ahead != progress.ahead) and scored_later(job.stream):
        _settle(job, staging, then, manifest, baselines.versions)
    told_anew = _decide(job.stream, baselines.at(None), staging, before, manifest)
    stays = keep_spans(fresh, kept, now, staging / _KEPT)
    evidence.choose_evidence(staging, sorted((staging / FINDINGS).glob("*.parquet")))
    left = judged_windows(plan, _named(staging, job.stream), now)
    write_part(left.to_arrow(), staging / WINDOWS)
    _publish(job.stream, staging)
    _adopt(job.stream, job.out, staging, before, manifest, stays, told_anew=told_anew)
    manifest["windows"] += (
        plan.due.filter("judge", revision=0).filter(pl.col("key") != ALL_KEYS).height
    )
    manifest["started"] = started.isoformat()
    manifest["finished"] = datetime.now(tz=UTC).isoformat()
    manifest["duration_seconds"] = time.monotonic() - clock
    commit(job.out, manifest, before)
    return True


def _empty(staging: Path) -> None:
    shutil.rmtree(staging)
    staging.mkdir()


def _versions(job: Job, before: Run | None) -> list[Version]:
    """Return the baselines, each with the time from which it counts here.

    Windows that hold rows go on with the baseline that these are profiled for.
    """
    there = read_versions(job.baselines)
    if before is None:
        return there
    known = [
        Version(str(name), None if since is None else datetime.fromisoformat(since))
        for name, since in before.manifest["baselines"]
    ]
    if there[0].id != known[0].id:
        message = (
            f"{job.baselines}: the baseline was replaced, and open windows hold rows profiled for "
            f"the old one; `run --anew` begins again, `fit --since TIME` adds a baseline for later"
        )
        raise BaselineError(message)
    times, kept = lateness(job.stream), pl.read_parquet(before.state(WINDOWS))
    for version in there[1:]:
        if version.id in {one.id for one in known}:
            continue
        since = version.since
        if times is not None and not kept.is_empty():
            free = (cast("int", kept["window"].max()) + times.every) / 1e6
            since = max(since or _EARLIEST, datetime.fromtimestamp(free, UTC))
        if since != version.since:
            note = f"baseline {version.id} counts from {since}: earlier windows hold rows already"
            job.note(note)
        known.append(Version(version.id, since))
    return known


def _take_in(job: Job, baselines: Baselines, arrivals: Arrivals, staging: Path) -> None:
    """New rows and outcomes to profiles of spans, forecasts, rejects and tallies."""

    def build(pipeline: beam.Pipeline) -> None:
        folder = str(job.baselines)
        found = take_in(pipeline, job.stream, folder, baselines.versions, arrivals)
        for name, tables in found.items():
            _ = tables | f"keep {name}" >> WriteParts(staging / name)

    run_graph(build, job.runner, job.options)


def _judge(job: Job, plan: Plan, baselines: Baselines, now: Clock, staging: Path) -> None:
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
        judge = JudgeParts(job.stream, str(job.baselines), file, baselines.versions)
        judged = parts | "judge" >> judge
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
    manifest: Manifest = {
        "version": RUN_VERSION,
        "stream": job.stream.model_dump(mode="json"),
        "baseline_id": baselines.versions[-1].id,
        "baseline_folder": str(job.baselines.resolve()),
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
    if before is not None and "refit" in before.manifest:
        manifest["refit"] = before.manifest["refit"]
    if job.stream.outcomes is not None:
        earlier = None if before is None else before.manifest.get("outcomes")
        manifest["outcomes"] = earlier or NO_COUNTS
    return manifest


def _settle(
    job: Job, staging: Path, then: Clock, manifest: Manifest, versions: Sequence[Version]
) -> None:
    """Let go of what waited long enough for its outcome or forecast, and count."""
    before = manifest.get("outcomes", NO_COUNTS)
    watermark, until = manifest["progress"]["watermark"], manifest["progress"]["ahead"]
    counts = settle(job.stream, staging, before, then, watermark, until, versions)
    if job.stream.outcomes is None:
        return
    manifest["outcomes"] = counts
    if missed := counts["after_final"] - before["after_final"]:
        job.note(
            f"{missed:,} outcomes came when the windows of their forecasts were final: no monitor "
            f"sees them; a longer `watermark: allowed_lateness` keeps windows open for them"
        )


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
        found = scan_parts("findings", parts).collect()
        revised = found.filter(pl.col("revision") > 0).select("id").lazy()
        decided = scan_parts("findings", earlier).join(revised, on="id", how="semi").collect()
        last = decided.sort("revision").unique("id", keep="last")
        found, manifest["control"] = control(
            found, stream, baseline.keys, manifest["control"], last
        )
        for part in parts:
            part.unlink()
        parts = [write_part(found.to_arrow().cast(RECORDS["findings"]), staging / FINDINGS)]
    shifts = episodes(scan_parts("findings", [*earlier, *parts]))
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
        scan_parts("findings", parts)
        .filter(pl.col("monitor") == "feature_shift", pl.col("status") == "tested")
        .group_by("key", window=place)
        .agg(named=pl.col("subject").filter("alarm"))
        .collect()
    )


def _adopt(
    stream: Stream,
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
        files = list(dict.fromkeys([*old, *new]))
        if name == evidence.NAME:
            files = evidence.newest_evidence(out, staging, files)
        manifest["files"][name] = compact(out, staging, name, files)
    kept = [path.relative_to(out).as_posix() for path in stays]
    manifest["state"] = {
        SPANS: [*kept, *adopt(staging / _KEPT, out, f"{STATE}/{SPANS}")],
        WINDOWS: adopt(staging / WINDOWS, out, f"{STATE}/{WINDOWS}"),
    }
    if scored_later(stream):
        anew = {name: staging / SETTLED / name for name in STATE_TABLES}
        if ahead_specs(stream):
            anew[SERIES] = staging / SERIES
        manifest["state"] |= {
            name: adopt(folder, out, f"{STATE}/{name}")
            if folder.exists() or before is None
            else before.manifest["state"].get(name, [])
            for name, folder in anew.items()
        }
