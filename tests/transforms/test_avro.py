"""Avro messages: what each way of writing gives, and what is no datum of a known schema."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SourceError
from transforms.avro import load_schemas, read_rows, rows_to_table

NEW = {
    "type": "record",
    "name": "new",
    "fields": [{"name": "a", "type": "double"}, {"name": "b", "type": "string"}],
}
OLD = {"type": "record", "name": "old", "fields": [{"name": "a", "type": "double"}]}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    """Return the files of two schemas, the newest first."""
    for name, schema in (("new", NEW), ("old", OLD)):
        (tmp_path / f"{name}.avsc").write_text(json.dumps(schema))
    return tuple(str(tmp_path / f"{name}.avsc") for name in ("new", "old"))


def datum(schema: dict[str, Any], row: dict[str, Any]) -> bytes:
    """Return a plain datum."""
    file = io.BytesIO()
    fastavro.schemaless_writer(file, fastavro.parse_schema(schema), row)
    return file.getvalue()


def fingerprint(schema: dict[str, Any]) -> bytes:
    """Return the CRC-64-AVRO of a schema, by the algorithm of the specification."""
    empty = 0xC15D213AA4D7A795
    table = []
    for entry in range(256):
        value = entry
        for _ in range(8):
            value = (value >> 1) ^ (empty if value & 1 else 0)
        table.append(value)
    value = empty
    for byte in fastavro.schema.to_parsing_canonical_form(fastavro.parse_schema(schema)).encode():
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    return value.to_bytes(8, "little")


ROW = {"a": 1.5, "b": "x"}


@pytest.mark.parametrize(
    "head",
    [b"", b"\x00\x00\x00\x00\x07", b"\xc3\x01" + fingerprint(NEW)],
    ids=["plain", "registry", "single object"],
)
def test_a_datum_of_a_known_schema_is_a_row(files: tuple[str, ...], head: bytes) -> None:
    """It is read with or without the heads that clients write."""
    assert read_rows(head + datum(NEW, ROW), load_schemas(files), 10) == ([ROW], False)


def test_the_first_schema_that_fits_is_taken(files: tuple[str, ...]) -> None:
    """A datum of an older schema fails the newer one, to the last byte."""
    assert read_rows(datum(OLD, {"a": 2.5}), load_schemas(files), 10) == ([{"a": 2.5}], False)


@pytest.mark.parametrize(
    "value",
    [b"", b"\x01", b"Obj\x01", datum(NEW, ROW)[:-1], datum(NEW, ROW) + b"\x00", b"\xc3\x01" * 9],
)
def test_anything_else_is_refused(files: tuple[str, ...], value: bytes) -> None:
    """What is cut, or longer than its schema says, is no row."""
    with pytest.raises(ValueError, match=r"damaged|neither"):
        read_rows(value, load_schemas(files), 10)


def test_a_datum_without_schemas_is_refused() -> None:
    """Without schemas only containers can be read."""
    with pytest.raises(ValueError, match="the stream file names no `avro_schemas`"):
        read_rows(datum(NEW, ROW), {}, 10)


def test_a_container_of_no_records_is_refused() -> None:
    """Numbers are no rows."""
    file = io.BytesIO()
    fastavro.writer(file, {"type": "long"}, [1, 2])
    with pytest.raises(ValueError, match="the container holds no records"):
        read_rows(file.getvalue(), {}, 10)


def test_a_container_is_not_read_beyond_its_bound() -> None:
    """One row more than allowed is read, to tell that there are too many."""
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(NEW), [ROW] * 50)
    rows, container = read_rows(file.getvalue(), {}, 10)
    assert (len(rows), container) == (11, True)


@given(value=st.binary(max_size=200))
def test_no_bytes_stop_the_stream(value: bytes) -> None:
    """Whatever the bytes, there are rows or a reason."""
    schema = fastavro.parse_schema(NEW)
    for head in (b"", b"Obj\x01", b"\x00", b"\xc3\x01"):
        with suppress(ValueError):
            rows, _ = read_rows(head + value, {b"": schema}, 10)
            assert all(set(row) == {"a", "b"} for row in rows if not head.startswith(b"Obj"))


def test_fields_become_columns() -> None:
    """Each field keeps its type where there is one; nested values are JSON, bytes are text."""
    rows: list[dict[str, Any]] = [
        {"n": 1, "d": Decimal("1.5"), "x": {"y": [1]}, "b": b"abc", "m": 1},
        {"n": 2.5, "d": None, "x": None, "b": b"\xff", "m": "two"},
    ]
    table = rows_to_table(rows, ["n", "d", "x", "b", "m", "gone"])
    assert table.to_pydict() == {
        "n": [1.0, 2.5],
        "d": [Decimal("1.5"), None],
        "x": ['{"y": [1]}', None],
        "b": ["abc", "/w=="],
        "m": ["1", "two"],
        "gone": [None, None],
    }
    assert table.schema.field("n").type == pa.float64()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is no Avro schema"),
        ('{"type": "nonsense"}', "is no Avro schema"),
        ('"long"', "is not the schema of a record"),
    ],
)
def test_a_file_that_is_no_schema_is_named(tmp_path: Path, text: str | None, says: str) -> None:
    """The error names the file and what is wrong with it."""
    file = tmp_path / "x.avsc"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SourceError, match=f"x.avsc: {says}"):
        load_schemas((str(file),))
