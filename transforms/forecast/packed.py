"""Arrays as JSON values, exact to the bit: forecasters are saved as JSON, never as pickle."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """Return type, shape and compressed bytes; little-endian, whatever the machine."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    content = base64.b85encode(zlib.compress(little.tobytes(), 6)).decode()
    return {"dtype": little.dtype.str, "shape": list(array.shape), "zlib": content}


def unpack(state: Mapping[str, Any]) -> NDArray[Any]:
    """Return what `pack` wrote.

    Raises
    ------
    ValueError
        When the bytes are damaged.
    """
    try:
        content = zlib.decompress(base64.b85decode(state["zlib"]))
    except zlib.error as error:
        message = f"an array is damaged ({error})"
        raise ValueError(message) from error
    flat = np.frombuffer(content, np.dtype(state["dtype"]))
    return flat.reshape(state["shape"]).astype(flat.dtype.newbyteorder("="))
