"""Frouros: KS and chi-square column by column, and MMD; the rule on its p-values is the user's."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from frouros.callbacks import PermutationTestDistanceBased
from frouros.detectors.data_drift import MMD, ChiSquareTest, KSTest
from frouros.utils.kernels import rbf_kernel
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from benchmarks.peers.decision import LEVEL, Decision

PACKAGES = ("frouros",)


def columns(reference: pa.Table, current: pa.Table) -> dict[str, Decision]:
    """Test every column; gaps are left out."""
    p_values = {}
    for field in reference.schema:
        number = pa.types.is_floating(field.type)
        detector = KSTest() if number else ChiSquareTest()
        before, now = (table[field.name].drop_null().to_numpy() for table in (reference, current))
        detector.fit(X=before)
        p_values[field.name] = detector.compare(X=now)[0].p_value
    level = LEVEL / len(p_values)
    return {
        "Frouros by column, p < 0.05 each": Decision.by_names(
            name for name, p in p_values.items() if p < LEVEL
        ),
        "Frouros by column, Bonferroni": Decision.by_names(
            name for name, p in p_values.items() if p < level
        ),
    }


def mmd(reference: pa.Table, current: pa.Table) -> dict[str, Decision]:
    """Test all columns together: 100 permutations.

    The bandwidth is the median distance of rows: the default of 1 sees nothing in 25 columns.
    """
    before, now = _matrix(reference), _matrix(current)
    kernel = partial(rbf_kernel, sigma=float(np.median(pdist(before))))
    test = PermutationTestDistanceBased(num_permutations=100, random_state=0, name="test")
    detector = MMD(kernel=kernel, callbacks=[test])
    detector.fit(X=before)
    _, log = detector.compare(X=now)
    return {"Frouros MMD": Decision(bool(log["test"]["p_value"] < LEVEL))}


def _matrix(table: pa.Table) -> NDArray[Any]:
    return np.column_stack([table[name].to_numpy() for name in table.column_names])
