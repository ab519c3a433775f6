"""The periods of `compare-at`: how long they are, the cycle in them, and what they cannot tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitors.jump.periods import Periods, reach, usual_gap
from schemas.duration import parse_duration
from schemas.errors import StreamFileError

LEAST_PERIODS = 20  # on either side
USUAL_PERIODS = 60  # on the shorter side, if `every` is not given
#: What `every` is chosen from: the longest up to an hour, longer only where rows are rarer.
STEPS = ("1m", "5m", "15m", "1h", "6h", "1d", "7d")
FARTHEST = 20  # periods: what a side was like at the time is not known from farther away
LARGEST = 1e150  # value: squares of larger ones overflow
LEAST_SEASONS = 7  # before the time, for what is usual in each
_DAY = 86_400.0
_HOUR = 3600.0
_MICRO = 10**6


def duration(option: str, text: str) -> float:
    """Return the seconds of an option's duration.

    Raises
    ------
    StreamFileError
        When it cannot be read.
    """
    try:
        return parse_duration(text)
    except ValueError as error:
        message = f"{option}: {error}"
        raise StreamFileError(message) from error


def usual_length(times: NDArray[np.int64], cutoff: int) -> float:
    """Return the longest step of at most an hour that gives the shorter side enough periods.

    Never one that is shorter than the usual time between rows.
    """
    distinct = np.unique(times)
    spacing = float(np.median(np.diff(distinct))) / _MICRO
    shorter = min(cutoff - int(distinct[0]), int(distinct[-1]) - cutoff) / _MICRO
    steps = [parse_duration(step) for step in STEPS]
    possible = [step for step in steps if step >= 0.99 * spacing] or steps[-1:]
    within = [s for s in possible if s <= _HOUR and s * USUAL_PERIODS <= shorter]
    return within[-1] if within else possible[0]


def season_of(season: str | None, length: float, before: float) -> float | None:
    """Return the length of the cycle to take out; None for none.

    Parameters
    ----------
    season : the option.
    length, before : of a period, and of the rows before the time; seconds.

    Raises
    ------
    StreamFileError
        When it cannot be read, is no multiple of a period, or longer than the rows tell of.
    """
    if season == "none":
        return None
    if season is None:
        fits = length < _DAY and _DAY % length == 0 and before >= LEAST_SEASONS * _DAY
        return _DAY if fits else None
    cycle = duration("--season", season)
    if cycle <= length or cycle % length:
        message = f"--season {season}: is no multiple of a period of {said(length)}"
        raise StreamFileError(message)
    if before < LEAST_SEASONS * cycle:
        message = (
            f"--season {season}: there are {before / cycle:.1f} of them before the time, and what "
            f"is usual takes {LEAST_SEASONS}; give --season none, or more rows"
        )
        raise StreamFileError(message)
    return cycle


def untestable(periods: Periods, length: float) -> str | None:
    """Return why periods cannot be tested; None where they can."""
    before, after = periods.sides
    if min(before, after) < LEAST_PERIODS:
        return (
            f"has values in {before:,} periods of {said(length)} before and {after:,} after, "
            f"and {LEAST_PERIODS} are needed: give a shorter --every, or more rows"
        )
    if (gap := usual_gap(periods)) > 1:
        return (
            f"has values in one of {gap} periods of {said(length)} only: "
            f"give --every {said(gap * length)} or longer"
        )
    if (far := max(reach(periods))) > FARTHEST:
        return (
            f"has no values for {said(round(far) * length)} next to the time: "
            f"give a longer --every, or a time with values on both sides"
        )
    if np.abs(periods.functions).max() > LARGEST:
        return f"has values beyond {LARGEST:g}: give them in another unit"
    return None


def said(seconds: float) -> str:
    """Return a length of time as people write it, such as ``6h``."""
    for name, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{name}"
    return f"{seconds:g}s"
