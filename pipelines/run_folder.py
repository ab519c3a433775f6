"""Reads what `tidegauge run` left: the manifest run.json, and the Parquet parts that it lists."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, NotRequired

import polars as pl
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # Pydantic asks for this one before Python 3.12

from monitors.snapshot import RunReader, RunSnapshot
from schemas.errors import BaselineError, OutputError
from schemas.records import RECORDS, WindowKey
from schemas.stream import Stream

if TYPE_CHECKING:
    from monitors.baseline import Baseline
    from monitors.window import WindowPart

MANIFEST = "run.json"  # written last: a folder without it is no run, or one that is not finished
RUN_VERSION = 3


def _instant(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        message = "a time without a zone"
        raise ValueError(message)
    return text


Instant = Annotated[str, AfterValidator(_instant)]  # ISO 8601 with a zone

#: Rows read, and what became of them.
RowCounts = TypedDict("RowCounts", {"in": int, "used": int, "rejected": int, "late": int})


class OutcomeCounts(TypedDict):
    """Outcomes so far; a row has one value of each target, and rejected rows have none.

    Values = used + repeated + unmatched + waiting + null.
    """

    rows: int  #: read from the files of outcomes
    rejected: int  #: of them, that could not be used or became known too late
    used: int  #: values that became the outcome of a forecast, revisions included
    repeated: int  #: values that said nothing new
    unmatched: int  #: values that no forecast awaited
    waiting: int  #: values whose forecast may still come
    null: int  #: values that are null: nothing is known yet
    after_final: int  #: outcomes of forecasts whose windows were final: no monitor saw them


def outcome_sentence(counts: OutcomeCounts) -> str:
    """Say that every outcome is accounted for."""
    return (
        f"outcomes: {counts['rows']:,} rows in, {counts['rejected']:,} rejected; values: "
        f"{counts['used']:,} used, {counts['repeated']:,} repeated, {counts['unmatched']:,} "
        f"without forecast, {counts['waiting']:,} waiting for theirs, {counts['null']:,} null"
    )


class RefitTried(TypedDict):
    """The last attempt to fit a new baseline because monitors alarmed."""

    window_end: Instant  #: of the last window that called for it
    baseline_id: str | None  #: None: it failed
    note: str


@with_config(ConfigDict(extra="allow"))
class Manifest(TypedDict):
    """What run.json holds; keys that a later version adds are kept."""

    version: int
    stream: dict[str, Any]  #: the stream file, as JSON
    baseline_id: str
    baseline_folder: str  #: absolute path, where it was at the time
    started: Instant
    finished: Instant
    duration_seconds: float
    rows: RowCounts
    windows: int
    reference: dict[str, Any]
    files: dict[str, list[str]]  #: Parquet parts by table, relative to the folder
    baselines: list[list[str | None]]  #: id and since when, of each version
    ticks: int  #: commits
    watermark: Instant | None
    progress: dict[str, Any]  #: see `pipelines.progress`
    state: dict[str, list[str]]  #: of windows that are not final; see `pipelines.window_state`
    control: dict[str, Any]  #: state of `monitors.alarms.control`
    outcomes: NotRequired[OutcomeCounts]  #: of a stream whose file has `outcomes`
    refit: NotRequired[RefitTried]


_MANIFEST = TypeAdapter(Manifest)


def row_sentence(rows: RowCounts) -> str:
    """Say that every row is accounted for."""
    return (
        f"rows: {rows['in']:,} in = {rows['used']:,} used + {rows['rejected']:,} rejected "
        f"+ {rows['late']:,} late"
    )


_WINDOW = ("key", "window_start", "window_end", "window_index")
#: What makes rows of a table one and the same: the last revision of each counts.
_SAME = {
    "findings": ("id",),
    "summaries": (*_WINDOW, "column"),
    "expectations": (*_WINDOW, "expectation"),
    "evidence": _WINDOW,
}


def scan_parts(name: str, parts: Sequence[Path]) -> pl.LazyFrame:
    """Return the rows of some parts of a table of `RECORDS`, unread, in all their revisions."""
    if not parts:
        return pl.DataFrame(RECORDS[name].empty_table()).lazy()
    return pl.scan_parquet(list(parts), hive_partitioning=False, glob=False)


def read_tables(name: str, parts: Sequence[Path]) -> pl.LazyFrame:
    """Return the rows of some parts of a table of `RECORDS`, unread; revised ones once."""
    rows = scan_parts(name, parts)
    if name not in _SAME:
        return rows
    return rows.sort("revision", maintain_order=True).unique(
        _SAME[name], keep="last", maintain_order=True
    )


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run."""

    folder: Path
    manifest: Manifest
    stream: Stream

    def parts(self, name: str) -> list[Path]:
        """Return the Parquet files of one table, in the manifest's order."""
        return [self.folder / part for part in self.manifest["files"].get(name, [])]

    @property
    def listed(self) -> set[str]:
        """Everything that the manifest lists, relative to the folder."""
        tables = (*self.manifest["files"].values(), *self.manifest["state"].values())
        return {part for parts in tables for part in parts}

    def state(self, name: str) -> list[Path]:
        """Return the Parquet files of one table of the state."""
        return [self.folder / part for part in self.manifest["state"].get(name, [])]

    def scan(self, name: str) -> pl.LazyFrame:
        """Return one table of `RECORDS`, unread; an empty one where the run has none."""
        return read_tables(name, self.parts(name))

    def table(self, name: str) -> pl.DataFrame:
        """Return one table of `RECORDS`.

        Raises
        ------
        OutputError
            When a part is damaged.
        """
        try:
            return self.scan(name).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _damaged(self.folder, error) from error

    def evidence_of(self, about: WindowKey | Mapping[str, Any]) -> WindowPart | None:
        """Return the profile, and the rows kept, of a window in which something alarmed.

        Parameters
        ----------
        about : a window, as it was judged last, or a row of `FINDING`.

        Returns
        -------
        None where none was kept.

        Raises
        ------
        OutputError
            When a part is damaged.
        """
        from monitors.window_codec import decode_part

        if isinstance(about, WindowKey):
            about = dict(
                zip(_WINDOW, (about.key, about.start, about.end, about.index), strict=True)
            )
        same = (*_WINDOW, "revision", "baseline_id")
        wanted = [pl.col(n).eq_missing(pl.lit(about[n])) for n in same if n in about]
        found = scan_parts("evidence", self.parts("evidence")).filter(*wanted)
        try:
            last = found.sort("revision").tail(1).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _damaged(self.folder, error) from error
        return None if last.is_empty() else decode_part(last["part"].item())

    def baseline(self, identity: str, folder: Path | None = None) -> Baseline:
        """Return a baseline that windows of this run were judged by.

        Parameters
        ----------
        folder : that holds it; None: the one that it was in.

        Raises
        ------
        BaselineError
            When it is no longer there, or cannot be read.
        """
        from monitors.baseline import read_baseline

        place = Path(self.manifest["baseline_folder"]) if folder is None else folder
        if not (place / identity).is_dir():
            message = (
                f"{place}: the baseline {identity} that this run was judged by is not there; "
                f"give the folder that holds it with --baseline"
            )
            raise BaselineError(message)
        return read_baseline(place, identity)

    def snapshot(self) -> RunSnapshot:
        """Reduce the run to what is exported.

        Raises
        ------
        OutputError
            When a part is damaged.
        """
        try:
            return RunReader().read(self.manifest, self.folder)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _damaged(self.folder, error) from error


def open_run(folder: str | Path) -> Run:
    """Open a run folder; no table is read yet.

    Raises
    ------
    OutputError
        When it is no run folder, was written by a newer version, or lacks a part.
    """
    folder = Path(folder)
    manifest = _manifest(folder / MANIFEST)
    try:
        stream = Stream.model_validate(manifest["stream"])
    except ValidationError as error:
        _refuse(folder / MANIFEST, f"its stream is not valid: {_first(error)}")
    run = Run(folder, manifest, stream)
    root = folder.resolve()
    tables = [part for name in RECORDS for part in run.parts(name)]
    for part in [*tables, *(part for name in manifest["state"] for part in run.state(name))]:
        if not part.resolve().is_relative_to(root):
            _refuse(folder / MANIFEST, f"it lists {part}, which is outside the run folder")
        if not part.is_file():
            message = f"{folder}: the part {part.relative_to(folder)} is missing; run again"
            raise OutputError(message)
    return run


def _damaged(folder: Path, error: Exception) -> OutputError:
    reason = str(error).partition("\n")[0]
    return OutputError(f"{folder}: a part of this run cannot be read: {reason}; run again")


def _manifest(path: Path) -> Manifest:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        seen = "there is no such folder" if not path.parent.is_dir() else f"it has no {MANIFEST}"
        message = (
            f"{path.parent}: not a finished run: {seen}; name the folder that `tidegauge run` wrote"
        )
        raise OutputError(message) from error
    except NotADirectoryError as error:
        message = f"{path.parent}: a file; name the folder that `tidegauge run` wrote"
        raise OutputError(message) from error
    except IsADirectoryError as error:
        message = f"{path}: cannot be written or read: it is a folder; move it away"
        raise OutputError(message) from error
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or not JSON
        _refuse(path, str(error))
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, int) and version < RUN_VERSION:
        message = (
            f"{path}: written by an older tidegauge (run format {version}, now {RUN_VERSION}); "
            f"`tidegauge run --anew` writes it again"
        )
        raise OutputError(message)
    if isinstance(version, int) and version > RUN_VERSION:
        message = (
            f"{path}: written by a newer tidegauge (run format {version}; this one reads up to "
            f"{RUN_VERSION}); upgrade tidegauge"
        )
        raise OutputError(message)
    try:
        return _MANIFEST.validate_python(document, strict=True)
    except ValidationError as error:
        _refuse(path, _first(error))


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}".removeprefix(": ")


def _refuse(path: Path, reason: str) -> NoReturn:
    message = f"{path}: cannot be read as the manifest of a run: {reason}"
    raise OutputError(message)
