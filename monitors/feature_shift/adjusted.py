"""Adjusted p-values: the smallest level of a test of many features at which one is named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monitors.feature_shift.locate import COUNTED, Evidence
from monitors.null import Null

#: −log₁₀ of the levels at which thresholds are computed; thresholds between them are interpolated.
_NEAR = np.linspace(0.004, 2.0, 40)
_FAR = 16
_FURTHEST = 300.0  # a level of 10⁻³²⁴ is no float


def adjusted_p_values(found: Sequence[Evidence], null: Null, counted: int) -> list[float]:
    """Return for each feature the least `level` of `locate` whose threshold its evidence passes.

    Parameters
    ----------
    found : what `locate` returned.
    null : of all features, for windows of that size.
    counted : features whose missing and unseen values are tested, too.
    """
    strongest = max((item.evidence for item in found), default=0.0)
    furthest = min(max(strongest, 3.0), _FURTHEST)
    beyond = np.geomspace(2.0, furthest, _FAR)[1:]
    orders = np.concatenate([_NEAR, beyond])
    thresholds = np.maximum.accumulate([null.threshold(10.0**-order) for order in orders])
    share = 1.0 - COUNTED if counted else 1.0
    values = []
    for item in found:
        if item.kind == "conditional":
            order = float(np.interp(item.evidence, thresholds, orders, left=0.0))
            values.append(min(1.0, 10.0**-order / share))
        else:
            values.append(min(1.0, 10.0**-item.evidence * 2 * counted / COUNTED))
    return [max(value, 5e-324) for value in values]
