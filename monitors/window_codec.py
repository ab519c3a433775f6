"""Window parts as bytes that a later version can still read: for Beam's state and for run folders.

A part is a head of JSON behind its length, then the arrays it names, little-endian, one after
another. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitors.blocks import full, upper
from monitors.distinct import DistinctTimes
from monitors.forecast_scores import ForecastScores
from monitors.gram import Profile
from monitors.summary import TableSummary
from monitors.window import WindowPart
from schemas.errors import OutputError

MAGIC = b"TGW"
VERSION = 1
_KINDS = ("<f8", "<i8", "<u8")
_HEAD = len(MAGIC) + 1 + 4  # magic, version, length of the JSON


def encode_part(part: WindowPart) -> bytes:
    """Return a part as bytes; the same part gives the same bytes."""
    profile = part.profile
    arrays = {
        "triangle": upper(profile.gram[None])[0].astype("<f8"),
        "counts": profile.counts.astype("<i8"),
        "histograms": profile.histograms.astype("<f8"),
        "times": part.times.hashes.astype("<u8"),
    }
    head = {
        "arrays": {name: [array.dtype.str, array.shape] for name, array in arrays.items()},
        "summary": json.loads(part.summary.to_json()),
        "scores": {target: score.to_dict() for target, score in part.scores.items()},
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    start = MAGIC + bytes([VERSION]) + len(text).to_bytes(4, "little")
    return start + text + b"".join(array.tobytes() for array in arrays.values())


def decode_part(data: bytes) -> WindowPart:
    """Read what `encode_part` wrote.

    Raises
    ------
    OutputError
        When the bytes are damaged, or of a later version.
    """
    try:
        head, arrays = _read(data)
        return WindowPart(
            Profile(full(arrays["triangle"][None])[0], arrays["counts"], arrays["histograms"]),
            TableSummary.from_json(json.dumps(head["summary"])),
            {name: ForecastScores.from_dict(score) for name, score in head["scores"].items()},
            DistinctTimes(arrays["times"]),
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        message = f"the state of a window cannot be read ({error}); begin the run anew"
        raise OutputError(message) from error


def _read(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    if data[: len(MAGIC)] != MAGIC:
        message = "it is none"
        raise ValueError(message)
    if data[len(MAGIC)] > VERSION:
        message = f"it has version {data[len(MAGIC)]}, and this program reads up to {VERSION}"
        raise ValueError(message)
    at = _HEAD + int.from_bytes(data[_HEAD - 4 : _HEAD], "little")
    head = json.loads(data[_HEAD:at])
    arrays = {}
    for name, (kind, shape) in head["arrays"].items():
        if kind not in _KINDS:
            message = f"{name} is of kind {kind!r}"
            raise ValueError(message)
        dtype = np.dtype(kind)
        array = np.frombuffer(data, dtype, math.prod(shape), at).reshape(shape)
        arrays[name] = array.astype(dtype.newbyteorder("="))
        at += array.nbytes
    return head, arrays
