"""`tidegauge run`: take in what is new of a stream, once or again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import Any

from monitors.baseline_folder import read_versions
from pipelines.progress import changed_files, files_gone
from pipelines.refit import refit
from pipelines.run_folder import MANIFEST, Run, open_run
from pipelines.sinks import readable_errors, staging_folder
from pipelines.tick import Job, progress_of, tick, version_rows
from schemas.errors import OutputError, SourceError
from schemas.kafka import Topic
from schemas.stream import Stream


def run(job: Job, *, anew: bool = False) -> Run:
    """Take in all that is new of a stream's source, and stop.

    Of files, each window is judged with the rows it has by now, and again when a later run brings
    more. Of a topic, only the windows that the watermark has passed.

    Parameters
    ----------
    anew : forget what earlier runs took in and found.

    Raises
    ------
    TidegaugeError
        Before anything of the earlier run is touched.
    """
    with staging_folder(job.out) as staging, readable_errors(job.out):
        before = _begin(job, anew=anew)
        if not isinstance(job.stream.source, Topic):
            tick(job, staging, before, everything=True, always=True)
            refit(job, open_run(job.out))
        else:  # as many messages at a time as fit into memory, and only those that are there now
            from pipelines.kafka.ranges import end_offsets

            until = end_offsets(job.stream.source)
            tick(job, staging, before, everything=False, always=True, until=until)
            while tick(
                job, staging, open_run(job.out), everything=False, always=False, until=until
            ):
                pass
    return open_run(job.out)


def follow(
    job: Job, every: float, stop: Event, tell: Callable[[Run], object], *, anew: bool = False
) -> None:
    """Take in what is new of a stream's source again and again, until told to stop.

    Windows are judged when the watermark has passed their end.

    Parameters
    ----------
    every : seconds from one look at the source to the next.
    tell : is called with the run whenever it has changed.

    Raises
    ------
    TidegaugeError
        What was committed until then stays.
    """
    if job.stream.lags:
        message = "`lags` are for runs that end: they cannot be followed yet; leave them out"
        raise SourceError(message)
    with staging_folder(job.out) as staging, readable_errors(job.out):
        before = _begin(job, anew=anew)
        while not stop.is_set():
            begun = time.monotonic()
            if before is not None and not isinstance(job.stream.source, Topic):
                _refuse_changed(job, before)
            if tick(job, staging, before, everything=False, always=before is None):
                before = refit(job, open_run(job.out))
                tell(before)
            stop.wait(max(0.0, every - (time.monotonic() - begun)))


def _begin(job: Job, *, anew: bool) -> Run | None:
    """Return the run that this one goes on from; None where it begins anew, and say why."""
    if anew or not (job.out / MANIFEST).exists():
        return None
    earlier = open_run(job.out)
    was, now = earlier.manifest["baselines"], version_rows(read_versions(job.baselines))
    reasons = [
        ("the stream file", _deciding(job.stream) != _deciding(earlier.stream)),
        ("the baseline", now[0] != was[0]),
    ]
    changed = " and ".join(what for what, differs in reasons if differs)
    if isinstance(job.stream.source, Topic):
        if changed:
            message = (
                f"{job.out}: {changed} has changed since, and with it what is kept of open "
                f"windows; `run --anew` begins with the topic's first message, `fit --since TIME` "
                f"adds a baseline for later windows"
            )
            raise OutputError(message)
        return earlier
    progress = progress_of(earlier)
    # a row's lags may lie in files that an earlier run has read
    if not changed and not job.stream.lags:
        file = next(iter(changed_files(job.stream, progress)), None)
        if file is None:
            return earlier
        changed = file
    gone = [] if job.stream.lags and not changed else files_gone(job.stream, progress)
    if gone:
        message = (
            f"{job.out}: {changed} has changed since, and everything would be read anew; but "
            f"{gone[0]} is gone, and what was found in it would be forgotten. Put it back, write "
            f"to another folder with --out, or forget it with --anew"
        )
        raise OutputError(message)
    if changed:
        job.note(f"{changed} has changed since the last run: all files are read anew")
    return None


def _deciding(stream: Stream) -> dict[str, Any]:
    """Return what of a stream file decides what is found in which rows."""
    how_to_reach = {"servers", "security"}
    return stream.model_dump(
        exclude={
            "sinks": True,
            "watermark": True,
            "reference": True,
            "explain": True,
            "refit": True,
            "source": how_to_reach,
        }
    )


def _refuse_changed(job: Job, before: Run) -> None:
    changed = changed_files(job.stream, progress_of(before))
    if changed:
        message = (
            f"{changed[0]}: has changed since it was read; write new rows to a new file, under "
            f"another name until it is whole. `tidegauge run` reads all files anew"
        )
        raise SourceError(message)
