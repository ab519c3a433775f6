"""Avro messages to rows: object containers, single objects, and plain datums of known schemas."""

from __future__ import annotations

import base64
import functools
import io
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import fastavro
import pyarrow as pa
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from schemas.errors import SourceError

_CONTAINER = b"Obj\x01"
_SINGLE_OBJECT = b"\xc3\x01"  # then the fingerprint of the schema, 8 bytes
_REGISTRY = b"\x00"  # Confluent's wire format: then the number of the schema, 4 bytes

Row = Mapping[str, Any]
_T = TypeVar("_T")


@functools.lru_cache(maxsize=16)
def load_schemas(files: tuple[str, ...]) -> dict[bytes, Any]:
    """Return the schemas of files by their fingerprints (CRC-64-AVRO), in the order given.

    Raises
    ------
    SourceError
        When a file cannot be read, or holds no Avro schema of a record.
    """
    schemas = {}
    for file in files:
        try:
            schema = parse_schema(json.loads(Path(file).read_text(encoding="utf-8")))
            name = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
        except OSError as error:
            raise SourceError(
                f"{file}: cannot be read: {error.strerror or error}; "
                f"correct `avro_schemas` in the stream file"
            ) from error
        except Exception as error:  # fastavro's have no common base
            raise SourceError(f"{file}: is no Avro schema: {error}; give one as JSON") from error
        if not isinstance(schema, dict) or schema["type"] != "record":
            raise SourceError(f"{file}: is not the schema of a record, which a row is")
        schemas[bytes.fromhex(name)] = schema
    return schemas


def read_rows(value: bytes, schemas: Mapping[bytes, Any], most: int) -> tuple[list[Row], bool]:
    """Return the rows of one message, at most `most` and one, and whether it is a container.

    A container carries its schema, a single object the fingerprint of one of `schemas`. Any other
    message, without the head that Confluent's clients write where it has one, is a datum of the
    first of `schemas` which it fits to its last byte.

    Raises
    ------
    ValueError
        When it is none of these, saying why.
    """
    if value.startswith(_CONTAINER):
        rows = _guarded(lambda: list(islice(fastavro.reader(io.BytesIO(value)), most + 1)))
        records: list[Row] = [row for row in rows if isinstance(row, dict)]
        if len(records) < len(rows):
            raise ValueError("the container holds no records")
        return records, True
    if value.startswith(_SINGLE_OBJECT):
        schema = schemas.get(value[2:10])
        if schema is not None:
            return [_datum(value, 10, schema)], False
    heads = (5, 0) if value.startswith(_REGISTRY) else (0,)
    for start in heads:
        for schema in schemas.values():
            try:
                return [_datum(value, start, schema)], False
            except ValueError:
                continue
    if not schemas:
        raise ValueError("no object container, and the stream file names no `avro_schemas`")
    raise ValueError("neither an object container nor a datum of one of `avro_schemas`")


def rows_to_table(rows: Sequence[Row], names: Sequence[str]) -> pa.Table:
    """Return the named fields of rows; nested values as JSON, bytes as text or in base 64."""
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _datum(value: bytes, start: int, schema: dict[str, Any]) -> Row:
    buffer = io.BytesIO(value)
    buffer.seek(start)
    row = _guarded(lambda: fastavro.schemaless_reader(buffer, schema, None))
    if not isinstance(row, dict) or buffer.tell() != len(value):
        raise ValueError("bytes are left over after the datum")
    return row


def _guarded(read: Callable[[], _T]) -> _T:
    try:
        return read()
    except Exception as error:  # fastavro fails in many ways, with no common base
        says = str(error) or "it ends too early"
        raise ValueError(f"damaged: {type(error).__name__}: {says}") from error


def _column(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values}
    if kinds & {bytes, dict, list}:
        values = [_plain(value) for value in values]
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):  # of several types
        return pa.array([None if v is None else str(_plain(v)) for v in values], pa.string())


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return bytes_as_text(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def bytes_as_text(value: bytes) -> str:
    """Return bytes as the UTF-8 text that they are, else in base 64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
