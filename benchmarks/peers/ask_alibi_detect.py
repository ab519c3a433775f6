"""alibi-detect: `KSDrift` (`TabularDrift` where there are categories) and `MMDDrift`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from alibi_detect.cd import KSDrift, MMDDrift, TabularDrift
from numpy.typing import NDArray

from benchmarks.peers.decision import LEVEL, Decision

PACKAGES = ("alibi-detect", "tensorflow")


def columns(reference: pa.Table, current: pa.Table) -> dict[str, Decision]:
    """Test column by column with its default correction (Bonferroni)."""
    before, now, categories = _matrices(reference, current)
    if categories:
        each = dict.fromkeys(categories)
        detector = TabularDrift(before, p_val=LEVEL, categories_per_feature=each)
    else:
        detector = KSDrift(before, p_val=LEVEL)
    said = detector.predict(now)["data"]
    small = np.flatnonzero(said["p_val"] < said["threshold"])
    named = sorted(reference.column_names[j] for j in small)
    return {"alibi-detect KSDrift / TabularDrift": Decision(bool(said["is_drift"]), named)}


def mmd(reference: pa.Table, current: pa.Table) -> dict[str, Decision]:
    """Test all columns together: 100 permutations, bandwidth by the median of distances."""
    before, now, _ = _matrices(reference, current)
    detector = MMDDrift(before.astype(np.float32), backend="tensorflow", p_val=LEVEL)
    said = detector.predict(now.astype(np.float32))["data"]
    return {"alibi-detect MMDDrift": Decision(bool(said["is_drift"]))}


def _matrices(
    reference: pa.Table, current: pa.Table
) -> tuple[NDArray[Any], NDArray[Any], list[int]]:
    """Return matrices: gaps filled with the reference's median, categories as integers."""
    before, now = reference.to_pandas(), current.to_pandas()
    categories = []
    for j, field in enumerate(reference.schema):
        if pa.types.is_floating(field.type):
            median = before[field.name].median()
            for frame in (before, now):
                frame[field.name] = frame[field.name].fillna(median)
        else:
            categories.append(j)
            codes = {
                v: k for k, v in enumerate(sorted(set(before[field.name]) | set(now[field.name])))
            }
            for frame in (before, now):
                frame[field.name] = frame[field.name].map(codes)
    return before.to_numpy(np.float64), now.to_numpy(np.float64), categories
