"""Lengths of time as people write them: ``30s``, ``15m``, ``1h``, ``7d``, ``2w``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LEAST = 1e-6  # times are whole microseconds
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as ``7d``.

    Raises
    ------
    ValueError
        When the text is not a positive number followed by one of ``s m h d w``, or is less than a
        microsecond.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or float(found[1]) * _SECONDS[found[2]] < _LEAST:
        message = (
            f"{text!r} is not a duration: write a positive number and a unit, "
            f"such as 30s, 15m, 1h, 7d or 2w"
        )
        raise ValueError(message)
    return float(found[1]) * _SECONDS[found[2]]


def _readable(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[str, AfterValidator(_readable)]
