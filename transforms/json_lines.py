"""JSON Lines to Arrow tables: whole blocks at once, line by line only where a block has a fault."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.errors import SourceError
from transforms.rejects import Reject

BLOCK = 4 << 20  # bytes parsed at a time
_VOTERS = 1_000  # values that decide the type of a column
_INT64 = range(-(2**63), 2**63)
_BOM = b"\xef\xbb\xbf"
# an escaped half of a surrogate pair: Polars makes invalid UTF-8 of it
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]"
)

_Object = Mapping[str, object]
_Types = Mapping[str, pl.DataType]


def read_lines(
    file: BinaryIO, path: str, names: Sequence[str]
) -> Iterator[tuple[pa.Table, np.ndarray, list[Reject]]]:
    """Yield the columns asked for, the positions of their rows, and the lines that are no object.

    A missing key is a null, blank lines are no rows. A block that does not fit the types known so
    far is read line by line: its lines that fit keep their types, the others follow in a table of
    strings, so that one odd value does not change the type of its neighbours.

    Raises
    ------
    SourceError
        When no line of the first block is a JSON object.
    """
    types: _Types = {name: pl.Null() for name in names}
    first = 0
    for block in _blocks(file):
        if first == 0:
            head = (_try_object(line) for line in block.split(b"\n", _VOTERS)[:_VOTERS])
            types = _widened(types, [row for row in head if row is not None])
        table = _read_block(block, types)
        if table is not None:
            yield table, np.arange(first, first + table.num_rows), []
            first += table.num_rows
            continue
        rows: dict[int, _Object] = {}
        rejects: list[Reject] = []
        lines = _lines(block)
        for position, line in enumerate(lines, first):
            try:
                rows[position] = _object(line)
            except ValueError as error:
                raw = line.decode("utf-8", errors="replace")
                rejects.append(Reject(position, "json", None, str(error), raw))
        if first == 0 and rejects and not rows:
            raise SourceError(
                f"{path}: no line is a JSON object; "
                f"write one object per line, or correct `format:` in the stream file"
            )
        types = _widened(types, rows.values())
        fits = {at: row for at, row in rows.items() if _fits(row, types)}
        odd = {at: row for at, row in rows.items() if at not in fits}
        yield _table(fits, types), np.array(list(fits), dtype=np.int64), rejects
        if odd:
            as_text = dict.fromkeys(names, pl.String())
            yield _table(odd, as_text), np.array(list(odd), dtype=np.int64), []
        first += len(lines)


def keys_of(file: BinaryIO) -> list[str]:
    """Return the keys of the objects of the first block, in the order they appear."""
    rows = (_try_object(line) for line in _lines(next(_blocks(file), b"")))
    return list(dict.fromkeys(key for row in rows if row is not None for key in row))


def count_lines(file: BinaryIO) -> int:
    """Return the number of lines that are not blank."""
    return sum(len(_lines(block)) for block in _blocks(file))


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield blocks of whole lines."""
    held = file.read(len(_BOM)).removeprefix(_BOM)
    while more := file.read(BLOCK):
        body, newline, rest = more.rpartition(b"\n")
        if newline:
            yield held + body
            held = rest
        else:
            held += more
    if held.strip():
        yield held


def _lines(block: bytes) -> list[bytes]:
    return [line for line in block.split(b"\n") if line.strip()]


def _read_block(block: bytes, types: _Types) -> pa.Table | None:
    """Return a block all of whose lines are objects of these types, else None."""
    if not types:
        return None  # without a column, Polars would not look into the lines
    if b"\\" in block and _LONE_SURROGATE.search(block):
        return None
    try:
        frame = pl.read_ndjson(block, schema=types)
    except pl.exceptions.PolarsError:
        return None
    return frame.to_arrow() if frame.height == block.strip(b"\n").count(b"\n") + 1 else None


def _object(line: bytes) -> _Object:
    """Return the object of one line; a ValueError says why there is none."""
    try:
        value = json.loads(line.decode())
        if b"\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()  # fails on half a surrogate pair
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object")  # noqa: TRY004
    return value


def _try_object(line: bytes) -> _Object | None:
    try:
        return _object(line)
    except ValueError:
        return None


def _widened(types: _Types, rows: Iterable[_Object]) -> _Types:
    """Return the types with unknown ones decided by vote, and integers made floats by a float."""
    rows = list(rows)
    widened = dict(types)
    for name, known in types.items():
        values = (row[name] for row in rows if row.get(name) is not None)
        if known == pl.Null():
            votes = Counter(map(_type_of, islice(values, _VOTERS)))
            widened[name] = max(votes, key=votes.__getitem__, default=pl.Null())
        if widened[name] == pl.Int64() and any(isinstance(row.get(name), float) for row in rows):
            widened[name] = pl.Float64()
    return widened


def _type_of(value: object) -> pl.DataType:
    if isinstance(value, bool):
        return pl.Boolean()
    if isinstance(value, float):
        return pl.Float64()
    return pl.Int64() if isinstance(value, int) and value in _INT64 else pl.String()


def _fits(row: _Object, types: _Types) -> bool:
    for name, known in types.items():
        value = row.get(name)
        if value is None or known == pl.String():
            continue
        if _type_of(value) != known and (known, _type_of(value)) != (pl.Float64(), pl.Int64()):
            return False
    return True


def _table(rows: Mapping[int, _Object], types: _Types) -> pa.Table:
    columns = {
        name: pl.Series(
            name,
            [
                _text(row.get(name)) if kind == pl.String() else row.get(name)
                for row in rows.values()
            ],
            dtype=kind,
            strict=False,  # an integer among floats is a float
        )
        for name, kind in types.items()
    }
    return pl.DataFrame(columns).to_arrow()


def _text(value: object) -> str | None:
    """Return a value as text, spelt as Polars spells it in the fast path."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
