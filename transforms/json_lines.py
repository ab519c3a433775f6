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
_DECODER = json.JSONDecoder()
_BLANKS = " \t\n\r"
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
    far is read line by line: its lines that fit keep their types, the others follow in a table with
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
        lines = _lines(block)
        rows, rejects = _objects(lines, first)
        if first == 0 and rejects and not rows:
            raise SourceError(
                f"{path}: no line is a JSON object; "
                f"write one object per line, or correct `format:` in the stream file"
            )
        types = _widened(types, rows.values())
        yield from _by_fit(rows, types, rejects)
        first += len(lines)


def read_objects(
    lines: Sequence[bytes], names: Sequence[str]
) -> Iterator[tuple[pa.Table, np.ndarray, list[Reject]]]:
    """Yield what `read_lines` does, of lines in memory; none is blank, positions are indices.

    A few faulty lines do not slow down the others much: what is left without them is read at once.
    """
    types: _Types = {name: pl.Null() for name in names}
    head = map(_try_object, lines[:_VOTERS])
    types = _widened(types, [row for row in head if row is not None])
    table = _read_block(b"\n".join(lines), types)
    if table is not None and table.num_rows == len(lines):
        yield table, np.arange(len(lines)), []
        return
    rows, rejects = _objects(lines, 0)
    types = _widened(types, rows.values())
    for mixed in ({}, _mixed(rows.values(), types)):
        kept = [at for at, row in rows.items() if _fits(row, mixed)]
        table = _read_block(b"\n".join(lines[at] for at in kept), types)
        if table is not None and table.num_rows == len(kept):
            yield table, np.array(kept, dtype=np.int64), rejects
            rows, rejects = {at: rows[at] for at in rows.keys() - set(kept)}, []
            break
    yield from _by_fit(rows, types, rejects)


def elements_of(value: bytes) -> list[bytes]:
    """Return the JSON values of an array, else the one value, as lines that are not blank.

    Raises
    ------
    ValueError
        When it is no JSON.
    """
    text = value.decode().strip(_BLANKS)
    if not text.startswith("["):
        _parse(text, 0)  # a line break may stand between tokens only
        return [text.replace("\n", " ").encode()]
    elements = []
    at = _after_blanks(text, 1)
    more = text[at:] != "]"
    while more:
        end = _parse(text, at)
        elements.append(text[at:end].replace("\n", " ").encode())
        at = _after_blanks(text, end)
        more = text[at : at + 1] == ","
        at = _after_blanks(text, at + 1) if more else at
    if text[at:] != "]":
        raise ValueError(f"Expecting ',' or ']': char {at}")
    return elements


def keys_of(file: BinaryIO) -> list[str]:
    """Return the keys of the objects of the first block, in the order they appear."""
    rows = (_try_object(line) for line in _lines(next(_blocks(file), b"")))
    return list(dict.fromkeys(key for row in rows if row is not None for key in row))


def count_lines(file: BinaryIO) -> int:
    """Return the number of lines that are not blank."""
    return sum(len(_lines(block)) for block in _blocks(file))


def _objects(lines: Sequence[bytes], first: int) -> tuple[dict[int, _Object], list[Reject]]:
    """Return the objects of lines by their positions, and the lines that are no object."""
    rows: dict[int, _Object] = {}
    rejects: list[Reject] = []
    for position, line in enumerate(lines, first):
        try:
            rows[position] = _object(line)
        except ValueError as error:
            raw = line.decode("utf-8", errors="replace")
            rejects.append(Reject(position, "json", None, str(error), raw))
    return rows, rejects


def _parse(text: str, at: int) -> int:
    """Return where the JSON value that begins at a place ends."""
    try:
        return _DECODER.raw_decode(text, at)[1]
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _after_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in tuple(_BLANKS):
        at += 1
    return at


def _by_fit(
    rows: Mapping[int, _Object], types: _Types, rejects: list[Reject]
) -> Iterator[tuple[pa.Table, np.ndarray, list[Reject]]]:
    """Yield the rows that fit the types, then the others, with strings where one does not fit."""
    mixed = _mixed(rows.values(), types)
    fits = {at: row for at, row in rows.items() if _fits(row, mixed)}
    odd = {at: row for at, row in rows.items() if at not in fits}
    if fits or rejects:
        yield _table(fits, types), np.array(list(fits), dtype=np.int64), rejects
    if odd:
        misfits = {
            name
            for name, known in mixed.items()
            if any(not _fits(row, {name: known}) for row in odd.values())
        }
        own = {name: pl.String() if name in misfits else known for name, known in types.items()}
        yield _table(odd, own), np.array(list(odd), dtype=np.int64), []


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


def _mixed(rows: Iterable[_Object], types: _Types) -> _Types:
    """Return the types of the columns with a value that may be of another type."""
    kept = list(rows)
    mixed = {}
    for name, known in types.items():
        own = {pl.Float64(): float, pl.Boolean(): bool}.get(known)
        if not {type(row.get(name)) for row in kept} <= {own, type(None)}:
            mixed[name] = known
    return mixed


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
