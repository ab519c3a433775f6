"""A folder of baselines of one stream, each for the windows that begin at its time or after it.

A file CURRENT says which they are, so that a new baseline takes its place in one rename. Which
baseline judges a window depends on the window and the folder alone: not on when it is judged, nor
by which worker. So a new baseline can take the old one's place while a stream runs.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from monitors.baseline import Baseline, read_baseline, write_baseline
from schemas.errors import BaselineError, OutputError

CURRENT = "CURRENT"  # a line for each: its id and, but for the first, the time from which it counts


@dataclass(frozen=True, slots=True)
class Version:
    """One baseline of a folder."""

    id: str
    since: datetime | None  #: None for the first


def read_versions(folder: Path) -> list[Version]:
    """Return the versions of a baseline folder, the first one first.

    Raises
    ------
    BaselineError
        When there is none, or the list is damaged.
    """
    try:
        lines = (folder / CURRENT).read_text(encoding="utf-8").splitlines()
        parts = [line.split() for line in lines if line.strip()]
        versions = [
            Version(identity, datetime.fromisoformat(since[0]) if since else None)
            for identity, *since in parts
        ]
    except FileNotFoundError as error:
        message = f"{folder}: there is no baseline here; `tidegauge fit STREAM.yaml` makes one"
        raise BaselineError(message) from error
    except (OSError, ValueError) as error:
        message = f"{folder}: the baseline cannot be read ({error}); fit it again"
        raise BaselineError(message) from error
    if not versions or any(version.since is None for version in versions[1:]):
        message = f"{folder}: {CURRENT} does not say which baseline counts; fit it again"
        raise BaselineError(message)
    return versions


def write_versions(folder: Path, versions: Sequence[Version]) -> None:
    """Make these the versions of a folder, in one rename."""
    lines = [
        version.id if version.since is None else f"{version.id} {version.since.isoformat()}"
        for version in versions
    ]
    pointer = folder / f".{CURRENT}-{os.getpid()}"
    with pointer.open("w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
    pointer.replace(folder / CURRENT)


def save_baseline(baseline: Baseline, folder: Path, since: datetime | None = None) -> Baseline:
    """Write a baseline, let it count from a time on, and return it with its id.

    Parameters
    ----------
    since : windows that begin then or later are judged by it; None: all of them, and the baselines
        that were there before count no more.

    Raises
    ------
    BaselineError
        When there is no baseline for what is before.
    OutputError
        When the folder cannot be written.
    """
    before = []
    if since is not None:
        before = [v for v in read_versions(folder) if v.since is None or v.since < since]
    try:
        written = write_baseline(baseline, folder)
        write_versions(folder, [*before, Version(written.id, since)])
    except OSError as error:
        message = f"{folder}: the baseline cannot be written: {error.strerror or error}"
        raise OutputError(message) from error
    return written


def load_baseline(folder: Path) -> Baseline:
    """Read the last baseline of a folder.

    Raises
    ------
    BaselineError
        When there is none, or it cannot be read.
    """
    return read_baseline(folder, read_versions(folder)[-1].id)


class Baselines:
    """The baselines of a folder, by the start of a window; each is read when it is first needed."""

    def __init__(self, folder: Path, versions: Sequence[Version] | None = None) -> None:
        """Read which versions there are, or take them as given, for good."""
        self.folder, self._pinned = folder, versions is not None
        self._loaded: dict[str, Baseline] = {}
        self._stamp: tuple[int, int] | None = None
        if versions is not None:
            self._take(versions)
        self.refresh()

    def refresh(self) -> None:
        """Look whether there are other versions by now, unless they were given."""
        if self._pinned:
            return
        try:
            status = (self.folder / CURRENT).stat()
            stamp = (status.st_ino, status.st_mtime_ns)
        except OSError:
            stamp = None
        if stamp is not None and stamp == self._stamp:
            return
        self._take(read_versions(self.folder))
        self._stamp = stamp

    def _take(self, versions: Sequence[Version]) -> None:
        self.versions = list(versions)
        self._since = [v.since.timestamp() * 1e6 for v in self.versions[1:] if v.since]
        self._loaded = {v.id: self._loaded[v.id] for v in self.versions if v.id in self._loaded}

    def at(self, start: int | None) -> Baseline:
        """Return the baseline of the windows that begin then (µs since 1970; None: the last)."""
        return self.load(self.id_at(start))

    def id_at(self, start: int | None) -> str:
        """Return the id of that baseline."""
        place = len(self._since) if start is None else bisect.bisect_right(self._since, start)
        return self.versions[place].id

    def load(self, identity: str) -> Baseline:
        """Return one version."""
        if identity not in self._loaded:
            self._loaded[identity] = read_baseline(self.folder, identity)
        return self._loaded[identity]


def since_text(text: str) -> datetime:
    """Read the time from which a baseline counts: ISO 8601, UTC where it has no zone.

    Raises
    ------
    BaselineError
        When it is no time.
    """
    try:
        since = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"--since {text}: not a time; write one such as 2026-01-31T00:00:00Z"
        raise BaselineError(message) from error
    return since if since.tzinfo else since.replace(tzinfo=UTC)
