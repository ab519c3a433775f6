"""The plain floor: SciPy, column by column, KS for numbers and chi-square for categories."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from benchmarks.peers.decision import LEVEL, Decision

PACKAGES = ("scipy",)


def columns(reference: pa.Table, current: pa.Table) -> dict[str, Decision]:
    """Test every column at its share of the level (Bonferroni); gaps are left out."""
    names = reference.column_names
    small = [
        name for name in names if _p_value(reference[name], current[name]) < LEVEL / len(names)
    ]
    return {"SciPy by column": Decision.by_names(small)}


def _p_value(before: pa.ChunkedArray, now: pa.ChunkedArray) -> float:
    before, now = before.drop_null(), now.drop_null()
    if pa.types.is_floating(before.type):
        return float(stats.ks_2samp(before.to_numpy(), now.to_numpy()).pvalue)
    values = pc.unique(pa.chunked_array([*before.chunks, *now.chunks])).to_pylist()
    counts = [[np.sum(side.to_numpy() == value) for value in values] for side in (before, now)]
    return float(stats.chi2_contingency(counts).pvalue)
