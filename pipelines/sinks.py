"""Writes Arrow tables as Parquet parts, named by their content: a retry adds none."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection

from schemas.errors import OutputError

_ROWS_PER_PART = 1_000_000


def write_part(table: pa.Table, folder: Path) -> Path:
    """Write one Parquet part, named by the hash of its bytes.

    Raises
    ------
    OutputError
        When the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".part-")
        with os.fdopen(handle, "wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        digest = hashlib.blake2b(Path(temporary).read_bytes(), digest_size=10).hexdigest()
        part = folder / f"{digest}.parquet"
        Path(temporary).replace(part)
    except OSError as error:
        message = f"{folder}: cannot be written: {error.strerror or error}"
        raise OutputError(message) from error
    return part


def read_parts(folder: Path) -> pa.Table | None:
    """Return the rows of all parts of a folder; None where there is none."""
    parts = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
    return pa.concat_tables([pq.read_table(part) for part in parts]) if parts else None


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """Give a private folder inside `folder` for the length of a run, and keep others out.

    What a killed run left is removed; a run that fails leaves no `folder` that was not there.

    Raises
    ------
    OutputError
        When the folder cannot be written, or another run is writing it.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        message = f"{folder}: cannot be written: {error.strerror or error}"
        raise OutputError(message) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            message = (
                f"{folder}: another run is writing this folder; wait for it, or choose another"
            )
            raise OutputError(message) from error
        staging = folder / ".staging"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir()
            yield staging
        except BaseException:
            if new and all(part.name.startswith(".") for part in folder.iterdir()):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def readable_errors(folder: Path) -> Iterator[None]:
    """Say in one sentence what keeps a folder from being written, such as a full disk.

    Raises
    ------
    OutputError
    """
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        message = f"{folder}: cannot be written: {reason}; what was committed there is whole"
        raise OutputError(message) from error


class WriteParts(beam.PTransform):
    """Write the tables of a PCollection as Parquet parts of one folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def expand(self, tables: PCollection[pa.Table]) -> Any:
        """Apply the transform."""
        return tables | "write" >> beam.ParDo(_WriteParts(str(self.folder)))


class _WriteParts(beam.DoFn):
    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def start_bundle(self) -> None:
        self.tables: list[pa.Table] = []
        self.rows = 0

    def process(self, table: pa.Table) -> None:
        self.tables.append(table)
        self.rows += table.num_rows
        if self.rows >= _ROWS_PER_PART:
            self._flush()

    def finish_bundle(self) -> None:
        self._flush()

    def _flush(self) -> None:
        if self.rows:
            write_part(pa.concat_tables(self.tables), Path(self.folder))
        self.tables, self.rows = [], 0
