from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from schemas.records import FINDING, RECORDS, RECORDS_VERSION, Finding

FOUND = Finding(
    stream="weather",
    key='{"airport": "LGA"}',
    window_start=datetime(2013, 9, 19, tzinfo=UTC),
    window_end=datetime(2013, 9, 26, tzinfo=UTC),
    window_index=None,
    monitor="feature_shift",
    method="moments",
    subject="temp",
    status="tested",
    statistic=12.3,
    threshold=4.1,
    p_value=1e-9,
    effect=0.8,
    alarm=True,
    rank=1,
    explanation="reads 3.1 °C high",
    rows=168,
    baseline_id="abc",
)


@pytest.mark.parametrize(
    "other",
    [
        {"statistic": 1.0},
        {"alarm": False},
        {"explanation": "else"},
        {"baseline_id": "def"},
        {"revision": 2},
        {"rows": 3},
    ],
)
def test_a_finding_keeps_its_id_whatever_it_says(other: dict[str, object]) -> None:
    """A repeated run, or a revision, writes the same finding once."""
    assert replace(FOUND, **other).id == FOUND.id  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        {"stream": "other"},
        {"key": "{}"},
        {"window_start": datetime(2013, 9, 12, tzinfo=UTC)},
        {"window_end": None},
        {"window_index": 3},
        {"monitor": "coverage"},
        {"subject": "rain"},
    ],
)
def test_another_subject_or_window_has_another_id(other: dict[str, object]) -> None:
    """The id is a hash of what the finding is about."""
    assert replace(FOUND, **other).id != FOUND.id  # type: ignore[arg-type]


def test_an_id_is_twenty_hex_digits_and_does_not_change_between_releases() -> None:
    """Ids of earlier runs stay valid: this one was written down once."""
    assert FOUND.id == "ffc7c2443c27d77f46f5"


def test_a_finding_fits_its_arrow_schema_and_reads_back() -> None:
    """Row and schema name the same fields, in the same order."""
    row = FOUND.as_row()
    assert list(row) == FINDING.names
    assert FINDING.names[1:] == [field.name for field in fields(Finding)]
    assert pa.Table.from_pylist([row], FINDING).to_pylist() == [row]


def test_every_record_names_itself_and_its_version() -> None:
    """A reader can tell what it reads."""
    for schema in RECORDS.values():
        assert schema.metadata[b"tidegauge.version"] == str(RECORDS_VERSION).encode()
    assert {s.metadata[b"tidegauge.record"].decode() + "s" for s in RECORDS.values()} == {
        {"summaries": "summarys", "evidence": "evidences"}.get(name, name) for name in RECORDS
    }
