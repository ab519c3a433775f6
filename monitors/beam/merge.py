"""Merges anything mergeable, and summarises columns."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import Coder, NullableCoder
from apache_beam.coders.typecoders import registry

from monitors.summary import TableSummary, summarise
from monitors.window import WindowPart
from monitors.window_codec import decode_part, encode_part
from schemas.records import Batch
from schemas.stream import Stream


class WindowPartCoder(Coder):
    """Encodes window parts, so that a job's state survives an upgrade of the job."""

    def encode(self, value: WindowPart) -> bytes:
        """Return a part as bytes."""
        return encode_part(value)

    def decode(self, encoded: bytes) -> WindowPart:
        """Read a part."""
        return decode_part(encoded)

    def is_deterministic(self) -> bool:
        """The same part gives the same bytes."""
        return True

    def to_type_hint(self) -> type[WindowPart]:
        """Return what it encodes."""
        return WindowPart


class MergeParts(beam.CombineFn):
    """Merge anything mergeable: profiles, window parts, column summaries."""

    def __init__(self, merge: Callable[[Any, Any], Any] = operator.add) -> None:
        super().__init__()
        self.merge = merge

    def create_accumulator(self, *_: Any, **__: Any) -> None:
        """Return the empty sum."""
        return

    def add_input(self, mutable_accumulator: Any, element: Any, *_: Any, **__: Any) -> Any:
        """Add one part."""
        return element if mutable_accumulator is None else self.merge(mutable_accumulator, element)

    def merge_accumulators(self, accumulators: Iterable[Any], *_: Any, **__: Any) -> Any:
        """Merge sums."""
        parts = [part for part in accumulators if part is not None]
        return functools.reduce(self.merge, parts) if parts else None

    def extract_output(self, accumulator: Any, *_: Any, **__: Any) -> Any:
        """Return the sum."""
        return accumulator


class SummariseRows(beam.DoFn):
    """Summarise the columns of a batch."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream

    def process(self, batch: Batch) -> Iterator[TableSummary]:
        """Yield the summary of one batch."""
        yield summarise(batch.table, self.stream.columns)


class MergeWindows(MergeParts):
    """Merge window parts; their sums lie in a runner's state in a versioned form."""

    def get_accumulator_coder(self) -> Coder:
        """Return the coder of a sum, or of none yet."""
        return NullableCoder(WindowPartCoder())


registry.register_coder(WindowPart, WindowPartCoder)
