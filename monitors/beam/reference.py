"""The reference in, one block profile and one reference a key out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from monitors.blocks import Blocks, pack
from monitors.encoder import Encoder
from monitors.feature_shift.reference import Reference
from monitors.gram import Profile, profile_blocks
from monitors.judge import SEED
from monitors.marginals.histograms import watched_bins
from monitors.marginals.reference import fit_marginals
from monitors.pooling import POOL, is_drawn, is_pooled, pool
from monitors.reference_store import reference_table
from monitors.rollup import ALL_KEYS, centred
from schemas.errors import ReferenceDataError
from schemas.records import Batch
from schemas.stream import Stream
from transforms.windows import gather, places, row_spans, time_spans

ALL = "all"
TOO_SHORT = "too_short"


class ProfileBlocks(beam.DoFn):
    """Profile the blocks of the reference: (key, its blocks) for every key of a batch.

    Where keys share a reference, only the windows drawn for it, and a second output `ALL` with the
    blocks of all rows.
    """

    def __init__(
        self,
        encoder: Path,
        stream: Stream,
        per_window: int,
        drawn: float,
        first_rows: Mapping[str, int],
    ) -> None:
        super().__init__()
        self.file, self.stream = str(encoder), stream
        self.per_window, self.drawn, self.first_rows = per_window, drawn, dict(first_rows)

    def setup(self) -> None:
        """Read the encoder: a graph that held it would be pickled and compressed many times."""
        self.encoder = Encoder.from_json(json.loads(Path(self.file).read_text(encoding="utf-8")))

        self.bins = watched_bins(self.encoder, self.stream)

    def process(self, batch: Batch) -> Iterator[Any]:
        """Yield (key, blocks)."""
        numbers = block_numbers(self.stream, batch, self.per_window, self.first_rows)
        rows, groups = gather(batch.table, self.stream.key, numbers)
        parts = profile_blocks(self.encoder, rows, places(groups), self.bins)
        pair = 2 * self.per_window
        blocks: dict[str, dict[int, Profile]] = {}
        whole: dict[int, Profile] = {}
        for place, part in parts.items():
            key, number = groups[place].key, groups[place].span
            if is_pooled(self.stream):
                whole[number] = whole[number] + part if number in whole else part
                if not is_drawn(key, number // pair, self.drawn):
                    continue
            blocks.setdefault(key, {})[number] = part
        for key, own in blocks.items():
            yield key, pack(own)
        if whole:
            yield TaggedOutput(ALL, pack(whole))


class FitReferences(beam.DoFn):
    """Fit one reference, by its name, on the blocks of one key or of the keys that share it.

    The main output is a table for `reference_store`; `ALL` has the blocks of a key, centred, and
    `TOO_SHORT` (key, why) where there is no reference.
    """

    def __init__(
        self, encoder: Path, method: str, per_window: int, marginals: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.file, self.method, self.per_window = str(encoder), method, per_window
        self.marginals = tuple(marginals)

    def setup(self) -> None:
        """Read the encoder."""
        self.encoder = Encoder.from_json(json.loads(Path(self.file).read_text(encoding="utf-8")))

    def process(self, element: tuple[str, Iterable[tuple[str, Blocks]]]) -> Iterator[Any]:
        """Yield the table of one reference."""
        name, parts = element
        own = dict(parts)
        blocks = pool(own, self.per_window) if name == POOL else own[name]
        reference = Reference(
            self.encoder, self.method, blocks.numbers, blocks.grams, blocks.counts, self.per_window
        )
        try:
            fitted = reference.fit_nulls(SEED)
        except ReferenceDataError as error:
            yield TaggedOutput(TOO_SHORT, (name, str(error)))
            return
        if blocks.histograms.size and name != ALL_KEYS:
            laws = fit_marginals(self.marginals, fitted, blocks.histograms, SEED)
            fitted = replace(fitted, marginals=laws)
        yield reference_table(name, fitted)
        if name not in (POOL, ALL_KEYS):
            yield TaggedOutput(ALL, centred(blocks))


def block_numbers(
    stream: Stream, batch: Batch, per_window: int, first_rows: Mapping[str, int]
) -> Any:
    """Number the blocks that the rows of a batch fall into; see `feature_shift.reference`."""
    if stream.window.rows is not None:
        rows = max(1, stream.window.rows // per_window)
        return row_spans(batch.table, first_rows[batch.path], rows)
    assert stream.time is not None  # noqa: S101 (windows of a length need it)
    assert stream.window.length_seconds is not None  # noqa: S101
    return time_spans(batch.table[stream.time.column], stream.window.length_seconds / per_window)
