"""Times of any kind to UTC: texts, dates, zoned and local timestamps, counts since the epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.errors import SourceError

UTC = pa.timestamp("us", tz="UTC")
_NAIVE = pa.timestamp("us")
_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_FIRST, _LAST = -62_135_596_800 * 10**6, 253_370_764_800 * 10**6  # the years 1 and 9999 begin

_ISO = (
    r"^(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<hour>[0-9]{2})"
    r"(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<part>[0-9]+))?)?)?"
    r"\s*(?P<offset>[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?)?$"
)
#: Counts since 1970-01-01 UTC below these magnitudes are seconds, milli- and microseconds.
EPOCH_LIMITS = (10**11, 10**14, 10**17)


def is_time_like(kind: pa.DataType) -> bool:
    """Tell whether values of an Arrow type can be times."""
    return bool(
        pa.types.is_timestamp(kind) or pa.types.is_date(kind) or is_text(kind) or is_numeric(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    """Tell whether an Arrow type is one of the string types."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_numeric(kind: pa.DataType) -> bool:
    """Tell whether an Arrow type is an integer, float or decimal type."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def to_utc(values: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    """Return times as timestamp[us, UTC]; null where there is no time, or none that exists.

    Parameters
    ----------
    values
        Texts in ISO 8601 (a blank for the T, no seconds, or a date alone will do; offsets may
        differ from row to row), timestamps, dates (their midnight), or numbers since the epoch.
        Digits finer than a microsecond are cut off; there is no
        time before the year 1 or after 9998.
    zone
        IANA name of the zone of times that carry none. An hour that the clocks go through twice
        is the earlier one; an hour that they skip does not exist, and gives null.

    Notes
    -----
    Numbers are read by magnitude, each for itself: below 1e11 as seconds (to the year 5138),
    below 1e14 as milliseconds, below 1e17 as microseconds, above as nanoseconds. Texts that are
    numbers are never times: `2020010112` could be an hour as well as a count.

    Raises
    ------
    SourceError
        When the zone is unknown.
    """
    times = _any_to_utc(values, zone)
    micros = times.cast(pa.int64())
    outside = pc.or_(pc.less(micros, _FIRST), pc.greater(micros, _LAST))
    return pc.if_else(outside, None, times) if pc.any(outside).as_py() else times


def _any_to_utc(values: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    kind = values.type
    if pa.types.is_null(kind):
        return pa.chunked_array([pa.nulls(len(values), UTC)])
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # digits finer than the microsecond are cut off; what overflows is noticed
        own = getattr(kind, "tz", None)
        options = pc.CastOptions(target_type=pa.timestamp("us", tz=own), allow_time_truncate=True)
        micros = pc.cast(_within_years(values), options=options)
        return micros.cast(UTC) if own else _localised(micros, zone)
    if is_numeric(kind):
        return _from_epoch(values)
    return _from_text(values, zone)


def _within_years(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return timestamps or dates with nulls for those that overflow as microseconds."""
    kind = values.type
    per_day = 1 if kind == pa.date32() else _PER_DAY[getattr(kind, "unit", "ms")]
    if per_day > _PER_DAY["us"]:
        return values
    ticks = values.cast(pa.int32() if kind == pa.date32() else pa.int64()).cast(pa.int64())
    first, last = (limit // _PER_DAY["us"] * per_day for limit in (_FIRST, _LAST))
    outside = pc.or_(pc.less(ticks, first), pc.greater(ticks, last))
    return pc.if_else(outside, None, values) if pc.any(outside).as_py() else values


def _localised(naive: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    if zone == "UTC":
        return naive.cast(UTC)
    try:
        local = _series(naive).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    except pl.exceptions.ComputeError as error:
        raise SourceError(
            f"the time zone {zone!r} is not known here; use an IANA name such as Europe/Paris"
        ) from error
    return pa.chunked_array([local.dt.convert_time_zone("UTC").to_arrow()]).cast(UTC)


def _from_epoch(values: pa.ChunkedArray) -> pa.ChunkedArray:
    numbers: NDArray[Any]
    if pa.types.is_integer(values.type) and values.type != pa.uint64():
        numbers = pc.fill_null(values.cast(pa.int64()), 0).to_numpy()
        known = values.is_valid().to_numpy() & (numbers > -(2**63))  # it has no absolute value
    else:
        numbers = values.cast(pa.float64(), safe=False).to_numpy()
        known = np.isfinite(numbers) & (np.abs(numbers) < 2.0**63)
    numbers = np.where(known, numbers, 0)
    size = np.abs(numbers)
    seconds, millis, micros = (size < limit for limit in EPOCH_LIMITS)
    scaled = np.select(
        [seconds, millis, micros],
        [np.where(seconds, numbers, 0) * 10**6, np.where(millis, numbers, 0) * 1000, numbers],
        numbers // 1000,
    )
    whole = np.rint(scaled).astype(np.int64)
    return pa.chunked_array([pa.array(whole, mask=~known).cast(UTC)])


def _from_text(values: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    # Arrow's own reader takes a part of what `_ISO` takes, and takes it alike, but only columns
    # whose times all carry an offset, or all carry none.
    for kind in (_NAIVE, UTC):
        try:
            times = values.cast(kind)
        except pa.ArrowInvalid:
            continue
        return _localised(times, zone) if kind == _NAIVE else times
    parts = _series(values).str.strip_chars().str.extract_groups(_ISO).struct.unnest()
    naive = pl.format(
        "{}T{}:{}:{}.{}",
        "date",
        pl.col("hour").fill_null("00"),
        pl.col("minute").fill_null("00"),
        pl.col("second").fill_null("00"),
        pl.col("part").fill_null("0").str.slice(0, 6),
    ).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us")
    digits = pl.col("offset").str.replace("[Zz]", "+00").str.replace(":", "").str.slice(1)
    sign = pl.when(pl.col("offset").str.starts_with("-")).then(-1).otherwise(1)
    east = sign * (
        digits.str.slice(0, 2).cast(pl.Int64) * 60
        + digits.str.slice(2, 2).str.zfill(2).cast(pl.Int64)
    )
    read = parts.select(naive=naive, east=east)
    aware = read["naive"] - read.select(pl.duration(minutes="east")).to_series()
    local = _localised(pa.chunked_array([read["naive"].to_arrow()]), zone)
    return pc.coalesce(pa.chunked_array([aware.to_arrow()]).cast(UTC), local)


def _series(values: pa.ChunkedArray) -> pl.Series:
    series = pl.from_arrow(values)
    assert isinstance(series, pl.Series)  # noqa: S101 (an array gives a series)
    return series
