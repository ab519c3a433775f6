"""`tidegauge run`: take in what is new of a stream, once or again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

from monitors.baseline_folder import read_versions
from pipelines.progress import changed_files
from pipelines.run_folder import MANIFEST, Run, open_run
from pipelines.sinks import staging_folder
from pipelines.tick import Job, progress_of, tick, version_rows
from schemas.errors import BaselineError, SourceError
from schemas.kafka import Topic


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
    with staging_folder(job.out) as staging:
        before = None if anew else _earlier(job)
        if before is not None and not isinstance(job.stream.source, Topic):
            changed = changed_files(job.stream, progress_of(before))
            # a row's lags may lie in files that an earlier run has read
            before = None if changed or job.stream.lags else before
        if not isinstance(job.stream.source, Topic):
            tick(job, staging, before, everything=True, always=True)
        else:  # as many messages at a time as fit into memory
            tick(job, staging, before, everything=False, always=True)
            while tick(job, staging, open_run(job.out), everything=False, always=False):
                pass
    return open_run(job.out)


def follow(job: Job, every: float, stop: Event, tell: Callable[[Run], None]) -> None:
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
    with staging_folder(job.out) as staging:
        before = _earlier(job)
        while not stop.is_set():
            begun = time.monotonic()
            if before is not None and not isinstance(job.stream.source, Topic):
                _refuse_changed(job, before)
            if tick(job, staging, before, everything=False, always=before is None):
                before = open_run(job.out)
                tell(before)
            stop.wait(max(0.0, every - (time.monotonic() - begun)))


def _earlier(job: Job) -> Run | None:
    """Return the run that this one goes on from; None where there is none, or it no longer fits."""
    if not (job.out / MANIFEST).exists():
        return None
    earlier = open_run(job.out)
    was, now = earlier.manifest["baselines"], version_rows(read_versions(job.baselines))
    replaced = now[: len(was)] != was
    if isinstance(job.stream.source, Topic) and earlier.stream.name == job.stream.name:
        if replaced:
            message = (
                f"{job.baselines}: the baseline has changed since {job.out} was written, and with "
                f"it what is kept of open windows; `fit --since TIME` adds a baseline for the "
                f"windows from a time on, `run --anew` begins with the topic's first message"
            )
            raise BaselineError(message)
        return earlier
    asked, before = (part.model_dump(exclude={"sinks"}) for part in (job.stream, earlier.stream))
    return None if replaced or asked != before else earlier


def _refuse_changed(job: Job, before: Run) -> None:
    changed = changed_files(job.stream, progress_of(before))
    if changed:
        message = (
            f"{changed[0]}: has changed since it was read; write new rows to a new file, under "
            f"another name until it is whole. `tidegauge run` reads all files anew"
        )
        raise SourceError(message)
