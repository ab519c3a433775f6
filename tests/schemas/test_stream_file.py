from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from pipelines import demo
from schemas.errors import StreamFileError
from schemas.stream_file import json_schema, load_stream, parse_stream

STREAM = """\
tidegauge: 1
name: weather
source: {path: now.csv}
reference: {path: then.csv}
time: {column: time}
columns:
  temp: {type: number, unit: °C}
  rain: {type: number}
window: {length: 7d}
"""


def mistake(text: str) -> str:
    """Return what is said of a stream file that is wrong."""
    with pytest.raises(StreamFileError) as caught:
        parse_stream(text, "s.yaml")
    return str(caught.value)


def test_a_stream_file_becomes_a_stream_with_its_defaults() -> None:
    """What is left out has the documented value."""
    stream = parse_stream(STREAM, "s.yaml")
    assert stream.columns["temp"].unit == "°C"
    assert stream.with_role("feature") == ["temp", "rain"]
    assert stream.alarms.false == "1 per 30d"


@pytest.mark.parametrize(
    ("line", "key", "near", "old", "new"),
    [
        (2, "nmae", "name", "name: weather", "nmae: weather"),
        (3, "source.paht", "path", "{path: now.csv}", "{paht: now.csv, path: now.csv}"),
        (7, "columns.temp.uint", "unit", "unit: °C", "uint: °C"),
        (7, "columns.temp.type", "number", "number, unit", "numbre, unit"),
        (8, "columns.rain.rol", "role", "rain: {type: number", "rain: {type: number, rol: ignore"),
        (9, "window.lenght", "length", "length: 7d", "lenght: 7d, length: 7d"),
    ],
)
def test_a_misspelt_word_is_named_with_file_line_key_and_the_nearest_spelling(
    line: int, key: str, near: str, old: str, new: str
) -> None:
    """Keys at every depth, and values out of a closed list."""
    said = mistake(STREAM.replace(old, new)).splitlines()[-1]
    assert said.startswith(f"s.yaml:{line}: {key}: ")
    assert f"(did you mean {near!r}?)" in said


@pytest.mark.parametrize(
    ("more", "line", "key", "near"),
    [
        ("alarms: {flase: 1 per 30d}\n", 10, "alarms.flase", "false"),
        ("monitors: {piit: false}\n", 10, "monitors.piit", "pit"),
        (
            "monitors:\n  feature_shift:\n    ignore_belw: 1\n",
            12,
            "monitors.feature_shift.ignore_belw",
            "ignore_below",
        ),
        (
            "forecasts:\n  - {target: rain}\n  - {target: temp, levls: [0.1]}\n",
            12,
            "forecasts.1.levls",
            "levels",
        ),
        ("forecasts:\n  - target: tmep\n", 11, "forecasts.0.target", "temp"),
        (
            "forecasts:\n  - target: temp\n    features:\n    - rian\n",
            13,
            "forecasts.0.features.0",
            "rain",
        ),
    ],
)
def test_a_mistake_in_a_later_part_is_named_where_it_is(
    more: str, line: int, key: str, near: str
) -> None:
    """Unions, lists and names that must be among `columns` have their own lines."""
    said = mistake(STREAM + more)
    assert said.startswith(f"s.yaml:{line}: {key}: ")
    assert f"(did you mean {near!r}?)" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("name: weather\n", "", 1, "the key 'name' is missing"),
        ("{path: now.csv}", "{}", 3, "source: the key 'path' is missing"),
        ("{type: number}", "number", 8, "columns.rain: must be a mapping, of keys such as type"),
        ("{length: 7d}", "{length: 7 days}", 9, "window.length: '7 days' is not a duration"),
        ("{length: 7d}", "{rows: 0}", 9, "window.rows: Input should be greater than or equal to 1"),
        ("{length: 7d}", "{}", 9, "window: give either `length`"),
        ("time: {column: time}\n", "", 8, "window.length: windows by time need `time:`"),
        ("{column: time}", "{column: time, zone: Mars}", 5, "time: 'Mars' is not a known time"),
        ("{column: time}", "{column: rain}", 8, "columns.rain: 'rain' is the event time and"),
        ("{length: 7d}", "{rows: 9}", 1, "windows counted in rows need a budget such as"),
        ("name: weather", "name: 2013", 2, "name: Input should be a valid string, not 2013"),
        ("tidegauge: 1", "tidegauge: 2", 1, "tidegauge: Input should be 1, not 2"),
    ],
)
def test_an_impossible_value_is_named_with_file_line_and_key(
    old: str, new: str, line: int, says: str
) -> None:
    """What is wrong is said of the place where it is."""
    said = mistake(STREAM.replace(old, new))
    assert said.startswith(f"s.yaml:{line}: ")
    assert says in said


@pytest.mark.parametrize(
    ("lags", "line", "says"),
    [
        ("[1h, an hour]", 10, "lags.1: 'an hour' is not a duration"),
        ("[0h]", 10, "lags.0: '0h' is not a duration"),
        ("[-1h]", 10, "lags.0: '-1h' is not a duration"),
        ("[0.0000001s]", 10, "lags.0: '0.0000001s' is not a duration"),
        ("[1h, 60m]", 10, "lags.1: each lag once, and 60m is twice"),
        ("1h", 10, "lags: "),
    ],
)
def test_lags_that_cannot_be_are_named_with_their_line(lags: str, line: int, says: str) -> None:
    """Each lag is a length of time, once."""
    said = mistake(STREAM + f"lags: {lags}\n")
    assert said.startswith(f"s.yaml:{line}: {says}")


def test_lags_need_a_time_and_a_number_and_names_of_their_own() -> None:
    """Rows without a time have no past; categories have no lags; names are not taken twice."""
    counted = "window: {rows: 9}\nalarms: {false: 1 per 9 windows}\nlags: [1h]\n"
    by_rows = STREAM.replace("window: {length: 7d}\n", counted)
    assert "temp 1h ago" in parse_stream(by_rows, "s.yaml").lagged
    said = mistake(by_rows.replace("time: {column: time}\n", ""))
    assert said.startswith("s.yaml:10: lags: `lags` need `time:`")
    words = STREAM.replace("number, unit: °C", "category").replace("number", "boolean")
    assert "`lags` need a feature that is a number" in mistake(words + "lags: [1h]\n")
    taken = STREAM.replace("  rain:", "  temp 1h ago:") + "lags: [1h]\n"
    assert "they make a column 'temp 1h ago', and there is one already" in mistake(taken)


def test_every_mistake_is_reported_at_once() -> None:
    """Three mistakes give three lines."""
    wrong = STREAM.replace("name:", "nmae:").replace("unit: °C", "uint: °C")
    assert len(mistake(wrong).splitlines()) == 3  # `name` is missing, too


def test_false_is_a_key_of_alarms() -> None:
    """YAML reads the bare word as a boolean; here it is the name of the budget."""
    assert (
        parse_stream(STREAM + "alarms: {false: 1 per 90d}\n", "s.yaml").alarms.false == "1 per 90d"
    )


@pytest.mark.parametrize("budget", ["1 per 0 windows", "0 per 30d", "often", "1 per moon"])
def test_a_budget_that_cannot_be_read_is_a_mistake_of_its_line(budget: str) -> None:
    """No budget is ever guessed."""
    said = mistake(STREAM + f"alarms:\n  false: {budget}\n")
    assert said.startswith("s.yaml:1")
    assert repr(budget) in said or "'moon'" in said


def test_a_key_given_twice_is_refused() -> None:
    """The second would silently win."""
    said = mistake(STREAM.replace("  rain:", "  temp:"))
    assert said.startswith('s.yaml:8: not valid YAML: found duplicate key "temp"')


def test_keys_that_come_in_by_a_merge_are_checked_too() -> None:
    """A key written once under an anchor is a mistake wherever it is merged."""
    wrong = STREAM.replace("temp: {type", "temp: &it {bogus: 1, type").replace(
        "rain: {type: number}", "rain: {<<: *it}"
    )
    said = mistake(wrong).splitlines()
    assert [line.split(" unknown")[0] for line in said] == [
        "s.yaml:7: columns.temp.bogus:",
        "s.yaml:8: columns.rain.bogus:",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a stream file is a mapping of keys"),
        ("- a\n- b\n", "a stream file is a mapping of keys"),
        ("name: [1\n", "s.yaml:2: not valid YAML"),
        ("name: *nobody\n", "s.yaml:1: not valid YAML: found undefined alias"),
        (STREAM + "---\n" + STREAM, "found another document"),
    ],
)
def test_a_text_that_is_no_stream_file_is_one_error(text: str, says: str) -> None:
    """Neither an empty file nor broken YAML ends in a traceback."""
    assert says in mistake(text)


def test_tagged_objects_are_not_built() -> None:
    """A YAML tag that names a Python object is only an unknown key."""
    assert "unknown key 'extra'" in mistake(STREAM + "extra: !!python/object:os.system {}\n")


def test_a_file_that_is_not_there_or_not_text_is_one_error(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(StreamFileError, match=r"none\.yaml: there is no such stream file"):
        load_stream(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(StreamFileError, match=r"bytes\.yaml: cannot be read as a UTF-8"):
        load_stream(tmp_path / "bytes.yaml")
    with pytest.raises(StreamFileError, match="cannot be read"):
        load_stream(tmp_path)


def demo_file(folder: Path) -> str:
    """Return the text of the demo's stream file."""
    parts = {name: folder / name for name in ("reference", "as-it-is")}
    return demo._stream_text(folder / "weather.yaml", parts, "as-it-is", folder)


def test_the_json_schema_accepts_the_demos_stream_file_and_refuses_a_misspelt_one(
    tmp_path: Path,
) -> None:
    """Editors check with the schema what `load_stream` checks."""
    (tmp_path / "weather.yaml").write_text(demo_file(tmp_path), encoding="utf-8")
    stream = load_stream(tmp_path / "weather.yaml")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    document = YAML(typ="safe").load(demo_file(tmp_path))
    document["alarms"] = {"false": document["alarms"][False]}  # as an editor reads the key
    jsonschema.validate(document, schema)
    jsonschema.validate(json.loads(stream.model_dump_json()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document | {"nmae": "x"}, schema)
