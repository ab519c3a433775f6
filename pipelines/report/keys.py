"""The keys of a stream: which of them alarmed most, and which features in how many keys."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from monitors.rollup import ALL_KEYS
from pipelines.report.timeline import COLUMNS
from pipelines.report.words import key_label, listed

MOST = 20  # rows of each table


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key over the whole run."""

    key: str
    tested: int  #: windows
    alarmed: int  #: windows
    named: str  #: what alarmed, the most frequent first


@dataclass(frozen=True, slots=True)
class SubjectRow:
    """One subject over all keys."""

    subject: str
    keys: int  #: in which it was named
    alarmed: int  #: windows of one key
    together: int  #: windows of all keys together


def number_of_keys(findings: pl.DataFrame) -> int:
    """Return how many keys there are findings about."""
    return findings.filter(pl.col("key") != ALL_KEYS)["key"].n_unique()


def key_rows(findings: pl.DataFrame) -> tuple[list[KeyRow], int]:
    """Return the keys with the most alarms, and how many keys have any."""
    single = findings.filter(pl.col("key") != ALL_KEYS)
    named = (
        single.filter("alarm")
        .group_by("key", "subject")
        .len("times")
        .sort("times", "subject", descending=[True, False])
        .group_by("key", maintain_order=True)
        .agg(pl.col("subject"))
    )
    window = pl.struct(COLUMNS)
    rows = (
        single.group_by("key")
        .agg(
            tested=window.filter(pl.col("status") == "tested").n_unique(),
            alarmed=window.filter(pl.col("alarm")).n_unique(),
            ratio=pl.col("ratio").max(),
        )
        .filter(pl.col("alarmed") > 0)
        .join(named, on="key")
        .sort("alarmed", "ratio", "key", descending=[True, True, False], nulls_last=True)
    )
    shown = [
        KeyRow(key_label(row["key"]), row["tested"], row["alarmed"], listed(row["subject"]))
        for row in rows.head(MOST).iter_rows(named=True)
    ]
    return shown, len(rows)


def subject_rows(findings: pl.DataFrame) -> list[SubjectRow]:
    """Return the subjects that were named, those named in most keys first."""
    together = pl.col("key") == ALL_KEYS
    rows = (
        findings.filter("alarm")
        .group_by("subject")
        .agg(
            keys=pl.col("key").filter(~together).n_unique(),
            alarmed=pl.struct("key", *COLUMNS).filter(~together).n_unique(),
            together=pl.struct(COLUMNS).filter(together).n_unique(),
        )
        .sort("keys", "together", "subject", descending=[True, True, False])
    )
    return [SubjectRow(**row) for row in rows.head(MOST).iter_rows(named=True)]
