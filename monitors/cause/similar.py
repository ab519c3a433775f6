"""Earlier shifts of a run that looked like this one: what was done about them may help again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from monitors.cause.record import Similar
from schemas.records import Finding

MOST = 5
_FIELDS = ("subject", "kind", "start", "end", "start_index", "windows", "effect", "explanation")


def similar_shifts(finding: Finding, shifts: Sequence[Mapping[str, Any]]) -> list[Similar]:
    """Return earlier shifts of the same monitor, the most alike first.

    Those of the same subject and kind come first, the latest of them before older ones; then those
    of the same kind, of the nearest effect; then others of the same subject.

    Parameters
    ----------
    shifts : rows of `schemas.records.EPISODE`; those that had ended before the finding's window
        count, and so never the one that it is part of.
    """
    earlier = [
        row for row in shifts if row["monitor"] == finding.monitor and _ended_before(row, finding)
    ]
    ranked = sorted(earlier, key=lambda row: (_unlike(row, finding), -_start(row), row["id"]))
    return [
        Similar(finding_id=row["finding_id"], **{name: row[name] for name in _FIELDS})
        for row in ranked
        if _unlike(row, finding) < (3, 0.0)
    ][:MOST]


def shift_of(finding: Finding, shifts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the shift that a finding is part of; None where it is part of none."""
    about = ("key", "monitor", "subject")
    return next(
        (
            row
            for row in shifts
            if all(row[name] == getattr(finding, name) for name in about)
            and not _ended_before(row, finding)
            and _begun_by(row, finding)
        ),
        None,
    )


def _ended_before(row: Mapping[str, Any], finding: Finding) -> bool:
    if finding.window_start is not None:
        return bool(row["end"] <= finding.window_start)
    return bool(row["end_index"] < finding.window_index)


def _begun_by(row: Mapping[str, Any], finding: Finding) -> bool:
    if finding.window_start is not None:
        return bool(row["start"] <= finding.window_start)
    return bool(row["start_index"] <= finding.window_index)


def _unlike(row: Mapping[str, Any], finding: Finding) -> tuple[int, float]:
    """Return how unlike a shift is: first by what it is about, then by how large it is."""
    same_kind = finding.kind is not None and row["kind"] == finding.kind
    same_subject = row["subject"] == finding.subject
    if same_kind and same_subject:
        return 0, 0.0
    if same_kind:
        return 1, _distance(row["effect"], finding.effect)
    return (2, 0.0) if same_subject else (3, 0.0)


def _distance(one: float | None, other: float | None) -> float:
    if not one or not other:
        return math.inf
    return abs(math.log(abs(one / other)))


def _start(row: Mapping[str, Any]) -> float:
    start = row["start"]
    return float(row["start_index"] or 0) if start is None else float(start.timestamp())
