"""Fits a new baseline while a stream runs, when its monitors have alarmed long enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from monitors.forecast_scores import FEWEST_WINDOWS
from pipelines.commit import commit
from pipelines.run_folder import Run, open_run
from pipelines.window_state import WINDOWS
from schemas.duration import parse_duration
from schemas.errors import TidegaugeError
from schemas.forecasts import Refit

if TYPE_CHECKING:
    from pipelines.tick import Job

_ABOUT = ("key", "monitor", "subject")


def refit(job: Job, run: Run) -> Run:
    """Fit a new baseline where the stream file's rule asks for it, and return the run as it is now.

    It counts from the first window that holds no rows yet. The attempt is noted in the run folder,
    and the next one needs as many new windows; one that fails is told, and ends nothing.
    """
    rule = job.stream.refit
    end = None if rule is None else called_for(run, rule)
    if rule is None or end is None:
        return run
    from pipelines.fit import Recent, fit

    start, since = end - timedelta(seconds=parse_duration(rule.on)), _next_window(run)
    late = run.scan("outcomes").filter(pl.col("valid_time").is_between(start, end, closed="left"))
    columns = ("key", "target", "valid_time", "outcome", "known_at", "revision")
    known = late.select(columns).sort("known_at", "revision").collect()
    job.say(f"fitting a new baseline on the rows of the last {rule.on}")
    now = run.baseline(run.manifest["baseline_id"], job.baselines).forecasters
    scored = [t for t, one in now.items() if one.null.misses.windows >= FEWEST_WINDOWS]
    identity, told = None, list[str]()
    try:
        report = fit(
            job.stream,
            job.baselines,
            runner=job.runner,
            options=job.options,
            since=since,
            recent=Recent(start, end, known, scored),
            say=job.say,
        )
    except TidegaugeError as error:
        note = f"a new baseline was called for, and could not be fitted: {error}"
    else:
        identity, told = report.baseline.id, list(report.notes)
        note = (
            f"a new baseline, {identity}, was fitted on the rows from {start} to {end}; it counts "
            f"for windows from {since}"
        )
    manifest = run.manifest
    manifest["refit"] = {"window_end": end.isoformat(), "baseline_id": identity, "note": note}
    commit(job.out, manifest, run)
    for line in (note, *told):
        job.note(line)
    return open_run(job.out)


def called_for(run: Run, rule: Refit) -> datetime | None:
    """Return the end of the last window that calls for a new baseline; None where none does.

    It is called for when one monitor alarmed about one subject of one key in the last windows that
    were tested, one after another: as many as the rule says, all of the newest baseline, all later
    than the last attempt.
    """
    every = timedelta(seconds=run.stream.window.every_seconds or 0.0)
    new = (
        pl.col("monitor").is_in(rule.when)
        & (pl.col("status") == "tested")
        & (pl.col("baseline_id") == run.manifest["baseline_id"])
    )
    if "refit" in run.manifest:
        new &= pl.col("window_end") > datetime.fromisoformat(run.manifest["refit"]["window_end"])
    last = (
        run.scan("findings")
        .filter(new)
        .sort("window_end")
        .group_by(_ABOUT)
        .agg(pl.col("window_end", "alarm").tail(rule.windows))
        .filter(
            pl.col("alarm").list.all(),
            pl.col("alarm").list.len() == rule.windows,
            pl.col("window_end").list.last() - pl.col("window_end").list.first()
            == every * (rule.windows - 1),
        )
        .select(pl.col("window_end").list.last().max())
    )
    end: datetime | None = last.collect().item()
    return end


def _next_window(run: Run) -> datetime:
    """Return the start of the first window after all that hold rows."""
    every = round((run.stream.window.every_seconds or 0.0) * 1e6)
    starts = run.scan("findings").select(pl.col("window_start").dt.timestamp("us").max())
    there = [starts.collect().item(), pl.read_parquet(run.state(WINDOWS))["window"].max()]
    newest = max(start for start in there if start is not None)
    return datetime.fromtimestamp((newest + every) / 1e6, UTC)
