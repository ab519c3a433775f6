"""What is on disk before work begins: a stream, an encoder, a reference."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitors.encoder import Encoder, fit_encoder
from monitors.feature_shift.reference import (
    Reference,
    blocks_per_window,
    reference_from_blocks,
)
from monitors.gram import profile_blocks
from schemas.alarms import Alarms
from schemas.source import Source
from schemas.stream import Column, Stream, Window

SAMPLE_ROWS = 65_536
WINDOWS = 10


def number_columns(names: Sequence[str]) -> dict[str, Column]:
    """Declare every column as a number."""
    return {name: Column(type="number") for name in names}


def stored(path: str) -> tuple[Stream, str]:
    """Return a stream over a table, and the file of an encoder fitted on the table's first rows."""
    rows = pa.Table.from_batches([next(pq.ParquetFile(path).iter_batches(SAMPLE_ROWS))])
    stream = Stream(
        tidegauge=1,
        name="benchmark",
        source=Source(path=path),
        reference=Source(path=path),
        columns=number_columns(rows.column_names),
        window=Window(rows=SAMPLE_ROWS),
        alarms=Alarms(false="1 per 500 windows"),
    )
    encoder = fit_encoder(
        rows, stream.columns, features=rows.column_names, window_rows=rows.num_rows
    )
    file = Path(path).with_suffix(".encoder.json")
    file.write_text(json.dumps(encoder.to_json()))
    return stream, str(file)


@functools.lru_cache
def load_encoder(file: str) -> Encoder:
    """Load an encoder, once per process."""
    return Encoder.from_json(json.loads(Path(file).read_text()))


def stored_reference(path: str) -> Reference:
    """Build the reference of a table in another process, so that its memory is not ours."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_build_reference, path).result()


def _build_reference(path: str) -> Reference:
    _, file = stored(path)
    rows = pq.read_table(path)
    per_window = blocks_per_window(WINDOWS)
    numbers = np.arange(rows.num_rows) * WINDOWS * per_window // rows.num_rows
    blocks = profile_blocks(load_encoder(file), rows, numbers)
    return reference_from_blocks(load_encoder(file), "moments", blocks, per_window).fit_nulls(
        seed=0
    )
