"""Rows of the reference and of a window, from which a finding is explained."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from monitors.encoder import FloatArray


@dataclass(frozen=True, slots=True)
class Sample:
    """Typed rows in the order of time, with all columns of the encoder."""

    reference: pa.Table
    window: pa.Table
    time: str | None  #: their column with the event time, if they have one


@dataclass(frozen=True, slots=True)
class Coded:
    """A sample and its basis columns, whose gaps one feature did not help to fill."""

    sample: Sample
    reference: FloatArray  #: shape (rows, p)
    window: FloatArray  #: shape (rows, p)
