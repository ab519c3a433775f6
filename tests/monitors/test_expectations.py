from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from monitors.expectations import Validator, gate, suite, validate_reference
from monitors.expectations.validator import Engine
from monitors.summary import TableSummary, summarise
from schemas.errors import ReferenceDataError
from schemas.records import EXPECTATION, WindowKey
from schemas.stream import Stream

ROOT = Path(__file__).parents[2]
STREAM = Stream.model_validate(
    {
        "tidegauge": 1,
        "name": "weather",
        "source": {"path": "now.parquet"},
        "reference": {"path": "then.parquet"},
        "time": {"column": "at"},
        "window": {"length": "1d"},
        "columns": {
            "temp": {"type": "number", "min": -60, "max": 60, "nullable": False},
            "wind": {"type": "number", "min": 0},
            "rain": {"type": "number"},
            "gusts": {"type": "integer"},
            "sky": {"type": "category", "categories": ["clear", "cloudy", "fog"]},
            "wet": {"type": "boolean", "role": "condition"},
            "note": {"type": "category", "role": "ignore"},
        },
    }
)
VOCABULARY = {"sky": frozenset({"clear", "cloudy"})}
DAY = WindowKey("{}", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
CRITICAL = {"not_null", "min", "max", "some_value"}


def weather(rows: int, seed: int = 0) -> pl.DataFrame:
    """Return rows that are as the stream file says: one value in 20 of `wind` is missing."""
    rng = np.random.default_rng(seed)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "at": [start + timedelta(hours=hour) for hour in range(rows)],
            "temp": rng.normal(10.0, 5.0, rows),
            "wind": [None if rng.random() < 0.05 else x for x in rng.gamma(2.0, 3.0, rows)],
            "rain": np.where(rng.random(rows) < 0.03, rng.gamma(1.0, 1.0, rows), 0.0),
            "gusts": rng.integers(0, 9, rows),
            "sky": rng.choice(["clear", "cloudy"], rows),
            "wet": rng.random(rows) < 0.3,
            "note": [None] * rows,
        },
        schema_overrides={"note": pl.String, "at": pl.Datetime("us", "UTC")},
    )


def summary_of(frame: pl.DataFrame) -> TableSummary:
    """Summarise a frame as the pipeline does."""
    return summarise(frame.to_arrow(), STREAM.columns, VOCABULARY)


@pytest.fixture(scope="module")
def reference() -> TableSummary:
    """Return the summary of a good reference."""
    return summary_of(weather(2_000))


@pytest.fixture(scope="module")
def validator(reference: TableSummary) -> Validator:
    """Return a validator of windows, built once."""
    return Validator(suite(STREAM, reference))


def failures(results: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the failing columns by expectation."""
    assert not [row for row in results if row["result"] == "error"]
    return {row["expectation"]: row["columns"] for row in results if row["result"] == "fail"}


def test_good_window_passes(validator: Validator) -> None:
    """A day like the reference passes every expectation, and the rows fit the schema."""
    results = validator.validate(summary_of(weather(24, seed=1)).rows("weather", DAY))
    assert failures(results) == {}
    assert [row["expectation"] for row in results] == [
        *("not_null", "min", "max", "some_value", "null_rate", "new_values", "stuck")
    ]
    table = pa.Table.from_pylist(results, schema=EXPECTATION)
    assert set(table["window_start"].to_pylist()) == {DAY.start}
    assert {row["expectation"] for row in results if row["severity"] == "critical"} == CRITICAL


@pytest.mark.parametrize(
    ("change", "failing", "words"),
    [
        (
            pl.when(pl.int_range(pl.len()) != 3).then("temp").alias("temp"),
            {"not_null": ["temp"]},
            "temp: 1 of 100 rows have no value, and none may (`nullable: false`)",
        ),
        (
            pl.col("wind") - 100,
            {"min": ["wind"]},
            "below the declared min 0",
        ),
        (
            pl.col("temp") + 60,
            {"max": ["temp"]},
            "above the declared max 60",
        ),
        (
            pl.lit(None, pl.Float64).alias("rain"),
            {"some_value": ["rain"], "null_rate": ["rain"]},
            "rain: no value in 100 rows, at least one is expected",
        ),
        (
            pl.when(pl.int_range(pl.len()) >= 40).then("wind").alias("wind"),
            {"null_rate": ["wind"]},
            "in the reference, and at most",
        ),
        (
            pl.when(pl.int_range(pl.len()) < 7).then(pl.lit("fog")).otherwise("sky").alias("sky"),
            {"new_values": ["sky"]},
            "sky: 7 of 100 rows hold a value that the reference never had",
        ),
        (
            pl.lit(4, pl.Int64).alias("gusts"),
            {"stuck": ["gusts"]},
            "gusts: all 100 values are 4, and the reference varies",
        ),
    ],
    ids=["not_null", "min", "max", "some_value", "null_rate", "new_values", "stuck"],
)
def test_broken_fact_fails_its_expectation_alone(
    validator: Validator, change: pl.Expr, failing: dict[str, list[str]], words: str
) -> None:
    """Each expectation fails when its fact is broken, names the column and gives the numbers."""
    window = weather(100, seed=2).with_columns(change)
    results = validator.validate(summary_of(window).rows("weather", DAY))
    assert failures(results) == failing
    assert words in next(row["detail"] for row in results if row["result"] == "fail")


def test_dry_day_is_not_stuck(validator: Validator) -> None:
    """A column that is mostly zero may be all zero in a window of a size where that is usual."""
    window = weather(100, seed=3).with_columns(rain=pl.lit(0.0))
    assert failures(validator.validate(summary_of(window).rows("weather", DAY))) == {}


def test_rain_that_never_comes_is_stuck(validator: Validator) -> None:
    """The same column is stuck when a window is so long that some rain had to come."""
    window = weather(4_000, seed=3).with_columns(rain=pl.lit(0.0))
    assert failures(validator.validate(summary_of(window).rows("weather", DAY))) == {
        "stuck": ["rain"]
    }


def test_one_missing_value_in_a_small_window_is_usual(validator: Validator) -> None:
    """A single null in six rows is no news, though it is far above the reference's rate."""
    window = weather(6, seed=4).with_columns(
        rain=pl.when(pl.int_range(pl.len()) > 0).then("rain").otherwise(None)
    )
    assert "null_rate" not in failures(validator.validate(summary_of(window).rows("weather", DAY)))


def test_several_windows_in_one_call_get_their_own_verdicts(validator: Validator) -> None:
    """A broken window among good ones fails alone."""
    good, bad = weather(100, seed=5), weather(100, seed=6).with_columns(pl.col("temp") + 60)
    windows = [WindowKey("{}", None, None, index) for index in range(5)]
    rows = [
        row
        for window in windows
        for row in summary_of(bad if window.index == 3 else good).rows("weather", window)
    ]
    results = validator.validate(rows)
    assert len(results) == 5 * 7
    failed = [(r["window_index"], r["expectation"], r["columns"]) for r in results if r["columns"]]
    assert failed == [(3, "max", ["temp"])]
    assert {row["result"] for row in results if row["window_index"] != 3} == {"pass"}


def test_no_summaries_give_no_results(validator: Validator) -> None:
    """Nothing is said about nothing."""
    assert validator.validate([]) == []


def test_ignored_column_may_be_empty(validator: Validator) -> None:
    """A column that is not used raises no failure, whatever it holds."""
    results = validator.validate(summary_of(weather(100)).rows("weather", DAY))
    assert "note" not in {name for row in results for name in row["columns"]}


def test_suite_is_json_that_great_expectations_reads(reference: TableSummary) -> None:
    """The suite survives JSON, keeps severity and reason, and its reader does not change it."""
    written = suite(STREAM, reference)
    text = json.dumps(written, allow_nan=False)
    parsed = Engine().read(json.loads(text))
    again = parsed.to_json_dict()
    for before, after in zip(written["expectations"], again["expectations"], strict=True):
        assert {name: after[name] for name in before} == before
        assert before["meta"]["reason"]
        assert before["meta"]["owner"]
    Validator(written)
    assert json.dumps(written, allow_nan=False) == text


def test_check_without_a_bound_is_left_out() -> None:
    """A stream that declares no range, no categories and no `nullable: false` has no such check."""
    plain = STREAM.model_copy(update={"columns": {"rain": STREAM.columns["rain"]}})
    assert [e["meta"]["name"] for e in suite(plain, None)["expectations"]] == [
        "some_value",
        "constant",
    ]


def test_unreadable_expectation_is_no_pass(reference: TableSummary) -> None:
    """Great Expectations leaves out what it cannot read; the validator refuses such a suite."""
    broken = suite(STREAM, reference)
    broken["expectations"][0]["type"] = "expect_what_nobody_knows"
    with pytest.raises(RuntimeError, match="did not take all"):
        Validator(broken)


def test_crash_of_one_check_is_an_error_not_failed_data(reference: TableSummary) -> None:
    """A check that crashes inside Great Expectations is reported apart; the others still count."""
    broken = suite(STREAM, reference)
    broken["expectations"][0]["kwargs"]["column_A"] = "no_such_column"
    window = weather(100, seed=7).with_columns(pl.col("temp") + 60)
    results = Validator(broken).validate(summary_of(window).rows("weather", DAY))
    by_name = {row["expectation"]: row for row in results}
    assert by_name["not_null"]["result"] == "error"
    assert by_name["not_null"]["columns"] == []
    assert "no_such_column" in by_name["not_null"]["detail"]
    assert by_name["max"]["result"] == "fail"
    assert by_name["min"]["result"] == "pass"


def test_crash_of_the_engine_is_an_error_of_every_check(
    reference: TableSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Great Expectations itself fails, no check passes and none fails."""
    validator = Validator(suite(STREAM, reference))

    def crash(**_: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(validator._engine, "_batches", SimpleNamespace(get_batch=crash))
    results = validator.validate(summary_of(weather(100)).rows("weather", DAY))
    assert {row["result"] for row in results} == {"error"}
    assert all("KeyError" in row["detail"] for row in results)


def test_two_validators_in_two_threads_are_right(reference: TableSummary) -> None:
    """Each thread with its own validator gets the verdict of its own data, every time."""
    good = summary_of(weather(100, seed=8)).rows("weather", DAY)
    bad = summary_of(weather(100, seed=8).with_columns(pl.col("temp") + 60)).rows("weather", DAY)
    found: dict[str, list[dict[str, list[str]]]] = {"good": [], "bad": []}
    begin = threading.Barrier(2)

    def work(name: str, rows: list[dict[str, object]]) -> None:
        own = Validator(suite(STREAM, reference))
        begin.wait()
        found[name].extend(failures(own.validate(rows)) for _ in range(8))

    threads = [
        threading.Thread(target=work, args=("good", good)),
        threading.Thread(target=work, args=("bad", bad)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"good": [{}] * 8, "bad": [{"max": ["temp"]}] * 8}


def test_good_reference_passes_the_gate(reference: TableSummary) -> None:
    """A good reference passes every check; its results are JSON and fit the schema."""
    results = validate_reference(weather(2_000), reference, STREAM)
    assert {row["result"] for row in results} == {"pass"}
    assert {"rows_in_range", "rows_in_categories", "rows_not_null", "event_times", "type"} <= {
        row["expectation"] for row in results
    }
    json.dumps(results, allow_nan=False)
    pa.Table.from_pylist(results, schema=EXPECTATION)
    gate(results)


def check(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Check a reference whose rows are all in the sample."""
    return validate_reference(frame, summary_of(frame), STREAM)


def test_empty_column_stops_the_gate_by_name() -> None:
    """A feature with no value at all cannot be fitted: the message names it and says what to do."""
    results = check(weather(200).with_columns(rain=pl.lit(None, pl.Float64)))
    with pytest.raises(ReferenceDataError) as caught:
        gate(results)
    assert "rain: no value in 200 rows, at least one is expected" in str(caught.value)
    assert "`role: ignore`" in str(caught.value)


def test_gate_lists_every_critical_failure() -> None:
    """All that is wrong with the rows comes in one message."""
    frame = weather(200).with_columns(
        temp=pl.when(pl.int_range(pl.len()) > 1).then(pl.col("temp") + 100),
        sky=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("hail")).otherwise("sky"),
        at=pl.lit(datetime(2025, 1, 1, tzinfo=UTC)),
    )
    results = check(frame)
    assert failures(results) == {
        "not_null": ["temp"],
        "max": ["temp"],
        "rows_not_null": ["temp"],
        "rows_in_range": ["temp"],
        "rows_in_categories": ["sky"],
        "event_times": ["at"],
    }
    with pytest.raises(ReferenceDataError) as caught:
        gate(results)
    message = str(caught.value)
    assert "temp: 2 of 200 sampled rows have no value" in message
    assert "198 of 200 sampled rows lie outside -60 to 60" in message
    assert "3 of 200 sampled rows hold a value, such as 'hail'" in message
    assert "at: 1 different event times, at least 30 are expected" in message


@pytest.mark.parametrize(
    "constant",
    [pl.lit(5.0).alias("rain"), pl.lit("clear").alias("sky"), pl.lit(value=True).alias("wet")],
    ids=["rain", "sky", "wet"],
)
def test_constant_column_is_a_warning(constant: pl.Expr) -> None:
    """A constant column is told of, and lets the reference through."""
    results = check(weather(200).with_columns(constant))
    assert failures(results) == {"constant": [constant.meta.output_name()]}
    gate(results)


def test_wrong_or_missing_columns_fail_on_the_arrow_schema(reference: TableSummary) -> None:
    """Types are read from the Arrow schema; the message names the column and both types."""
    sample = weather(200).drop("wind").with_columns(pl.col("gusts").cast(pl.String))
    results = validate_reference(sample, reference, STREAM)
    assert failures(results) == {"type": ["wind", "gusts"]}
    with pytest.raises(ReferenceDataError) as caught:
        gate(results)
    assert "wind: there is no such column, number is expected" in str(caught.value)
    assert "string, integer is expected" in str(caught.value)


def test_crashed_critical_check_stops_the_gate_as_unknown() -> None:
    """What could not be checked is not let through, and not called a fault of the data."""
    row = {"expectation": "max", "severity": "critical", "result": "error", "columns": []}
    with pytest.raises(ReferenceDataError, match="says nothing about the data"):
        gate([{**row, "detail": "the check crashed: KeyError"}])


def test_making_a_suite_does_not_import_great_expectations() -> None:
    """Only building a validator pays for the import."""
    probe = "import sys, monitors.expectations; print('great_expectations' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
