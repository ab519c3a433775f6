"""`tidegauge backtest`: the forecasters on the reference, from rolling origins."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tests.small_streams import HOURS, Outcome, Watched, tidegauge


@pytest.fixture
def short(small: Watched) -> Watched:
    """Return the small stream with a reference of six weeks, its files in no order."""
    path = small.folder / "reference.parquet"
    rows = pl.read_parquet(path)[: 6 * HOURS]
    (small.folder / "parts").mkdir()
    for number in range(3):
        part = rows[number * 2 * HOURS : (number + 1) * 2 * HOURS]
        part.write_parquet(small.folder / "parts" / f"{2 - number}.parquet")
    stream = json.loads(small.file.read_text())
    stream["reference"] = {"path": str(small.folder / "parts" / "*.parquet")}
    small.file.write_text(json.dumps(stream))
    return small


def test_each_origin_trains_on_what_was_before_it(short: Watched) -> None:
    """A table per target, a row per origin: training grows, and the interval covers its share."""
    done = tidegauge("backtest", short.file)
    assert (done.code, done.err) == (0, "")
    title, header, *lines = done.out.splitlines()
    assert title == "s1: calibrated 90% interval, rolling origins"
    assert header.split()[:2] == ["origin", "trained"]
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    trained = [int(row[1].replace(",", "")) for row in rows]
    tested = [int(row[2].replace(",", "")) for row in rows]
    assert trained == sorted(trained)
    assert trained[-1] + tested[-1] == 6 * HOURS
    for row in rows:
        assert float(row[4]) < float(row[5])  # pinball below climatology: the sensors are linked
        assert 0.75 < float(row[7].rstrip("%")) / 100 < 0.99


def test_order_of_the_files_does_not_matter(short: Watched) -> None:
    """Origins go by event time: the same reference in one file gives the same table."""
    parts = tidegauge("backtest", short.file)
    rows = pl.read_parquet(short.folder / "parts" / "*.parquet").sort("time")
    rows.write_parquet(short.folder / "one.parquet")
    stream = json.loads(short.file.read_text())
    stream["reference"] = {"path": str(short.folder / "one.parquet")}
    short.file.write_text(json.dumps(stream))
    assert tidegauge("backtest", short.file).out == parts.out


def test_unusable_reference_is_refused(short: Watched) -> None:
    """A reference without a usable row is the user's mistake, in one sentence."""
    rows = pl.read_parquet(short.folder / "parts" / "0.parquet").with_columns(s2=pl.lit("x"))
    rows.write_parquet(short.folder / "one.parquet")
    stream = json.loads(short.file.read_text())
    stream["reference"] = {"path": str(short.folder / "one.parquet")}
    short.file.write_text(json.dumps(stream))
    done = tidegauge("backtest", short.file)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("tidegauge: ")


def test_stream_without_forecasts_is_refused(short: Watched) -> None:
    """There is nothing to evaluate, and the key that is missing is named."""
    stream = json.loads(short.file.read_text())
    short.file.write_text(json.dumps({**stream, "forecasts": []}))
    done: Outcome = tidegauge("backtest", short.file)
    assert (done.code, done.out) == (2, "")
    assert "no `forecasts:`" in done.err
