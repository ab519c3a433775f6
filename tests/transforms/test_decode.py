from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SourceError
from schemas.records import REJECT
from schemas.source import Source
from transforms import decode
from transforms.decode import Decoded, count_rows, read_batches, read_schema
from transforms.rejects import ROW

TABLE = pa.table({"a": [1, 2, 3, 4, 5], "b": ["x", "y", None, "é\n", '"'], "c": [0.5] * 5})


def as_parquet(table: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=2)
    return out.getvalue()


def as_arrow(table: pa.Table, opener: Callable[..., Any] = pa.ipc.new_file) -> bytes:
    """Return a table as an Arrow file (or stream), two rows in each record batch."""
    out = io.BytesIO()
    with opener(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return out.getvalue()


def as_stream(table: pa.Table) -> bytes:
    """Return a table in the Arrow stream format."""
    return as_arrow(table, pa.ipc.new_stream)


def as_csv(table: pa.Table) -> bytes:
    """Return a table as a CSV file."""
    out = io.BytesIO()
    pcsv.write_csv(table, out)
    return out.getvalue()


def as_jsonl(table: pa.Table) -> bytes:
    """Return a table as JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()


FORMATS = [
    ("t.parquet", as_parquet),
    ("t.arrow", as_arrow),
    ("t.arrow", as_stream),
    ("t.csv", as_csv),
    ("t.jsonl", as_jsonl),
]


def parts(
    data: bytes,
    path: str,
    columns: Sequence[str] | None = None,
    rows: int = 65_536,
    **source: Any,
) -> list[Decoded]:
    """Decode a file."""
    given = Source(path=path, **source)
    return list(read_batches(io.BytesIO(data), path, given, columns, "s", rows))


def rows_of(decoded: list[Decoded]) -> list[dict[str, Any]]:
    """Return all rows decoded."""
    return [row for part in decoded for row in part.batch.table.to_pylist()]


def rejects_of(decoded: list[Decoded]) -> list[dict[str, Any]]:
    """Return all rejects."""
    return [row for part in decoded for row in part.rejects.to_pylist()]


@pytest.mark.parametrize(("path", "write"), FORMATS)
def test_every_format_gives_the_rows_and_their_positions(
    path: str, write: Callable[[pa.Table], bytes]
) -> None:
    """The values of the file come out in order, with positions from 0, and no rejects."""
    decoded = parts(write(TABLE), path)
    values = [{k: v if v is None else str(v) for k, v in row.items()} for row in rows_of(decoded)]
    wanted = [{k: v if v is None else str(v) for k, v in row.items()} for row in TABLE.to_pylist()]
    assert values == [{**row, ROW: str(index)} for index, row in enumerate(wanted)]
    assert rejects_of(decoded) == []
    assert decoded[0].rejects.schema.equals(REJECT)


@pytest.mark.parametrize(("path", "write"), FORMATS)
def test_batches_are_bounded_and_know_their_first_row(
    path: str, write: Callable[[pa.Table], bytes]
) -> None:
    """No batch is longer than asked for, and `first_row` is the position of its first row."""
    decoded = parts(write(TABLE), path, ["a"], rows=2)
    assert all(part.batch.table.num_rows <= 2 for part in decoded)
    firsts = [part.batch.first_row for part in decoded if part.batch.table.num_rows]
    assert firsts == [part.batch.table[ROW][0].as_py() for part in decoded]
    assert len(rows_of(decoded)) == 5


@pytest.mark.parametrize(("path", "write"), FORMATS)
def test_columns_come_in_the_order_asked_for(path: str, write: Callable[[pa.Table], bytes]) -> None:
    """Only wanted columns are read, in the order of the request."""
    decoded = parts(write(TABLE), path, ["c", "a"])
    assert decoded[0].batch.table.column_names == ["c", "a", ROW]


@pytest.mark.parametrize(("path", "write"), FORMATS)
def test_schema_and_row_count(path: str, write: Callable[[pa.Table], bytes]) -> None:
    """Names and number of rows are told without decoding for a caller."""
    data, source = write(TABLE), Source(path=path)
    assert read_schema(io.BytesIO(data), path, source) == ["a", "b", "c"]
    assert count_rows(io.BytesIO(data), path, source) == 5


@pytest.mark.parametrize("path", ["t.parquet", "t.csv", "t.arrow", "t.jsonl"])
@pytest.mark.parametrize("data", [b"", bytes(range(128, 256)) * 40, b"\0" * 500])
def test_empty_file_and_garbage_are_source_errors(path: str, data: bytes) -> None:
    """What is no file of its format is an error that names the file and says what to do."""
    with pytest.raises(SourceError, match=rf"^{path}: .*(; |file is empty)"):
        parts(data, path)


@pytest.mark.parametrize(("path", "write"), FORMATS[:3])
def test_truncated_file_is_a_source_error(path: str, write: Callable[[pa.Table], bytes]) -> None:
    """A file whose end is missing is not read in part."""
    with pytest.raises(SourceError, match=f"^{path}: cannot be read as .*complete"):
        parts(write(TABLE)[:-40], path)


@pytest.mark.parametrize(("path", "write"), FORMATS[:4])
def test_file_without_rows_is_a_source_error(path: str, write: Callable[[pa.Table], bytes]) -> None:
    """A header alone is no source."""
    with pytest.raises(SourceError, match=f"^{path}: "):
        parts(write(TABLE.slice(0, 0)), path)


@pytest.mark.parametrize(("path", "write"), FORMATS[:4])
def test_missing_column_names_the_nearest(path: str, write: Callable[[pa.Table], bytes]) -> None:
    """A wanted column that is not there is an error with the nearest name."""
    table = TABLE.rename_columns(["temperature", "b", "c"])
    with pytest.raises(SourceError, match=rf"^{path}: .*'temprature' \(did you mean 'temper"):
        parts(write(table), path, ["temprature"])


def test_unknown_suffix_is_a_source_error() -> None:
    """A format that is neither given nor told by the name is the user's to give."""
    with pytest.raises(SourceError, match="format:"):
        parts(b"a\n1\n", "table.dat")


@pytest.mark.parametrize(("path", "write"), FORMATS[:3])
def test_dictionary_columns_are_decoded(path: str, write: Callable[[pa.Table], bytes]) -> None:
    """A dictionary column arrives as its values."""
    table = pa.table({"k": pa.array(["u", "v", "u"]).dictionary_encode()})
    decoded = parts(write(table), path)
    assert decoded[0].batch.table["k"].type == pa.string()
    assert [row["k"] for row in rows_of(decoded)] == ["u", "v", "u"]


def test_parquet_column_is_not_its_dotted_neighbour() -> None:
    """A name that is the prefix of a dotted one reads its own column only."""
    data = as_parquet(pa.table({"a": [1], "a.b": [2]}))
    assert rows_of(parts(data, "t.parquet", ["a"])) == [{"a": 1, ROW: 0}]
    assert rows_of(parts(data, "t.parquet", ["a.b"])) == [{"a.b": 2, ROW: 0}]


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_ragged_csv_rows_are_rejected_with_text_and_position(rows: int) -> None:
    """Ragged rows are rejects that hold their text; the good rows keep their positions."""
    data = b'a,b\n1,2\n3\n"x\ny",5\n\n6,7,8\n9,10\n11\n'
    decoded = parts(data, "t.csv", rows=rows)
    assert rows_of(decoded) == [
        {"a": "1", "b": "2", ROW: 0},
        {"a": "x\ny", "b": "5", ROW: 2},
        {"a": "9", "b": "10", ROW: 4},
    ]
    assert [(r["row"], r["reason"], r["raw"]) for r in rejects_of(decoded)] == [
        (1, "ragged", "3"),
        (3, "ragged", "6,7,8"),
        (5, "ragged", "11"),
    ]
    assert count_rows(io.BytesIO(data), "t.csv", Source(path="t.csv")) == 6


@given(
    rows=st.lists(st.sampled_from(["1,2", "3", "4,5,6", '"7\n8",9', '"a""b",c']), min_size=1),
    block=st.integers(24, 60),
)
def test_csv_positions_hold_whatever_the_block_size(rows: list[str], block: int) -> None:
    """Each row comes out once, at its position, as a row or as a reject, in any cut of the file."""
    good = {i for i, row in enumerate(rows) if row in ("1,2", '"7\n8",9', '"a""b",c')}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "CSV_BLOCK", block)
        decoded = parts(("a,b\n" + "\n".join(rows) + "\n").encode(), "t.csv", ["a", "b"])
    assert [row[ROW] for row in rows_of(decoded)] == sorted(good)
    assert [r["row"] for r in rejects_of(decoded)] == sorted(set(range(len(rows))) - good)


def test_csv_of_ragged_rows_only_gives_rejects() -> None:
    """Rows that all are bad are rejects, not an error: the counts still add up."""
    decoded = parts(b"a,b\n1\n2\n", "t.csv")
    assert rows_of(decoded) == []
    assert [r["row"] for r in rejects_of(decoded)] == [0, 1]


def test_csv_takes_byte_order_mark_tabs_and_odd_names() -> None:
    """BOM, tab delimiter, quotes, newlines and foreign letters in names are read."""
    data = '\ufeff"a ""q"""\t"b\nc"\tÄ \n1\t2\t3\n'.encode()
    decoded = parts(data, "t.tsv", ['a "q"', "b\nc", "Ä "], delimiter="\t")
    assert rows_of(decoded) == [{'a "q"': "1", "b\nc": "2", "Ä ": "3", ROW: 0}]


def test_csv_null_texts_are_those_of_the_source() -> None:
    """Only the null texts that the source names are nulls."""
    decoded = parts(b"a,b\n-,NA\n", "t.csv", null_values=("-",))
    assert rows_of(decoded) == [{"a": None, "b": "NA", ROW: 0}]


def test_csv_column_named_twice_is_a_source_error() -> None:
    """Two columns of one name cannot be told apart."""
    with pytest.raises(SourceError, match="two columns are called 'a'"):
        parts(b"a,a\n1,2\n", "t.csv")


@pytest.mark.parametrize("text", ["a,b\né,1\n", "a,b\n1,2\né\n", "é,b\n1,2\n"])
def test_csv_in_another_encoding_is_a_source_error(text: str) -> None:
    """Latin-1 text is told from damage, in a value, a ragged row or a name."""
    with pytest.raises(SourceError, match=r"t\.csv: is not UTF-8 text .*convert it"):
        parts(text.encode("latin-1"), "t.csv")


def test_character_cut_by_a_block_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block may end within a character."""
    monkeypatch.setattr(decode, "CSV_BLOCK", 17)
    assert [row["a"] for row in rows_of(parts(("a\n" + "éé\n" * 20).encode(), "t.csv"))] == [
        "éé"
    ] * 20


def test_reserved_name_is_a_source_error() -> None:
    """A column called as ours is not overwritten."""
    with pytest.raises(SourceError, match="rename that column"):
        parts(as_parquet(pa.table({ROW: [1]})), "t.parquet")


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_other_file_under_this_suffix_is_a_source_error(name: str) -> None:
    """A CSV file called Parquet, or the reverse, is an error, not garbage rows."""
    data = as_csv(TABLE) if name == "t.parquet" else as_parquet(TABLE)
    with pytest.raises(SourceError, match=f"^{name}: "):
        parts(data, name)
