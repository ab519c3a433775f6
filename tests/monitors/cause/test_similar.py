"""Earlier shifts that looked like one, and the shift that a finding is part of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from monitors.cause.similar import MOST, shift_of, similar_shifts
from schemas.records import Finding

WEEK = timedelta(days=7)
START = datetime(2026, 1, 1, tzinfo=UTC)


def finding(week: int, subject: str = "x", kind: str | None = "offset") -> Finding:
    """Return an alarm of a week, of effect 1."""
    return Finding(
        "s", "{}", START + week * WEEK, START + (week + 1) * WEEK, None, "feature_shift",
        "moments", subject, "tested", 8.0, 4.0, 1e-8, 1.0, True, 1, "moved", 168, "b", kind=kind,
    )  # fmt: skip


def shift(
    first: int, last: int, subject: str = "x", kind: str | None = "offset", effect: float = 1.0
) -> dict[str, Any]:
    """Return the row of an episode from one week to another."""
    return {
        "id": f"{subject}-{first}",
        "key": "{}",
        "monitor": "feature_shift",
        "subject": subject,
        "kind": kind,
        "since": None,
        "start": START + first * WEEK,
        "end": START + (last + 1) * WEEK,
        "start_index": None,
        "end_index": None,
        "windows": last - first + 1,
        "effect": effect,
        "explanation": "moved",
        "finding_id": f"finding-{subject}-{first}",
    }


def ids(found: list[Any]) -> list[str]:
    """Return the ids of the shifts."""
    return [one.finding_id.removeprefix("finding-") for one in found]


def test_same_sensor_and_kind_come_first_and_the_latest_of_them() -> None:
    """Then the same kind elsewhere, of the nearest size; then other changes of the same sensor."""
    shifts = [
        shift(0, 0),
        shift(2, 3),
        shift(4, 4, "y", effect=5.0),
        shift(5, 5, "z", effect=1.1),
        shift(6, 6, kind="stuck"),
        shift(7, 7, "y", kind="stuck"),
    ]
    assert ids(similar_shifts(finding(9), shifts)) == ["x-2", "x-0", "z-5", "y-4", "x-6"]


def test_the_shift_itself_and_later_ones_are_no_precedents() -> None:
    """Only what had ended before the window counts."""
    shifts = [shift(3, 6), shift(8, 9), shift(20, 20)]
    assert ids(similar_shifts(finding(9), shifts)) == ["x-3"]
    own = shift_of(finding(9), shifts)
    assert own is not None
    assert own["id"] == "x-8"
    assert shift_of(finding(15), shifts) is None


def test_without_a_kind_only_the_sensor_makes_alike() -> None:
    """Two changes that have no kind are not of the same kind."""
    shifts = [shift(0, 0, "y", kind=None), shift(1, 1, kind=None)]
    assert ids(similar_shifts(finding(9, kind=None), shifts)) == ["x-1"]


def test_there_are_a_few_at_most() -> None:
    """Of many alike, the latest five are told."""
    shifts = [shift(week, week) for week in range(8)]
    assert ids(similar_shifts(finding(20), shifts)) == [
        f"x-{week}" for week in range(7, 7 - MOST, -1)
    ]
