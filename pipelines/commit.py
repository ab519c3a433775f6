"""Makes what a run has written the run in its folder: one rename, and the old is the new."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from pipelines.files import write_text
from pipelines.run_folder import MANIFEST, Manifest, Run
from pipelines.sinks import write_part
from schemas.errors import OutputError
from schemas.records import RECORDS

STATE = "state"
SIMILAR = 8  # parts of a like size are put together
_BASE = math.log(SIMILAR)


def adopt(folder: Path, out: Path, name: str) -> list[str]:
    """Move the staged parts of a table into the run folder, and return their names there.

    Raises
    ------
    OutputError
        When they cannot be moved.
    """
    parts = sorted(folder.glob("*.parquet") if folder.is_dir() else [])
    try:
        (out / name).mkdir(parents=True, exist_ok=True)
        for part in parts:
            part.replace(out / name / part.name)
    except OSError as error:
        message = f"{error.filename}: cannot be written: {error.strerror}; move it away"
        raise OutputError(message) from error
    return [f"{name}/{part.name}" for part in parts]


def compact(out: Path, staging: Path, name: str, files: Sequence[str]) -> list[str]:
    """Put small parts together, so that a table of many runs has few: each row moves log n times.

    Returns
    -------
    The files of the table, in their order; new ones stand in the place of the first they replace.
    """
    classes: dict[int, list[str]] = {}
    for file in files:
        rows = pq.read_metadata(out / file).num_rows
        classes.setdefault(int(math.log(max(rows, 1)) / _BASE), []).append(file)
    alike = next((group for group in classes.values() if len(group) >= SIMILAR), None)
    if alike is None:
        return list(files)
    table = pl.scan_parquet(
        [out / file for file in alike], hive_partitioning=False, glob=False
    ).collect()
    write_part(table.to_arrow().cast(RECORDS[name]), staging / "whole" / name)
    (whole,) = adopt(staging / "whole" / name, out, name)
    kept = [file for file in files if file not in alike[1:]]
    kept[kept.index(alike[0])] = whole
    return list(dict.fromkeys(kept))


def commit(out: Path, manifest: Manifest, before: Run | None) -> None:
    """Make a manifest the run folder's, and remove what neither it nor the last one lists.

    Whoever reads by the last manifest finds its parts for one more commit.
    """
    write_text(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    tables = (*manifest["files"].values(), *manifest["state"].values())
    listed = {path for paths in tables for path in paths}
    listed |= set() if before is None else before.listed
    for folder in (*manifest["files"], *(f"{STATE}/{name}" for name in manifest["state"])):
        for part in (out / folder).glob("*.parquet"):
            if f"{folder}/{part.name}" not in listed:
                part.unlink()
