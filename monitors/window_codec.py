"""Window parts as bytes that a later version can still read: for Beam's state and for run folders.

A part is a head of JSON behind its length, then the arrays it names, little-endian, one after
another. Nothing is ever unpickled. Version 2 has the rows kept, as an Arrow IPC stream.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.blocks import full, upper
from monitors.distinct import DistinctTimes
from monitors.forecast_scores import ForecastScores
from monitors.gram import Profile
from monitors.kept_rows import NO_ROWS, KeptRows, to_ipc
from monitors.summary import TableSummary
from monitors.window import WindowPart
from schemas.errors import OutputError
from transforms.ipc import read_stream

MAGIC = b"TGW"
VERSION = 2
_KINDS = ("<f8", "<i8", "<u8", "|u1")
_MOST_BYTES = 1 << 30  # of the rows of one window
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
    if part.rows.capacity:
        arrays["places"] = part.rows.places.astype("<i8")
        arrays["rows"] = np.frombuffer(to_ipc(part.rows.table), dtype="|u1")
    head = {
        "arrays": {name: [array.dtype.str, array.shape] for name, array in arrays.items()},
        "summary": json.loads(part.summary.to_json()),
        "scores": {target: score.to_dict() for target, score in part.scores.items()},
        "kept": {"capacity": part.rows.capacity, "run": part.rows.run},
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
            _rows(head.get("kept", {}), arrays),
        )
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        message = f"the state of a window cannot be read ({error}); begin the run anew"
        raise OutputError(message) from error


def _rows(kept: Mapping[str, int], arrays: Mapping[str, NDArray[Any]]) -> KeptRows:
    if not kept.get("capacity"):  # none are kept, or it is of version 1
        return NO_ROWS
    places = arrays["places"]
    schema, batches = read_stream(arrays["rows"].tobytes(), len(places), _MOST_BYTES)
    table = pa.Table.from_batches(batches, schema)
    if table.num_rows != len(places):
        message = f"{table.num_rows} rows have {len(places)} places"
        raise ValueError(message)
    return KeptRows(kept["capacity"], table, places, kept["run"])


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
