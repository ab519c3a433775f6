"""The rows of the reference that a baseline keeps, to explain findings with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from monitors.kept_rows import (
    STEPS_PER_RUN,
    keep_rows,
    kept_columns,
    places_of,
    typical_step,
)
from monitors.pooling import POOL, is_pooled
from schemas.explain import FEWEST
from schemas.stream import Stream
from transforms.windows import Group, gather, places

ROWS_PER_KEY = 2_000  # of the pool, too
ROWS = 20_000  # of all keys
_FILE = "rows.arrow"
_KEYS = b"tidegauge.keys"


def choose_rows(stream: Stream, sample: pa.Table, step: int) -> dict[str, pa.Table]:
    """Return the rows to keep of the reference, by key, or of the pool; in order of their places.

    Of a key, stretches of rows that follow each other, as in a window. Of the pool, single rows:
    those of different keys do not follow each other.

    Parameters
    ----------
    sample : of the rows of the reference, in order of their hashes.
    step : of neighbouring rows of a key, see `typical_step`.
    """
    if not stream.explain.rows:
        return {}
    columns = kept_columns(stream)
    if is_pooled(stream):
        drawn = sample.slice(0, ROWS_PER_KEY)
        order = np.argsort(places_of(stream, drawn), kind="stable")
        return {POOL: drawn.select(columns).take(pa.array(order)).combine_chunks()}
    table, groups = _by_key(stream, sample)
    share = min(ROWS_PER_KEY, ROWS // len(groups))
    if share < FEWEST:
        return {}
    kept = keep_rows(
        table.select(columns),
        places_of(stream, table),
        [group.stop - group.start for group in groups],
        share,
        STEPS_PER_RUN * step,
    )
    return {group.key: own.table for group, own in zip(groups, kept, strict=True)}


def reference_step(stream: Stream, sample: pa.Table, rows: int) -> int:
    """Return how far apart neighbouring rows of a key are: in µs, or in rows without event time.

    Parameters
    ----------
    sample : of the `rows` rows of the reference.
    """
    table, groups = _by_key(stream, sample)
    return typical_step(places_of(stream, table), places(groups), sample.num_rows / rows)


def write_rows(rows: Mapping[str, pa.Table], folder: Path) -> None:
    """Write rows into a folder, one batch a key, in the order of the keys."""
    keys = sorted(rows)
    schema = rows[keys[0]].schema if keys else pa.schema([])
    schema = schema.with_metadata({_KEYS: json.dumps(keys)})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(folder / _FILE, schema, options=options) as writer:
        for key in keys:
            whole = rows[key].combine_chunks().replace_schema_metadata(schema.metadata)
            writer.write_batch(whole.to_batches()[0])


def read_rows(folder: Path) -> dict[str, pa.Table]:
    """Read what `write_rows` wrote."""
    with pa.ipc.open_file(folder / _FILE) as file:
        keys = json.loads(file.schema.metadata[_KEYS])
        return {
            key: pa.Table.from_batches([file.get_batch(at)]).replace_schema_metadata()
            for at, key in enumerate(keys)
        }


def _by_key(stream: Stream, sample: pa.Table) -> tuple[pa.Table, Sequence[Group]]:
    return gather(sample, stream.key, np.zeros(sample.num_rows, dtype=np.int64))
