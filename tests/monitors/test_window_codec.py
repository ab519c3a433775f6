from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from monitors.distinct import distinct_times
from monitors.forecast_scores import ForecastScores
from monitors.gram import Profile, gram_matrix
from monitors.kept_rows import NO_ROWS, keep_rows
from monitors.summary import summarise
from monitors.window import WindowPart
from monitors.window_codec import MAGIC, decode_part, encode_part
from schemas.errors import OutputError
from schemas.stream import Column


@pytest.fixture
def part(rng: np.random.Generator) -> WindowPart:
    """Return a part with everything in it."""
    phi = rng.normal(size=(50, 6))
    times = pa.chunked_array(
        [pa.array([datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(24)])]
    ).cast(pa.timestamp("us", tz="UTC"))
    table = pa.table({"a": phi[:, 0], "b": ["x", None] * 25})
    columns = {"a": Column(type="number"), "b": Column(type="category")}
    return WindowPart(
        Profile(gram_matrix(phi), rng.integers(0, 9, (3, 2)), rng.normal(size=(3, 5))),
        summarise(table, columns, {"b": frozenset("x")}),
        {"y": ForecastScores(scored=3, pinball_sum=0.1, width_sum=math.inf, pit=(1,) * 10)},
        distinct_times(times),
        keep_rows(table, np.arange(50), [50], 20, 4)[0],
    )


def as_version_1(data: bytes) -> bytes:
    """Return a part without rows as the version before wrote it."""
    start = len(MAGIC) + 5
    stop = start + int.from_bytes(data[start - 4 : start], "little")
    head = json.loads(data[start:stop])
    del head["kept"]
    text = json.dumps(head, separators=(",", ":")).encode()
    return MAGIC + b"\x01" + len(text).to_bytes(4, "little") + text + data[stop:]


def test_a_part_reads_back_to_the_last_bit(part: WindowPart) -> None:
    """Gram matrix, counts, histograms, summaries, scores, times, rows."""
    again = decode_part(encode_part(part))
    np.testing.assert_array_equal(again.profile.gram, part.profile.gram)
    np.testing.assert_array_equal(again.profile.counts, part.profile.counts)
    np.testing.assert_array_equal(again.profile.histograms, part.profile.histograms)
    np.testing.assert_array_equal(again.times.hashes, part.times.hashes)
    assert (again.summary, again.scores) == (part.summary, part.scores)
    assert again.rows.table.equals(part.rows.table)
    np.testing.assert_array_equal(again.rows.places, part.rows.places)
    assert (again.rows.capacity, again.rows.run) == (20, 4)


def test_a_part_of_the_version_before_has_no_rows(part: WindowPart) -> None:
    """The state of a run goes on; windows that are open then have none to explain them with."""
    bare = replace(part, rows=NO_ROWS)
    old = decode_part(as_version_1(encode_part(bare)))
    assert old.rows.capacity == 0
    assert (old + part).rows.capacity == 0
    assert encode_part(old) == encode_part(bare)


def test_the_same_part_gives_the_same_bytes(part: WindowPart) -> None:
    """Also after it was read; so that a retry writes what the first try wrote."""
    data = encode_part(part)
    assert encode_part(part) == data == encode_part(decode_part(data))


def test_equal_rows_give_the_same_bytes_however_they_came_together(
    part: WindowPart, rng: np.random.Generator
) -> None:
    """Also where values are missing: what lies in memory under a null is not written."""
    values = pa.array(rng.normal(size=300), mask=rng.random(300) < 0.3)
    texts = pa.array(rng.choice(["x", "yy"], 300), mask=rng.random(300) < 0.3)
    flags = pa.array(rng.random(300) < 0.5, mask=rng.random(300) < 0.3)
    table = pa.table({"a": values, "b": texts, "c": flags})
    places = np.arange(300)
    (whole,) = keep_rows(table, places, [300], 100, 4)
    pieces = keep_rows(table, places, [100, 150, 50], 100, 4)
    merged = pieces[2] + pieces[0] + pieces[1]
    assert encode_part(replace(part, rows=whole)) == encode_part(replace(part, rows=merged))


def test_what_was_read_adds_up(part: WindowPart) -> None:
    """The arrays of a decoded part may be added to."""
    twice = decode_part(encode_part(part)) + decode_part(encode_part(part))
    assert twice.profile.rows == 2 * part.profile.rows


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: b"no" + data, "it is none"),
        (lambda data: data[:-8], "cannot be read"),
        (lambda data: data[:100], "cannot be read"),
        (lambda _: b"", "it is none"),
        (lambda data: MAGIC + b"\x07" + data[4:], "version 7"),
        (lambda data: data.replace(b'"<f8"', b'"<O8"', 1), "of kind '<O8'"),
        (lambda data: data.replace(b'"places":["<i8",[20]', b'"places":["<i8",[19]'), "cannot be"),
        (lambda data: data[:-200] + bytes(200), "cannot be read"),
    ],
    ids=["other", "short", "head", "empty", "newer", "objects", "places", "rows"],
)
def test_damaged_bytes_are_one_error(part: WindowPart, spoil: object, says: str) -> None:
    """Nothing is unpickled, and nothing half read."""
    assert callable(spoil)
    with pytest.raises(OutputError, match=says):
        decode_part(spoil(encode_part(part)))


def test_a_part_without_forecasts_or_times_is_small(part: WindowPart) -> None:
    """What is not there costs nothing."""
    bare = replace(part, scores={}, times=replace(part.times, hashes=part.times.hashes[:0]))
    assert len(encode_part(bare)) < len(encode_part(part))
