from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from schemas.errors import SourceError
from transforms.timestamps import to_utc


def utc(values: Any, zone: str = "UTC", kind: pa.DataType | None = None) -> list[str | None]:
    """Return times as ISO texts in UTC."""
    times = to_utc(pa.chunked_array([pa.array(values, kind)]), zone)
    assert times.type == pa.timestamp("us", tz="UTC")
    return [time and time.isoformat().removesuffix("+00:00") for time in times.to_pylist()]


TEXTS = {
    "2020-01-01": "2019-12-31T23:00:00",
    "2020-01-01 10:00": "2020-01-01T09:00:00",
    "2020-07-01T10:00:00": "2020-07-01T08:00:00",
    "2020-01-01 10:00:00.123456": "2020-01-01T09:00:00.123456",
    "2020-01-01 10:00:00.123456789": "2020-01-01T09:00:00.123456",
    "2020-01-01T10:00:00Z": "2020-01-01T10:00:00",
    "2020-01-01T10:00:00+01:00": "2020-01-01T09:00:00",
    "2020-01-01T10:00:00-0130": "2020-01-01T11:30:00",
    "2020-01-01T10:00:00+05": "2020-01-01T05:00:00",
    " 2020-01-01T10:00 ": "2020-01-01T09:00:00",
    "2020-10-25 02:30": "2020-10-25T00:30:00",  # twice: the earlier one
    "2020-03-29 02:30": None,  # skipped
    "2020-02-30": None,
    "2020-01-01T25:00": None,
    "2020-01-01T10:00:00+99:99": None,
    "0000-01-01": None,
    "01/02/2020": None,
    "1577836800": None,
    "x": None,
    "": None,
}


def test_texts_of_mixed_kinds_in_one_column() -> None:
    """Offsets, zones and precisions may differ from row to row."""
    assert dict(zip(TEXTS, utc([*TEXTS], "Europe/Paris"), strict=True)) == TEXTS


@pytest.mark.parametrize("text", TEXTS)
def test_text_means_the_same_alone_and_in_company(text: str) -> None:
    """The fast way for columns of one kind reads as the slow way does."""
    assert utc([text, None], "Europe/Paris") == [TEXTS[text], None]


@pytest.mark.parametrize(
    ("number", "time"),
    [
        (1_700_000_000, "2023-11-14T22:13:20"),
        (1_700_000_000.5, "2023-11-14T22:13:20.500000"),
        (1_700_000_000_123, "2023-11-14T22:13:20.123000"),
        (1_700_000_000_123_456, "2023-11-14T22:13:20.123456"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456"),
        (-5, "1969-12-31T23:59:55"),
        (float("nan"), None),
        (float("inf"), None),
        (1e30, None),
        (-(2**63), None),
    ],
)
def test_numbers_are_read_by_magnitude(number: float, time: str | None) -> None:
    """Seconds, milli-, micro- and nanoseconds since 1970 differ enough to be told apart."""
    assert utc([number]) == [time]


def test_unsigned_and_missing_numbers() -> None:
    """A number beyond int64 is no time; a null stays one."""
    assert utc([2**63 + 5, 17, None], kind=pa.uint64()) == [None, "1970-01-01T00:00:17", None]


def test_dates_and_timestamps_of_any_unit_and_zone() -> None:
    """Naive times and dates are in the stream's zone, aware ones in their own."""
    day, moment = dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, 10)  # noqa: DTZ001 (naive)
    assert utc([day], "Europe/Paris") == ["2019-12-31T23:00:00"]
    for unit in ("s", "ms", "us", "ns"):
        assert utc([moment], "Europe/Paris", pa.timestamp(unit)) == ["2020-01-01T09:00:00"]
        aware = pa.array([moment]).cast(pa.timestamp(unit, tz="Asia/Tokyo"))
        assert utc(aware, "Europe/Paris") == ["2020-01-01T10:00:00"]
    assert utc(pa.array([1_500], pa.timestamp("ns"))) == ["1970-01-01T00:00:00.000001"]


def test_time_that_no_microsecond_count_holds_is_none() -> None:
    """A timestamp beyond the year 9998 is no time, however it is kept."""
    assert utc(pa.array([10**12], pa.timestamp("s"))) == [None]
    assert utc(pa.array([2**62, 0], pa.timestamp("s"))) == [None, "1970-01-01T00:00:00"]
    assert utc(pa.array([2**62], pa.timestamp("ms", tz="UTC"))) == [None]
    assert utc(pa.array([2**31 - 1, 0], pa.date32())) == [None, "1970-01-01T00:00:00"]


def test_unknown_zone_is_a_source_error() -> None:
    """A zone that the zone tables do not have is the user's to mend."""
    with pytest.raises(SourceError, match="posix/Europe/Paris"):
        utc(["2020-01-01"], "posix/Europe/Paris")
