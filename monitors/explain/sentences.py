"""What a person is told of a change: one sentence, which follows the feature's name."""

from __future__ import annotations

from datetime import datetime

UNCHANGED = "as in the reference, given the other features"
STUCK = "stuck: it hardly varies in this window, unlike in the reference"
RELATION = "its relation to the other features changed"


def missing(now: float, before: float) -> str:
    """Say how many rows have no value."""
    return f"missing in {_share(now, 1)} of the rows, against {_share(before, 1)} in the reference"


def unseen(now: float, *, constant: bool) -> str:
    """Say how many rows hold what the reference never had."""
    kept = "its one value" if constant else "a value the reference has"
    return f"{_share(now, 1)} of the rows do not hold {kept}"


def category(value: str, now: float, before: float) -> str:
    """Say how the share of a category changed."""
    return f"{value!r} in {_share(now)} of the rows, against {_share(before)}"


def outside(end: float, unit: str | None, *, above: bool) -> str:
    """Say that the values lie beyond all those of the reference."""
    side = "above" if above else "below"
    return f"nearly all values are {side} {amount(end, unit)}, where the reference ends"


def offset(size: float, unit: str | None, sign: float) -> str:
    """Say how far off it reads; a size of 0 is one that is not known."""
    side = "high" if sign > 0 else "low"
    much = f" {amount(abs(size), unit)}" if size else ""
    return f"reads{much} {side} given the other features"


def drift(size: float, unit: str | None) -> str:
    """Say how far off it reads in the end."""
    side = "high" if size > 0 else "low"
    return (
        f"drifts away from the other features: at the end of the window it reads "
        f"{amount(abs(size), unit)} {side}"
    )


def scale(gain: float) -> str:
    """Say how much it moves where it should move by 1."""
    if gain < 0:
        return f"turned over: it moves {-gain:.2f} times as far as it should, the other way"
    much = "more" if gain > 1 else "less"
    return f"moves {much} than the other features say: {gain:.2f} times as far as it should"


def unit(before: str, now: str, *, given: bool) -> str:
    """Say in which unit it reads."""
    if given:
        return f"reads in {now} instead of {before}"
    return f"reads as if it had been converted from {before} to {now}"


def noise(factor: float) -> str:
    """Say how many times noisier or quieter it is."""
    noun, times = ("noisier", factor) if factor > 1 else ("quieter", 1 / factor)
    return f"{times:.1f} times {noun} than in the reference, given the other features"


def lag(late: str, *, ahead: bool) -> str:
    """Say how late it reads."""
    return f"reads {late} {'early' if ahead else 'late'} given the other features"


def clipped(limit: float, unit_: str | None, *, above: bool) -> str:
    """Say at which value it is cut off."""
    side = "above" if above else "below"
    return f"cut off at {amount(limit, unit_)}, where the other features ask for values {side} it"


def stuck(value: float, unit_: str | None) -> str:
    """Say at which value it is stuck."""
    return f"stuck at {amount(value, unit_)}, whatever the other features do"


def replay(before: float, now: float) -> str:
    """Say how much of it the others explained."""
    return (
        f"no longer follows the other features: they explained {_share(before)} of it in the "
        f"reference, {_share(now)} here"
    )


def dependence(before: float, now: float) -> str:
    """Say how much of it the others explain still."""
    return f"{RELATION}: they explained {_share(before)} of it in the reference, {_share(now)} here"


def swapped(partner: str) -> str:
    """Say with which feature it was exchanged."""
    return f"swapped with {partner}: each reads what the other should"


def beginning(since: datetime) -> str:
    """Say when it began, in UTC."""
    return f", since {since.day} {since:%b %H:%M}"


def duration(seconds: float) -> str:
    """Write a length of time in the largest unit that divides it."""
    for length, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.3g} s"


def amount(value: float, unit_: str | None) -> str:
    """Write a number with its unit."""
    digits = f"{value:.3g}" if abs(value) < 1000 else f"{value:.1f}".removesuffix(".0")
    return f"{digits} {unit_}" if unit_ else digits


def _share(value: float, digits: int = 0) -> str:
    return f"{value:.{digits}%}".replace("%", " %")
