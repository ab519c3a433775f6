"""Calendar terms of event times (UTC): what explains features and targets and is never blamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.stream import CalendarTerm

Floats = NDArray[np.float64]
#: Event times: an Arrow array, datetime64, or whole seconds since 1970.
Times: TypeAlias = pa.Array | pa.ChunkedArray | NDArray[np.datetime64] | NDArray[np.integer]

# Two harmonics draw a day or a year with one main and one side peak; three span 7 days exactly.
_HARMONICS: dict[CalendarTerm, int] = {"hour_of_day": 2, "day_of_week": 3, "day_of_year": 2}


def calendar_names(terms: Sequence[CalendarTerm]) -> list[str]:
    """Return the names of the columns of `calendar_terms`, such as ``hour_of_day_sin1``."""
    return [
        f"{term}_{wave}{harmonic}"
        for term in terms
        for harmonic in range(1, _HARMONICS[term] + 1)
        for wave in ("sin", "cos")
    ]


def calendar_terms(times: Times, terms: Sequence[CalendarTerm]) -> Floats:
    """Sines and cosines of the place of each time within its day, week and year, in UTC.

    ``hour_of_day`` and ``day_of_year`` move continuously; ``day_of_week`` is a step from day to day
    (Monday first), whose three harmonics span every function of the seven days.

    Parameters
    ----------
    times : timestamp array of Arrow, datetime64 array, or integer seconds since 1970; shape (n,)
        Times without a zone are taken as UTC.
    terms : sequence of ``hour_of_day``, ``day_of_week``, ``day_of_year``

    Returns
    -------
    float64 array, shape (n, len(calendar_names(terms)))
        Within [−1, 1]; rows of missing times are NaN.
    """
    moments = _as_microseconds(times)
    known = ~np.isnat(moments)
    columns = [
        wave(2 * np.pi * harmonic * phase)
        for term in terms
        for phase in [_phase(moments, term)]
        for harmonic in range(1, _HARMONICS[term] + 1)
        for wave in (np.sin, np.cos)
    ]
    matrix = np.column_stack(columns) if columns else np.empty((len(moments), 0))
    matrix[~known] = np.nan
    return matrix


def _phase(moments: NDArray[np.datetime64], term: CalendarTerm) -> Floats:
    """Return the place within the term's period, in [0, 1); anything where the time is missing."""
    days = moments.astype("datetime64[D]")
    place: Floats
    if term == "hour_of_day":
        place = (moments - days) / np.timedelta64(1, "D")
    elif term == "day_of_week":
        place = ((days.astype(np.int64) + 3) % 7) / 7  # 1970-01-01 was a Thursday
    else:
        year = moments.astype("datetime64[Y]")
        begin, end = (y.astype("datetime64[us]") for y in (year, year + np.timedelta64(1, "Y")))
        place = (moments - begin) / (end - begin)
    return place


def _as_microseconds(times: Times) -> NDArray[np.datetime64]:
    if isinstance(times, pa.ChunkedArray | pa.Array):
        if not pa.types.is_timestamp(times.type):
            raise ValueError(f"calendar terms need timestamps, not {times.type}")
        return np.asarray(times, dtype="datetime64[us]")  # Arrow keeps zoned times as UTC
    array: NDArray[Any] = np.asarray(times)
    if np.issubdtype(array.dtype, np.integer):
        array = array.astype("datetime64[s]")
    return array.astype("datetime64[us]")
