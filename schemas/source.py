"""Where the rows of a stream are: files, and how to read them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FileFormat = Literal["parquet", "csv", "arrow", "jsonl"]

_SUFFIXES: dict[str, FileFormat] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


class Source(BaseModel):
    """Where the rows are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="A file, or a glob of files, on any file system Beam reads.")
    format: FileFormat | None = Field(
        default=None, description="Guessed from the file's suffix when left out."
    )
    null_values: tuple[str, ...] = Field(
        default=("", "NA", "NaN", "nan", "null"), description="CSV texts that mean: no value."
    )
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="CSV only.")

    def format_of(self, path: str) -> FileFormat:
        """Return the format of one file of this source.

        Raises
        ------
        ValueError
            When it is neither given nor told by the suffix.
        """
        if self.format is not None:
            return self.format
        for suffix, name in _SUFFIXES.items():
            if path.lower().endswith(suffix):
                return name
        message = (
            f"{path}: the suffix does not tell the format; "
            f"add `format:` with one of parquet, csv, arrow, jsonl"
        )
        raise ValueError(message)
