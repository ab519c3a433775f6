from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.alarms import Alarms
from schemas.forecasts import ForecastSpec
from schemas.source import Source
from schemas.stream import Column, Stream, Window

TREE: dict[str, Any] = {
    "tidegauge": 1,
    "name": "weather",
    "source": {"path": "now.parquet"},
    "reference": {"path": "then.parquet"},
    "time": {"column": "time"},
    "columns": {
        "temp": {"type": "number"},
        "sky": {"type": "category"},
        "height": {"type": "number", "role": "condition"},
        "load": {"type": "number", "role": "target"},
        "note": {"type": "category", "role": "ignore"},
    },
    "window": {"length": "7d"},
}


def stream(**parts: Any) -> Stream:
    """Return the stream with some parts replaced."""
    return Stream.model_validate(TREE | parts)


def test_roles_are_found_in_the_files_order() -> None:
    """Columns are watched unless they say otherwise."""
    assert stream().with_role("feature") == ["temp", "sky"]
    assert stream().with_role("feature", "condition") == ["temp", "sky", "height"]


def test_a_forecaster_reads_features_and_conditions_unless_it_names_its_own() -> None:
    """Never its own target, and never what is ignored."""
    watched = stream(forecasts=[{"target": "load"}, {"target": "temp", "features": ["height"]}])
    assert watched.forecast_features(watched.forecasts[0]) == ["temp", "sky", "height"]
    assert watched.forecast_features(watched.forecasts[1]) == ["height"]


def test_a_tree_is_frozen() -> None:
    """What was checked stays as it was checked."""
    with pytest.raises(ValidationError, match="frozen"):
        stream().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "format_"),
    [
        ("a.parquet", "parquet"),
        ("s3://b/a.PQ", "parquet"),
        ("a.tsv", "csv"),
        ("a.feather", "arrow"),
        ("a.ndjson", "jsonl"),
    ],
)
def test_the_suffix_tells_the_format(path: str, format_: str) -> None:
    """In any case of letters."""
    assert Source(path=path).format_of(path) == format_


def test_a_format_that_is_given_beats_the_suffix() -> None:
    """And without either, the message says what to add."""
    assert Source(path="a.csv", format="jsonl").format_of("a.csv") == "jsonl"
    with pytest.raises(ValueError, match="add `format:`"):
        Source(path="a.xlsx").format_of("a.xlsx")


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ({"type": "number", "min": 5, "max": 1}, "min 5 is above max 1"),
        ({"type": "category", "min": 5}, "min and max are for numbers"),
        ({"type": "number", "categories": ["a"]}, "categories are for type category"),
        ({"type": "timestamp"}, "a timestamp cannot be watched"),
        ({"type": "number", "min": float("nan")}, "finite"),
    ],
)
def test_a_column_that_contradicts_itself_is_refused(column: dict[str, Any], says: str) -> None:
    """Each impossible pair has its own message."""
    with pytest.raises(ValidationError, match=says):
        Column.model_validate(column)


@pytest.mark.parametrize(
    ("window", "says"),
    [
        ({}, "give either"),
        ({"length": "1h", "rows": 5}, "give either"),
        ({"rows": 5, "every": "1h"}, "`every` goes with `length`"),
        ({"length": "1h", "every": "25m"}, "a whole multiple"),
        ({"length": "1h", "every": "2h"}, "a whole multiple"),
    ],
)
def test_a_window_has_one_kind_and_a_step_that_divides_it(
    window: dict[str, Any], says: str
) -> None:
    """Rows or time, never both."""
    with pytest.raises(ValidationError, match=says):
        Window.model_validate(window)


def test_windows_step_by_their_length_unless_they_slide() -> None:
    """And windows by count have no length."""
    assert Window(length="1h").every_seconds == 3600
    assert Window(length="1h", every="15m").every_seconds == 900
    assert Window(rows=5).every_seconds is None


@pytest.mark.parametrize(
    ("forecast", "says"),
    [
        ({"levels": [0.05, 0.95, 0.5]}, "increasing order"),
        ({"levels": [0.05, 0.05, 0.95]}, "each once"),
        ({"levels": [0.0, 0.05, 0.95]}, "strictly between 0 and 1"),
        ({"levels": [0.1, 0.9]}, "interval 0.9 needs the levels 0.05, 0.95"),
        ({"interval": 0.5, "levels": [0.25, 0.5]}, "needs the levels 0.75"),
    ],
)
def test_levels_are_ordered_and_hold_the_ends_of_the_interval(
    forecast: dict[str, Any], says: str
) -> None:
    """So that the interval can be calibrated."""
    with pytest.raises(ValidationError, match=says):
        ForecastSpec.model_validate({"target": "temp"} | forecast)


@pytest.mark.parametrize(
    ("forecast", "says"),
    [
        ({"features": ["sky", "wind", "sky"]}, "`features` has 'sky' twice"),
        ({"ahead": {"known": ["sky", "sky"]}}, "`known` has 'sky' twice"),
        ({"ahead": {"known": ["sky", "temp"]}}, "'temp' is what is forecast"),
    ],
)
def test_a_forecast_reads_each_column_once_and_never_its_target_ahead(
    forecast: dict[str, Any], says: str
) -> None:
    """A target that is read where it is to be forecast would be forecast exactly."""
    if "ahead" in forecast:
        forecast = {"ahead": {"horizon": "2d", "step": "1d"} | forecast["ahead"]}
    with pytest.raises(ValidationError, match=says):
        ForecastSpec.model_validate({"target": "temp"} | forecast)


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ({"time": None}, ("window", "length")),
        ({"time": None, "window": {"rows": 9}, "calendar": ["day_of_week"]}, ("calendar",)),
        ({"key": ["sky"]}, ("columns", "sky")),
        ({"time": {"column": "note"}}, ("columns", "note")),
        ({"window": {"rows": 9}}, ("alarms", "false")),
        ({"forecasts": [{"target": "sky"}]}, ("forecasts", 0, "target")),
        ({"forecasts": [{"target": "nobody"}]}, ("forecasts", 0, "target")),
        ({"forecasts": [{"target": "temp", "features": ["temp"]}]}, ("forecasts", 0, "target")),
        ({"forecasts": [{"target": "temp"}, {"target": "temp"}]}, ("forecasts", 1, "target")),
    ],
)
def test_parts_that_do_not_fit_together_are_refused_at_their_place(
    parts: dict[str, Any], place: tuple[str | int, ...]
) -> None:
    """So that the message can name the line."""
    with pytest.raises(ValidationError) as caught:
        stream(**parts)
    assert [fault["loc"] for fault in caught.value.errors()] == [place]


@pytest.mark.parametrize(
    ("budget", "every", "share"),
    [
        ("1 per 30d", 86_400, 1 / 30),
        ("2 per 30d", 3_600, 2 / 720),
        ("1 per 500 windows", None, 1 / 500),
        ("1 per 1 window", 60, 0.5),
        ("3 per 1h", 3_600, 0.5),
    ],
)
def test_a_budget_is_a_share_of_windows_and_never_above_a_half(
    budget: str, every: float | None, share: float
) -> None:
    """False alarms per window, whether the budget counts time or windows."""
    assert Alarms(false=budget).per_window(every) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "1", "1 per", "0 per 30d", "1 per 0 windows", "one per day"])
def test_a_budget_that_cannot_be_read_is_refused(text: str) -> None:
    """With an example of each kind."""
    with pytest.raises(ValidationError, match=r"such as|write '1 per 30d' or '1 per 500 windows'"):
        Alarms(false=text)


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        ({"tmp": ["sky"]}, r"graph\.tmp\n.*'tmp' is not a column of the stream .*'temp'"),
        ({"temp": ["sky", "hight"]}, r"graph\.temp\.1\n.*'hight' is not a column"),
        ({"temp": ["temp"]}, "no column can be its own cause: temp → temp"),
        ({"temp": ["sky"], "sky": ["load"], "load": ["temp"]}, "can be its own cause: "),
    ],
)
def test_a_graph_of_causes_names_columns_and_has_no_circle(
    graph: dict[str, list[str]], says: str
) -> None:
    """The place of what is wrong is named."""
    with pytest.raises(ValidationError, match=says):
        stream(explain={"graph": graph})


def test_lagged_columns_may_be_causes() -> None:
    """What a number was is a column, too."""
    watched = stream(lags=["1h"], explain={"graph": {"temp": ["temp 1h ago", "sky"]}})
    assert watched.explain.graph["temp"] == ("temp 1h ago", "sky")
    assert watched.explain.rows == 500


@pytest.mark.parametrize("rows", [-1, 1, 63, 10_001])
def test_rows_kept_are_none_or_enough(rows: int) -> None:
    """Too few would explain nothing, and be silently left out."""
    with pytest.raises(ValidationError, match="keep 64 to 10,000 rows of a window, or none: 0"):
        stream(explain={"rows": rows})


ROWS: dict[str, Any] = {
    "window": {"rows": 100},
    "alarms": {"false": "1 per 500 windows"},
    "forecasts": [{"target": "load"}],
}
ONLINE = {"forecasts": [{"target": "load", "calibration": "online"}]}
KNOWN_AT_TARGET = ONLINE | {"outcomes": {"path": "o.csv", "known_at": "load"}}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (ROWS | {"outcomes": {"path": "o.csv"}}, "`outcomes` needs windows of event time"),
        (ROWS | {"refit": {"on": "90d"}}, "`refit` needs windows of event time"),
        (ROWS | {"refit": {"on": "90d"}, "time": None}, "`refit` needs `time:`"),
        ({"outcomes": {"path": "o.csv"}}, "`outcomes` are those of `forecasts`, and there are"),
        (ROWS | ONLINE | {"time": None}, "`calibration: online` needs `time:`"),
        (KNOWN_AT_TARGET, "`known_at` names the column of a time, and 'load' is a target"),
    ],
)
def test_what_outcomes_need_is_named(parts: dict[str, Any], said: str) -> None:
    """Event time, windows of it, and a forecast."""
    with pytest.raises(ValidationError, match=said):
        stream(**parts)
