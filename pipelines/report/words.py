"""Numbers, times, keys and chances as people read them. All times are UTC."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta

from monitors.rollup import ALL_KEYS

NBSP = "\u00a0"
NONE = "–"

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LARGE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def number(value: float | None) -> str:
    """Return a value with about three significant digits; integers whole."""
    if value is None or math.isnan(value):
        return NONE
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e9):
        return power(value)
    text = f"{value:,.0f}" if value == int(value) or size >= 1000 else f"{value:.3g}"
    return text.replace("-", "−")


def power(value: float) -> str:
    """Return a value as a power of ten, such as ``2 × 10⁻⁹``."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value).replace("-", "−").replace("inf", "∞")
    digits, exponent = f"{value:.0e}".split("e")
    digits = digits.replace("-", "−")
    return f"{digits}{NBSP}×{NBSP}10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a ratio in percent."""
    if value is None or math.isnan(value):
        return NONE
    return f"{100 * value:.{digits}f}{NBSP}%".replace("-", "−")


def chance(p: float | None) -> str:
    """Return a p-value as odds, such as ``1 in 5 million``."""
    if p is None:
        return NONE
    if p >= 0.1:
        return f"{p:.2f}"
    if p < 1e-15:
        exponent = math.floor(-math.log10(p)) if p > 1e-300 else 300
        less = "" if p > 1e-300 else "less than "
        return f"{less}1 in 10{str(exponent).translate(_SUPERSCRIPT)}"
    odds = 1 / p
    for size, name in _LARGE:
        if odds >= size:
            return f"1 in {_round(odds / size):,}{NBSP}{name}"
    return f"1 in {_round(odds):,}"


def _round(value: float) -> int:
    """Round to two significant digits."""
    scale: int = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return round(value / scale) * scale


def count(amount: int, noun: str, plural: str | None = None) -> str:
    """Return an amount with its noun, such as ``1 alarm`` or ``2,000 alarms``."""
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def listed(words: list[str], most: int = 4) -> str:
    """Return words as ``a, b and c``, or ``a, b and 7 more``."""
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def shorten(text: str, most: int = 30) -> str:
    """Cut the middle out of a long name."""
    if len(text) <= most:
        return text
    head = (most - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def key_label(key: str) -> str:
    """Return the JSON of a key as ``station = A, line = 2``; nothing when there is no key."""
    if key == ALL_KEYS:
        return "all keys together"
    try:
        parts = json.loads(key)
    except ValueError:
        return key
    if not isinstance(parts, dict):
        return key
    return ", ".join(f"{name} = {value}" for name, value in parts.items())


def window_label(start: datetime | None, end: datetime | None, index: int | None) -> str:
    """Return a window as ``12–19 Sep 2013``, ``12 Sep 2013, 14:00–15:00`` or ``window 17``."""
    if start is None or end is None:
        return "the whole run" if index is None else f"window{NBSP}{index:,}"
    return span(start, end)


def span(start: datetime, end: datetime) -> str:
    """Return a half-open span of time in as few words as are clear."""
    if _midnight(start) and _midnight(end):
        return _days(start, end)
    if end.date() == start.date():
        return f"{date(start)}, {_clock(start)}–{_clock(end)}"
    if _midnight(end) and end - start < timedelta(days=1):
        return f"{date(start)}, {_clock(start)}–24:00"
    return f"{moment(start)} – {moment(end)}"


def _days(start: datetime, end: datetime) -> str:
    if end - start == timedelta(days=1):
        return date(start)
    if start.year != end.year:
        return f"{date(start)} – {date(end)}"
    if start.month != end.month:
        return f"{_day(start)} – {date(end)}"
    return f"{start.day}–{date(end)}"


def moment(time: datetime) -> str:
    """Return one instant."""
    return f"{date(time)}, {_clock(time)}"


def date(time: datetime) -> str:
    """Return a date such as ``12 Sep 2013``."""
    return f"{_day(time)}{NBSP}{time.year}"


def tick(time: datetime, previous: datetime | None) -> str:
    """Return the label of a tick: what changed since the tick before, the year once."""
    first = previous is None or previous.year != time.year
    day = _day(time) if _midnight(time) else f"{_clock(time)}\n{_day(time)}"
    if previous is not None and not _midnight(time) and previous.date() == time.date():
        return _clock(time)
    return f"{day}\n{time.year}" if first and _midnight(time) else day


def _day(time: datetime) -> str:
    return f"{time.day}{NBSP}{_MONTHS[time.month - 1]}"


def _clock(time: datetime) -> str:
    return f"{time:%H:%M:%S}" if time.second else f"{time:%H:%M}"


def _midnight(time: datetime) -> bool:
    return (time.hour, time.minute, time.second, time.microsecond) == (0, 0, 0, 0)
