from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SourceError
from transforms import json_lines
from transforms.json_lines import (
    count_lines,
    elements_of,
    keys_of,
    read_lines,
    read_objects,
)

_VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)


def read(text: str | bytes, *names: str) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
    """Return the rows by position, and the reasons of the rejects by position."""
    data = text.encode() if isinstance(text, str) else text
    rows: dict[int, dict[str, Any]] = {}
    rejects: dict[int, str] = {}
    for table, positions, bad in read_lines(io.BytesIO(data), "t.jsonl", names):
        assert table.num_rows == len(positions)
        rows |= dict(zip(positions.tolist(), table.to_pylist(), strict=True))
        rejects |= {reject.row: reject.raw for reject in bad}
    return rows, rejects


def test_numbers_booleans_and_texts_keep_their_types() -> None:
    """Values of one kind per column arrive typed; a missing key is a null."""
    rows, _ = read('{"a":1,"b":true,"c":"x","d":1.5}\n{"a":2,"d":2}\n', *"abcd")
    assert rows[0] == {"a": 1, "b": True, "c": "x", "d": 1.5}
    assert rows[1] == {"a": 2, "b": None, "c": None, "d": 2.0}


def test_nested_values_are_json_text() -> None:
    """Objects and lists stay as JSON."""
    rows, _ = read('{"a":{"k":[1,"é"]}}\n{"a":[2]}\n', "a")
    assert json.loads(rows[0]["a"]) == {"k": [1, "é"]}
    assert json.loads(rows[1]["a"]) == [2]


def test_bad_lines_are_rejected_and_their_neighbours_are_not() -> None:
    """A line that is no object is a reject with its text; the others are rows at their places."""
    rows, rejects = read('{"a":1}\nnot json\n\n[1]\n{"a":2}\n{"a":\n', "a")
    assert rows == {0: {"a": 1}, 3: {"a": 2}}
    assert rejects == {1: "not json", 2: "[1]", 4: '{"a":'}


def test_odd_value_does_not_change_the_type_of_its_neighbours() -> None:
    """One text among numbers comes as text, apart; the numbers stay numbers."""
    lines = [json.dumps({"a": i}) for i in range(50)]
    rows, rejects = read("\n".join([*lines, '{"a":"n/a"}', '{"a":true}', '{"a":7}']), "a")
    assert [rows[i]["a"] for i in range(50)] == list(range(50))
    assert (rows[50]["a"], rows[51]["a"], rows[52]["a"]) == ("n/a", "true", 7)
    assert rejects == {}


def test_type_of_a_later_block_widens_or_stands_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers become floats with the first float; a text in a later block comes as text."""
    monkeypatch.setattr(json_lines, "BLOCK", 16)
    rows, _ = read('{"a":1}\n{"a":2}\n{"a":2.5}\n{"a":"x"}\n{"a":3}\n', "a")
    assert [rows[place]["a"] for place in range(5)] == [1, 2, 2.5, "x", 3.0]


def test_column_that_begins_with_nulls_gets_its_type_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column without values in the first block is not text for ever."""
    monkeypatch.setattr(json_lines, "BLOCK", 16)
    rows, _ = read('{"a":null}\n{"b":1}\n{"a":4}\n{"a":5}\n', "a")
    assert [row["a"] for row in rows.values()] == [None, None, 4, 5]


@pytest.mark.parametrize(
    "line",
    ['{"a":"\\ud800"}', '{"a":"\\udc00x"}', '{"a":' + "[" * 100_000 + "}", b'{"a":"\xff"}'],
)
def test_line_that_is_no_text_is_rejected(line: str | bytes) -> None:
    """Half a surrogate pair, bottomless nesting and other encodings are rejects, not crashes."""
    data = line.encode() if isinstance(line, str) else line
    rows, rejects = read(b'{"a":"\\ud83d\\ude00"}\n' + data + b"\n", "a")
    assert rows == {0: {"a": "😀"}}
    assert list(rejects) == [1]


@pytest.mark.parametrize("data", ["[\n1\n]\n", "a,b\n1,2\n", "{\n"])
def test_file_of_another_format_is_a_source_error(data: str) -> None:
    """A file without one JSON object is no JSON Lines file."""
    with pytest.raises(SourceError, match=r"t\.jsonl: no line is a JSON object"):
        read(data, "a")


@given(
    rows=st.lists(st.dictionaries(st.sampled_from("ab"), _VALUE), min_size=1),
    junk=st.sets(st.integers(0, 20)),
    block=st.integers(8, 200),
)
def test_every_line_is_a_row_or_a_reject_once(
    rows: list[dict[str, Any]], junk: set[int], block: int
) -> None:
    """Whatever the values, and however the file is cut, each line comes out once, unharmed."""
    lines = [json.dumps(row) for row in rows]
    lines = [
        line for i, row in enumerate(lines) for line in ([row, "junk"] if i in junk else [row])
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "BLOCK", block)
        found, rejects = read("\n".join(lines), "a", "b")
    good = [i for i, line in enumerate(lines) if line != "junk"]
    assert sorted(found) == good
    assert sorted(rejects) == [i for i, line in enumerate(lines) if line == "junk"]
    for place, row in zip(good, rows, strict=True):
        for name in "ab":
            given_value, value = row.get(name), found[place][name]
            if given_value is None or isinstance(given_value, str):
                assert value == given_value
            elif isinstance(value, str):
                assert json.loads(value) == pytest.approx(given_value)
            else:
                assert value == pytest.approx(given_value)


def test_keys_and_lines_are_counted() -> None:
    """Keys come in the order they appear; blank lines are no rows."""
    data = b'\xef\xbb\xbf{"b":1}\n\n{"a":2,"b":3}\njunk\n'
    assert keys_of(io.BytesIO(data)) == ["b", "a"]
    assert count_lines(io.BytesIO(data)) == 3


def test_a_faulty_line_in_memory_leaves_the_others_as_they_are() -> None:
    """Lines that are no object are rejected, odd ones keep the types of their other columns."""
    lines = [b'{"a":1,"b":2}', b"junk", b'{"a":3,"b":"x"}', b'{"a":4,"b":5}']
    parts = list(read_objects(lines, ["a", "b"]))
    assert [place for _, places, _ in parts for place in places] == [0, 3, 2]
    assert [table.to_pydict() for table, _, _ in parts] == [
        {"a": [1, 4], "b": [2, 5]},
        {"a": [3], "b": ["x"]},
    ]
    assert [bad.row for _, _, rejects in parts for bad in rejects] == [1]


@given(values=st.lists(_VALUE), spaces=st.text(" \t\n\r", max_size=3))
def test_elements_are_those_of_the_array(values: list[Any], spaces: str) -> None:
    """However it is written, the elements of an array are lines with the same values."""
    for indent in (None, 1):
        text = json.dumps(values, indent=indent, separators=("," + spaces, ":" + spaces))
        lines = elements_of((spaces + text + spaces).encode())
        assert [json.loads(line) for line in lines] == values
        assert not any(b"\n" in line for line in lines)


@given(text=st.text('[]{},: \n1"a\\', max_size=12))
def test_what_is_no_json_array_has_no_elements(text: str) -> None:
    """An array is refused where Python's own parser refuses it."""
    text = "[" + text
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"char|Expecting"):
            elements_of(text.encode())
    else:
        assert [json.loads(line) for line in elements_of(text.encode())] == expected
