"""The metrics of a run folder, followed while the run goes on."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from threading import Lock

import polars as pl
from prometheus_client import Metric

from monitors.export import collect
from monitors.snapshot import RunReader
from pipelines.run_folder import MANIFEST, open_run
from pipelines.serve.server import NoPageError
from schemas.errors import OutputError

_TRIES = 10  # a manifest that is replaced so often while it is read comes too fast

_PAGES = 32  # kept: at most 16 MB

_Stamp = tuple[int, int, int]


class RunSource:
    """The metrics of a run folder; new parts are read when its manifest has changed.

    While a folder is being replaced, or when what replaced it cannot be read, the last good
    metrics stay; the age of the last success then grows, which is alerted on.

    Raises
    ------
    OutputError
        When the folder is no run, unless it is to wait for one.
    """

    def __init__(
        self,
        folder: Path,
        allow: Collection[str] = (),
        *,
        wait: bool = False,
        pages: str = "",
        baseline: Path | None = None,
    ) -> None:
        """Read the run.

        Parameters
        ----------
        allow : features that have a series of their own whatever their score.
        wait : start without a run.
        pages : address of the pages of findings, up to their id.
        baseline : folder of the run's baselines; None: where it was when the run was made.
        """
        self._pages, self._baseline = pages, baseline
        self.name = f"the run {folder}"
        self._folder, self._allow, self._lock = folder, allow, Lock()
        self._reader = RunReader()
        self._seen: _Stamp | None = None
        self._complaint = ""
        self._families: list[Metric] = []
        self._drawing = Lock()
        self._drawn: dict[str, str] = {}  # pages by finding, of the run with this stamp:
        self._drawn_of: _Stamp | None = None
        if not wait:
            self._read()

    def families(self) -> list[Metric]:
        """Return the metric families of the run; none before there is one."""
        with self._lock:
            self._follow()
            return self._families

    def missing(self) -> str:
        """Say why there is no run yet; nothing when one has been read."""
        with self._lock:
            self._follow()
            return self._complaint if self._seen is None else ""

    def page(self, finding: str) -> str:
        """Return the page of a finding, made when it is first asked for.

        Raises
        ------
        NoPageError
            When there is no run yet, or none with this finding.
        OutputError
            When a part of the run is damaged.
        """
        # Not under the lock of the metrics, which a scrape waits for; and one page at a time.
        with self._drawing:
            stamp = self._stamp()
            if stamp != self._drawn_of:
                self._drawn_of = stamp
                self._drawn.clear()
            if finding not in self._drawn:
                self._drawn[finding] = self._draw_whole(finding)
                while len(self._drawn) > _PAGES:
                    self._drawn.pop(next(iter(self._drawn)))
            return self._drawn[finding]

    def _draw_whole(self, finding: str) -> str:
        """Draw a page; again while the run is replaced under it, which takes parts away."""
        for _ in range(_TRIES):
            stamp = self._stamp()
            try:
                return self._draw(finding)
            except OutputError:
                if self._stamp() == stamp:
                    raise
        return self._draw(finding)

    def _draw(self, finding: str) -> str:
        from pipelines.report.finding_page import render_finding

        if self._stamp() is None:
            raise NoPageError(f"{self._folder}: there is no run here yet")
        run = open_run(self._folder)
        if run.scan("findings").filter(pl.col("id") == finding).collect().is_empty():
            message = (
                f"{self._folder}: no finding has the id {finding}; it may be of another run, or of "
                f"one that was replaced"
            )
            raise NoPageError(message)
        return render_finding(run, finding, self._baseline)

    def check(self) -> None:
        """Nothing ends it."""

    def close(self) -> None:
        """Nothing is held."""

    def _follow(self) -> None:
        if self._seen is not None and self._stamp() in (None, self._seen):
            return
        try:
            self._read()
        except OutputError as error:
            if self._seen is not None and str(error) != self._complaint:
                sys.stderr.write(f"{error}; still serving the last good run\n")
            self._complaint = str(error)

    def _read(self) -> None:
        for last in (False,) * _TRIES + (True,):
            stamp = self._stamp()
            try:
                manifest = open_run(self._folder).manifest
                snapshot = self._reader.read(manifest, self._folder)
            except (OutputError, pl.exceptions.PolarsError, OSError) as error:
                if not last and self._stamp() != stamp:
                    continue  # parts were put together, and those that the manifest named are gone
                if isinstance(error, OutputError):
                    raise
                reason = str(error).partition("\n")[0]
                message = f"{self._folder}: a part of this run cannot be read: {reason}; run again"
                raise OutputError(message) from error
            self._families = collect(snapshot, self._allow, pages=self._pages)
            self._seen, self._complaint = stamp, ""
            return

    def _stamp(self) -> _Stamp | None:
        try:
            status = (self._folder / MANIFEST).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
