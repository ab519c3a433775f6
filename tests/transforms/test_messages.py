"""Messages to rows: nothing is lost, and a poison message takes no neighbour with it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.kafka import Envelope, MessageFormat, Topic
from schemas.stream import Stream
from transforms import message_values
from transforms.messages import Message, check_messages, decode_messages, placed, take_in
from transforms.rejects import ROW

NAMES = ["t", "a", "b"]
AVRO = {
    "type": "record",
    "name": "row",
    "fields": [{"name": n, "type": ["null", "double"], "default": None} for n in NAMES],
}


def topic(kind: MessageFormat, **more: object) -> Topic:
    """Return a topic of one format."""
    return Topic.model_validate({"servers": "x:1", "topic": "top", "format": kind, **more})


def stream(source: Topic) -> Stream:
    """Return a stream with an event time, a number and a category."""
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "s",
            "source": source,
            "reference": {"path": "x"},
            "time": {"column": "t"},
            "columns": {"a": {"type": "number"}, "b": {"type": "category"}},
            "window": {"length": "1h"},
        }
    )


def messages(*values: bytes | None, partition: int = 0) -> list[Message]:
    """Return messages with these values; offsets begin at 100."""
    return [Message(partition, 100 + at, 1_000, b"k", v) for at, v in enumerate(values)]


def rows_of(given: Sequence[Message], source: Topic) -> dict[tuple[str, int], dict[str, object]]:
    """Return the rows that keep the contract, by where they came from."""
    found = {}
    for decoded in decode_messages(given, source, NAMES, "s"):
        for checked in check_messages(decoded, stream(source)):
            table = checked.batch.table
            where = placed(
                pa.table(
                    {
                        "path": pa.array([checked.batch.path] * table.num_rows, pa.string()),
                        "row": table[ROW],
                    }
                )
            )
            for row, place in zip(
                table.drop_columns([ROW]).to_pylist(), where.to_pylist(), strict=True
            ):
                found[place["path"], place["row"]] = row
    return found


def rejects_of(given: Sequence[Message], source: Topic) -> list[dict[str, object]]:
    """Return the rejects of decoding and of the contract."""
    return [
        reject
        for decoded in decode_messages(given, source, NAMES, "s")
        for checked in check_messages(decoded, stream(source))
        for reject in checked.rejects.to_pylist()
    ]


def arrow(table: pa.Table, **options: object) -> bytes:
    """Return a table as an IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, **options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def avro(rows: Sequence[dict[str, object]]) -> bytes:
    """Return rows as an object container."""
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(AVRO), rows)
    return file.getvalue()


def test_json_objects_give_a_row_each_at_their_offset() -> None:
    """The row of a message that holds one object is found by the message's offset."""
    found = rows_of(messages(b'{"t": 1, "a": 2.5}', b' {"t":\n2, "b": "x"}\n'), topic("json"))
    assert list(found) == [("top/0", 100), ("top/0", 101)]
    assert [row["a"] for row in found.values()] == [2.5, None]
    assert [row["b"] for row in found.values()] == [None, "x"]


def test_json_arrays_give_rows_at_their_index() -> None:
    """The rows of an array are found by the message and their index; bad elements are rejected."""
    given = messages(b'[{"t": 1, "a": 1}, 7, {"t": 3, "a": 3}]', b'{"t": 4}', b"[]")
    assert list(rows_of(given, topic("json"))) == [
        ("top/0", 101),
        ("top/0@100", 0),
        ("top/0@100", 2),
    ]
    (bad,) = rejects_of(given, topic("json"))
    assert (bad["path"], bad["row"], bad["reason"], bad["raw"]) == ("top/0@100", 1, "json", "7")


def test_partitions_are_told_apart() -> None:
    """Messages of several partitions come in batches of one partition each."""
    given = [*messages(b'{"t": 1}', partition=3), *messages(b'{"t": 1}', partition=1)]
    assert list(rows_of(given, topic("json"))) == [("top/1", 100), ("top/3", 100)]


POISON = [
    (b"", "json"),
    (b"{", "json"),
    (b"\x00\xff", "json"),
    (b'{"t": 1} {"t": 2}', "json"),
    (b'{"t": 1}\n{"t": 2}', "json"),
    (b'[{"t": 1},]', "json"),
    (b'"text"', "json"),
    (b"[" * 100_000, "json"),
    (b'{"t": "\xff"}', "json"),
    (b'{"b": "\\ud800", "t": 1}', "json"),
    (None, "tombstone"),
]


@pytest.mark.parametrize(("poison", "reason"), POISON)
def test_a_poison_json_message_is_rejected_alone(poison: bytes | None, reason: str) -> None:
    """One message that cannot be read is one reject, and its neighbours are rows."""
    given = messages(b'{"t": 1, "a": 1}', poison, b'{"t": 3, "a": 3}')
    assert list(rows_of(given, topic("json"))) == [("top/0", 100), ("top/0", 102)]
    (bad,) = rejects_of(given, topic("json"))
    assert (bad["path"], bad["row"], bad["reason"]) == ("top/0", 101, reason)


def test_raw_bytes_are_kept_as_text() -> None:
    """What is UTF-8 is kept as it is, what is not in base 64, and both only in part."""
    given = messages(b"no", b"\xff\xfe", b"\xc3\xa4" * 100_000)
    raw = [str(bad["raw"]) for bad in rejects_of(given, topic("json"))]
    assert raw[:2] == ["no", base64.b64encode(b"\xff\xfe").decode()]
    assert raw[2] == "ä" * 4096


def test_a_wrong_type_rejects_its_row_only() -> None:
    """A value of another type breaks the contract of its row, whatever the others are."""
    given = messages(b'{"t": 1, "a": 1}', b'{"t": 2, "a": "x"}', b'{"t": 3, "a": {"z": 1}}')
    assert list(rows_of(given, topic("json"))) == [("top/0", 100)]
    assert [bad["reason"] for bad in rejects_of(given, topic("json"))] == ["type", "type"]


def test_arrow_messages_of_one_schema_are_one_batch() -> None:
    """Small messages of the same schema are decoded together, and their rows keep their places."""
    tables = [pa.table({"t": [at, at + 1], "a": [1.0, 2.0], "z": [0, 0]}) for at in range(3)]
    given = messages(*map(arrow, tables))
    assert len(list(decode_messages(given, topic("arrow"), NAMES, "s"))) == 1
    places = [(f"top/0@{100 + at}", row) for at in range(3) for row in (0, 1)]
    assert list(rows_of(given, topic("arrow"))) == places


def test_arrow_messages_of_other_schemas_go_on() -> None:
    """A column less is null, a column more is left behind, another type is read or rejected."""
    times = pa.array([1, 2], pa.timestamp("s", "UTC"))
    given = messages(
        arrow(pa.table({"t": times, "a": [1.0, 2.0], "b": ["x", "y"]})),
        arrow(pa.table({"t": times, "more": [1, 2]})),
        arrow(pa.table({"t": times, "a": pa.array([1, 2], pa.int8())})),
        arrow(pa.table({"t": times, "a": times})),
        arrow(pa.table({"t": times, "a": [[1], None]})),
        arrow(pa.table({"t": times, "b": pa.array(["u", "v"]).dictionary_encode()})),
    )
    found = rows_of(given, topic("arrow"))
    assert found["top/0@101", 1]["a"] is None
    assert found["top/0@102", 1]["a"] == 2.0
    assert found["top/0@105", 1]["b"] == "v"
    bad = {(r["path"], r["row"]): r["reason"] for r in rejects_of(given, topic("arrow"))}
    assert bad == {
        ("top/0@103", 0): "type",
        ("top/0@103", 1): "type",
        ("top/0@104", 0): "type",
    }


EXOTIC = [
    pa.array([1, None], pa.time32("s")),
    pa.array([1, 2], pa.uint64()),
    pa.array([1, 2], pa.float16()),
    pa.array([1, 2], pa.decimal256(60, 3)),
    pa.array([1, 2], pa.duration("s")),
    pa.array([0, 86_400_000], pa.date64()),
    pa.array([2**62, 2], pa.timestamp("s")),
    pa.array(["x", "1"], pa.string_view()),
    pa.array(["x", "1"], pa.large_string()),
    pa.array([b"\xff", b"1"], pa.binary()),
    pa.array([b"\xff", b"1"], pa.binary_view()),
    pa.array([b"\xff", b"1"], pa.binary(1)),
    pa.array([{"x": 1}, None]),
    pa.array([None, None]),
    pa.array([True, False]),
    pa.RunEndEncodedArray.from_arrays([1, 2], [1.5, 2.5]),
    pa.array([[1, 2], []], pa.list_view(pa.int8())),
    pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
]


@pytest.mark.parametrize("values", EXOTIC, ids=lambda values: str(values.type))
@pytest.mark.parametrize("name", NAMES)
def test_no_arrow_type_stops_the_stream(values: pa.Array, name: str) -> None:
    """Whatever the type of a column, each row is used or rejected."""
    table = pa.table({"t": [1, 2], name: values})
    given = messages(arrow(table), arrow(pa.table({"t": [1.0, 2.0]})))
    used, bad = rows_of(given, topic("arrow")), rejects_of(given, topic("arrow"))
    assert len(used) + len(bad) == 4
    assert {("top/0@101", 0), ("top/0@101", 1)} <= set(used)


def test_an_arrow_message_beyond_the_bounds_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and bytes count as they are once decompressed and without dictionaries."""
    monkeypatch.setattr(message_values, "MAX_BYTES", 100_000)
    zeros = pa.table({"t": np.zeros(50_000)})
    squeezed = arrow(zeros, options=pa.ipc.IpcWriteOptions(compression="zstd"))
    assert len(squeezed) < 10_000
    texts = pa.array(["x" * 1000] * 500).dictionary_encode()
    given = messages(
        arrow(pa.table({"t": [1]})), arrow(zeros), squeezed, arrow(pa.table({"b": texts}))
    )
    assert len(rows_of(given, topic("arrow"))) == 1
    assert [bad["reason"] for bad in rejects_of(given, topic("arrow"))] == ["oversized"] * 3


def test_too_many_rows_are_rejected() -> None:
    """More rows than a place has room for are no rows."""
    many = arrow(pa.table({"n": pa.nulls(message_values.MAX_ROWS + 1)}))
    (bad,) = rejects_of(messages(many), topic("arrow"))
    assert (bad["row"], bad["reason"]) == (100, "oversized")


@given(data=st.data())
def test_a_damaged_arrow_message_is_survived(data: st.DataObject) -> None:
    """Flipped bytes or a missing end give rows or one reject, and no neighbour is lost."""
    good = arrow(pa.table({"t": [1, 2, 3], "a": [1.5, None, 2.5], "b": ["x", "yy", None]}))
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(bad[: data.draw(st.integers(0, len(bad)))])
    found = rows_of(messages(good, cut, good), topic("arrow"))
    assert sum(path in {"top/0@100", "top/0@102"} for path, _ in found) == 6


def test_avro_containers_give_rows() -> None:
    """A container brings its own schema, and its rows are found by their index."""
    given = messages(avro([{"t": 1.0, "a": 2.0}, {"t": 2.0, "b": 3.0}]), b"Obj\x01no", b"no")
    found = rows_of(given, topic("avro"))
    assert list(found) == [("top/0@100", 0), ("top/0@100", 1)]
    assert [row["a"] for row in found.values()] == [2.0, None]
    assert [bad["reason"] for bad in rejects_of(given, topic("avro"))] == ["avro", "avro"]


def test_the_envelope_fills_columns() -> None:
    """Key, timestamp and headers come as columns; a missing header is null, the last one counts."""
    source = topic(
        "json", envelope=Envelope(key="b", timestamp="t", headers={"a": "h"}).model_dump()
    )
    given = [
        Message(0, 1, 1_500, b"k1", b"{}", (("h", b"1"), ("h", b"2"))),
        Message(0, 2, None, None, b"{}"),
        Message(0, 3, 2_500, None, b'{"b": "inside"}'),
        Message(0, 4, 2_500, b"\xff", b"{}"),
    ]
    found = rows_of(given, source)
    assert [(row["a"], row["b"]) for row in found.values()] == [(2.0, "k1"), (None, None)]
    assert [row["t"].timestamp() for row in found.values()] == [1.5, 2.5]  # type: ignore[attr-defined]
    reasons = {bad["row"]: bad["reason"] for bad in rejects_of(given, source)}
    assert reasons == {2: "time", 4: "envelope"}


VALUES = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.sampled_from([value for value, _ in POISON if value is None or len(value) < 100]),
    st.builds(
        lambda rows: json.dumps(rows).encode(),
        st.lists(
            st.dictionaries(st.sampled_from(NAMES), st.integers() | st.text(max_size=3)) | st.none()
        ),
    ),
    st.builds(
        lambda row: json.dumps(row).encode(),
        st.dictionaries(st.sampled_from(NAMES), st.floats() | st.text(max_size=3) | st.booleans()),
    ),
)


def count(value: bytes | None) -> int:
    """Return how many rows a JSON message counts as."""
    try:
        parsed = json.loads((value or b"").decode())
    except ValueError:
        return 1
    return len(parsed) if isinstance(parsed, list) else 1


@given(values=st.lists(VALUES, max_size=12))
def test_every_row_is_used_or_rejected_once(values: list[bytes | None]) -> None:
    """Rows in = rows used + rows rejected, and no place is met twice."""
    given = messages(*values)
    used = list(rows_of(given, topic("json")))
    bad = [(r["path"], r["row"]) for r in rejects_of(given, topic("json"))]
    assert len(used) + len(bad) == sum(map(count, values))
    assert len({*used, *bad}) == len(used) + len(bad)


def test_placed_leaves_other_records_alone() -> None:
    """Rows of files and of single messages stay where they are."""
    records = pa.table({"path": ["f.csv", "top/0", "top/0@"], "row": [1, None, 7 * 2**20 + 3]})
    assert placed(records).to_pylist() == [
        {"path": "f.csv", "row": 1},
        {"path": "top/0", "row": None},
        {"path": "top/0@7", "row": 3},
    ]


@given(kinds=st.lists(st.sampled_from(["one", "odd", "several"]), min_size=1, max_size=12))
def test_rows_stay_in_the_order_of_their_partition(kinds: list[str]) -> None:
    """However messages are written, their rows come out by offset and index."""
    text = {"one": '{"t": %d, "a": 1}', "odd": '{"t": %d, "a": "1"}'}
    several = '[{"t": %d, "a": 1}, {"t": %d, "a": "2"}]'
    values = [
        several % (at, at) if kind == "several" else text[kind] % at
        for at, kind in enumerate(kinds)
    ]
    source = topic("json")
    taken = take_in(messages(*(value.encode() for value in values)), source, stream(source))
    times = [time.timestamp() for batch in taken.batches for time in batch.table["t"].to_pylist()]
    assert times == sorted(times)
    assert len(times) == len(kinds) + kinds.count("several")
    assert taken.rejects.num_rows == 0
