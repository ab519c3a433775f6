"""Exact interventional Shapley values of a sum of trees, over all of a background at once.

A leaf is a product: it is reached if, for every feature on its path, the value at hand passes the
path's splits by that feature. With x's value for the features of S and z's for the others, it is
reached if S holds all a features that only x passes and none of the b that only z passes, and if
each of the others is passed by both. So each of the a has the Shapley value (a − 1)! b! / (a + b)!
times the leaf's value, and each of the b has −a! (b − 1)! / (a + b)! times it (Lundberg et al.,
Nature Machine Intelligence 2020: independent TreeSHAP). Both depend on x and z by which features
each passes alone; and of the 2^k such patterns of a leaf with k features only few occur. Rows are
therefore counted by pattern, and the cost is of rows plus background, not of their product (Nadel
and Wettenstein, arXiv 2511.09376).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]
_Passed = Mapping[int, NDArray[np.bool_]]  # by feature on a path: whether a row passes its splits

_ZERO = 1e-35  # LightGBM takes smaller values for 0
_CATEGORY = "=="


def interventional_values(
    trees: Sequence[Mapping[str, Any]], X: Floats, background: Floats
) -> Floats:
    """Return what each feature adds to the sum of the trees, averaged over the background.

    Parameters
    ----------
    trees : roots of trees, as LightGBM's ``dump_model`` gives them.
    X, background : float64 arrays, shapes (n, features) and (m, features), m ≥ 1; NaN: missing

    Returns
    -------
    float64 array, shape (n, features)
        A row's sum is its score less the mean score of the background.
    """
    n = len(X)
    both = np.concatenate([X, background])
    found = np.zeros(X.shape)
    for tree in trees:
        for value, passed in _leaves(tree, both, {}):
            features = np.fromiter(passed, np.intp)
            codes = (1 << np.arange(len(features))) @ np.stack(list(passed.values()))
            mine, place = np.unique(codes[:n], return_inverse=True)
            others, counts = np.unique(codes[n:], return_counts=True)
            own = _values(mine, others, counts / len(background), len(features))
            found[:, features] += value * own[place]
    return found


def _values(mine: NDArray[np.int64], others: NDArray[np.int64], weights: Floats, k: int) -> Floats:
    """Return the values of a leaf of value 1 for each of the rows' patterns.

    Parameters
    ----------
    mine, others : int64 arrays, shapes (p,) and (q,)
        Patterns of the rows and of the background: bit j is set where feature j is passed.
    weights : float64 array, shape (q,)

    Returns
    -------
    float64 array, shape (p, k)
    """
    x = (mine[:, None] >> np.arange(k) & 1).astype(np.float64)
    z = (others[:, None] >> np.arange(k) & 1).astype(np.float64)
    only_x = np.rint(x @ (1.0 - z).T).astype(np.intp)
    only_z = np.rint((1.0 - x) @ z.T).astype(np.intp)
    neither = (1.0 - x) @ (1.0 - z).T > 0.5
    weight = np.where(neither, 0.0, weights)
    gain, loss = _shapley(k)
    gained = (weight * gain[only_x, only_z]) @ (1.0 - z)
    lost = (weight * loss[only_x, only_z]) @ z
    found: Floats = x * gained - (1.0 - x) * lost
    return found


@lru_cache(maxsize=64)
def _shapley(k: int) -> tuple[Floats, Floats]:
    """Return (a − 1)! b! / (a + b)! and a! (b − 1)! / (a + b)! for all a, b to k; 0 of none."""
    a, b = np.arange(k + 1.0)[:, None], np.arange(k + 1.0)[None, :]
    log = gammaln(a + 1.0) + gammaln(b + 1.0) - gammaln(a + b + 1.0)
    whole = np.exp(log)  # a! b! / (a + b)!
    gain = np.where(a > 0, whole / np.maximum(a, 1.0), 0.0)
    loss = np.where(b > 0, whole / np.maximum(b, 1.0), 0.0)
    return gain, loss


def _leaves(
    node: Mapping[str, Any], rows: Floats, passed: _Passed
) -> Iterator[tuple[float, _Passed]]:
    """Yield the value of each leaf below a node, and which rows pass the splits above it."""
    if "leaf_value" in node:
        if passed:  # a tree of one leaf is a constant
            yield float(node["leaf_value"]), passed
        return
    feature = int(node["split_feature"])
    left = _goes_left(node, rows[:, feature])
    for child, own in ((node["left_child"], left), (node["right_child"], ~left)):
        so_far = passed.get(feature)
        both = own if so_far is None else own & so_far
        yield from _leaves(child, rows, {**passed, feature: both})


def _goes_left(node: Mapping[str, Any], values: Floats) -> NDArray[np.bool_]:
    """Say of which rows LightGBM takes the left child."""
    missing = np.isnan(values)
    if node["decision_type"] == _CATEGORY:
        codes = [float(code) for code in str(node["threshold"]).split("||")]
        return np.isin(np.trunc(values), codes)
    kind, threshold = node["missing_type"], float(node["threshold"])
    if kind == "NaN":
        with np.errstate(invalid="ignore"):
            return np.where(missing, bool(node["default_left"]), values <= threshold)
    filled = np.where(missing, 0.0, values)
    if kind == "Zero":
        absent = np.abs(filled) <= _ZERO
        return np.where(absent, bool(node["default_left"]), filled <= threshold)
    return filled <= threshold
