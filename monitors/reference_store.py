"""The references of a baseline on disk: one Arrow record batch per key, read when it is asked for.

A stream may have thousands of keys, and a worker judges the windows of a few at a time.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from monitors.blocks import Blocks, upper
from monitors.encoder import Encoder
from monitors.feature_shift.reference import Reference
from monitors.marginals.reference import MarginalReference
from monitors.null import Null

REFERENCES = "references.arrow"
INDEX = "keys.json"
_IN_MEMORY = 16  # references, most of them of keys whose windows follow each other


class StoredReferences(Mapping[str, Reference]):
    """References by key; each is built when it is asked for."""

    def __init__(
        self,
        keys: Sequence[str],
        read: Callable[[int], pa.Table],
        encoder: Encoder,
        method: str,
        per_window: int,
    ) -> None:
        """Take the keys in order, and what reads the table of the n-th of them."""
        self.per_window = per_window
        self._place = {key: place for place, key in enumerate(keys)}

        @functools.lru_cache(maxsize=_IN_MEMORY)
        def build(place: int) -> Reference:
            return _reference(read(place), encoder, method, per_window)

        self._build = build

    def __getitem__(self, key: str) -> Reference:
        return self._build(self._place[key])

    def __contains__(self, key: object) -> bool:
        return key in self._place

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


def reference_table(key: str, reference: Reference) -> pa.Table:
    """Return a reference as a table with a row per block; the first row holds the laws."""
    rows, marginals = len(reference.numbers), reference.marginals
    nulls = json.dumps([null.to_json() for null in reference.nulls])
    return pa.table(
        {
            "key": pa.repeat(pa.scalar(key), rows),
            "number": reference.numbers,
            "triangle": _rows_of(upper(reference.grams)),
            "counts": _rows_of(reference.counts.reshape(rows, -1)),
            "nulls": pa.array([nulls, *[None] * (rows - 1)], pa.string()),
            "marginals": pa.array(
                [None if marginals is None else json.dumps(marginals.to_json())]
                + [None] * (rows - 1),
                pa.string(),
            ),
        }
    )


def staged_references(
    table: pa.Table, encoder: Encoder, method: str, per_window: int
) -> StoredReferences:
    """Return the references of several keys from their tables, put together in any order."""
    table = table.sort_by([("key", "ascending"), ("number", "ascending")]).combine_chunks()
    runs = pa.compute.run_end_encode(table["key"].combine_chunks())
    ends = [0, *runs.run_ends.to_pylist()]
    return StoredReferences(
        runs.values.to_pylist(),
        lambda place: table.slice(ends[place], ends[place + 1] - ends[place]),
        encoder,
        method,
        per_window,
    )


def write_references(references: Mapping[str, Reference], folder: Path) -> None:
    """Write references into a folder, one at a time, in the order of their keys."""
    keys = sorted(references)
    first = references[keys[0]]
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    schema = reference_table(keys[0], first).schema
    with pa.ipc.new_file(folder / REFERENCES, schema, options=options) as writer:
        for key in keys:
            table = reference_table(key, references[key]).combine_chunks()
            writer.write_batch(table.to_batches()[0])
    index = {"per_window": first.per_window, "keys": keys}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def open_references(folder: Path, encoder: Encoder, method: str) -> StoredReferences:
    """Open what `write_references` wrote; the blocks stay on disk until a key is asked for."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    file = pa.ipc.open_file(pa.memory_map(str(folder / REFERENCES)))

    def read(place: int) -> pa.Table:
        return pa.Table.from_batches([file.get_batch(place)])

    return StoredReferences(index["keys"], read, encoder, method, index["per_window"])


def _reference(table: pa.Table, encoder: Encoder, method: str, per_window: int) -> Reference:
    numbers = table["number"].to_numpy()
    counts = _stack(table["counts"]).reshape(len(numbers), -1, 2).astype(np.int64)
    no_histograms = np.zeros((len(numbers), 0))  # they were for the laws only
    blocks = Blocks(numbers, _stack(table["triangle"]), counts, no_histograms)
    nulls = tuple(Null.from_json(item) for item in json.loads(table["nulls"][0].as_py()))
    text = table["marginals"][0].as_py()
    marginals = None if text is None else MarginalReference.from_json(encoder, json.loads(text))
    return Reference(encoder, method, numbers, blocks.grams, counts, per_window, nulls, marginals)


def _rows_of(matrix: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def _stack(column: pa.ChunkedArray) -> np.ndarray:
    rows = column.combine_chunks()
    flat: np.ndarray = rows.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(rows), -1)
