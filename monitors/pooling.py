"""One reference for all keys: windows of one key, drawn from all keys.

A window of the pool lies within one key, so that the law of its windows holds what parts one key
from another, and a window of a key that the reference never saw can be tested. Windows are drawn
two by two (nulls are kept for windows of up to twice the nominal size), by a hash of key and time:
the same rows give the same pool, however they were cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from monitors.blocks import Blocks
from schemas.stream import Stream

POOL = "pool"  #: the pool's name among the references; a key is a JSON object
WINDOWS_DRAWN = 400  # of all keys and times: more would hardly make the law of windows surer
_BYTES = 1 << 28  # of the Gram matrices of wide tables
_LEAST_WINDOWS = 100


def is_pooled(stream: Stream) -> bool:
    """Say whether the keys of a stream share one reference."""
    return bool(stream.key) and stream.key_baseline == "pooled"


def windows_drawn(columns: int, per_window: int) -> int:
    """Return how many windows of `per_window` blocks the pool of so many basis columns holds."""
    fit = _BYTES // (8 * (columns + 1) ** 2 * per_window)
    return int(np.clip(fit, _LEAST_WINDOWS, WINDOWS_DRAWN))


def is_drawn(key: str, pair: int, share: float) -> bool:
    """Say whether a pair of windows of a key belongs to a pool of a share of all."""
    digest = hashlib.blake2b(f"{pair}\n{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2.0**64


def pool(blocks: Mapping[str, Blocks], per_window: int) -> Blocks:
    """Put the blocks of all keys in one row, key after key, numbered so that no two keys touch."""
    pair = 2 * per_window
    low = min(int(own.numbers[0]) for own in blocks.values()) // pair * pair
    high = max(int(own.numbers[-1]) for own in blocks.values())
    step = ((high - low) // pair + 2) * pair
    parts = [blocks[key] for key in sorted(blocks)]
    return Blocks(
        np.concatenate([own.numbers - low + step * i for i, own in enumerate(parts)]),
        np.concatenate([own.triangles for own in parts]),
        np.concatenate([own.counts for own in parts]),
        np.concatenate([own.histograms for own in parts]),
    )
