"""Oblivious trees as LightGBM's text, for what reads trees and not only their sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.oblivious.trees import NOBODY, Trees

Floats = NDArray[np.float64]
Ranks = Mapping[int, Floats]  #: of each category feature: the rank of each code

# decision_type of LightGBM: bit 0 a category; bit 1 missing goes left; bit 3 NaN is missing
_CATEGORY, _NUMBER = 0b1001, 0b1010


def lightgbm_text(ensembles: Sequence[tuple[Trees, Ranks]], features: int) -> tuple[str, float]:
    """Return a model whose score, with the constant beside it, is the mean of the ensembles.

    An empty leaf counts one row, for shares of no rows are undefined; its value is 0.

    Parameters
    ----------
    ensembles : trees, and how their category features were ranked
    features : how many columns they are read from

    Returns
    -------
    text : what `transforms.forecast.boosting` reads; empty (`NO_TREES`) where no tree has a split.
    constant : float: what trees without splits add up to.
    """
    constant = 0.0
    blocks: list[str] = []
    for trees, ranks in ensembles:
        for asked, thresholds, values, rows in trees.each():
            depth = int((thresholds < NOBODY).sum())
            size = 1 << depth
            own = values[:size] / len(ensembles)
            if depth == 0:
                constant += float(own[0])
                continue
            splits = list(zip(asked[-depth:], thresholds[-depth:], strict=True))
            counts = np.maximum(np.rint(rows[:size]), 1.0).astype(np.int64)
            lines = "\n".join(_lines(splits, own, counts, ranks))
            blocks.append(f"Tree={len(blocks)}\n{lines}\n\n")
    if not blocks:
        return "", constant
    head = [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={features - 1}",
        "feature_names=" + " ".join(f"Column_{j}" for j in range(features)),
        "feature_infos=" + " ".join(["[-inf:inf]"] * features),
        "tree_sizes=" + " ".join(str(len(block)) for block in blocks),
    ]
    return "\n".join(head) + "\n\n" + "".join(blocks) + "end of trees\n", constant


def _lines(
    splits: Sequence[tuple[int, float]], values: Floats, counts: NDArray[np.int64], ranks: Ranks
) -> Iterator[str]:
    """Yield the fields of one tree: nodes in order of level, a level's from left to right."""
    depth, inner = len(splits), len(values) - 1
    levels = [level for level in range(depth) for _ in range(1 << level)]
    thresholds, kinds, words, ends = [], [], [], [0]
    for feature, threshold in splits:
        if feature in ranks:
            thresholds.append(str(len(ends) - 1))
            kinds.append(_CATEGORY)
            left = np.flatnonzero(ranks[feature] <= threshold)
            bits = sum(1 << int(code) for code in left)
            words += [str(bits >> shift & 0xFFFFFFFF) for shift in range(0, 256, 32)]
            ends.append(len(words))
        else:
            thresholds.append(repr(float(threshold)))
            kinds.append(_NUMBER)
    below = [counts.reshape(1 << level, -1).sum(axis=1) for level in range(depth)]
    weighed = values * counts
    means = [weighed.reshape(1 << level, -1).sum(axis=1) / below[level] for level in range(depth)]
    first = 2 * np.arange(inner) + 1  # where a node's left child would stand
    left, right = (np.where(c < inner, c, inner - c - 1) for c in (first, first + 1))
    yield f"num_leaves={len(values)}"
    yield f"num_cat={len(ends) - 1}"
    yield "split_feature=" + " ".join(str(splits[level][0]) for level in levels)
    yield "split_gain=" + " ".join("0" * inner)
    yield "threshold=" + " ".join(thresholds[level] for level in levels)
    yield "decision_type=" + " ".join(str(kinds[level]) for level in levels)
    yield "left_child=" + " ".join(map(str, left))
    yield "right_child=" + " ".join(map(str, right))
    yield "leaf_value=" + " ".join(map(repr, values.tolist()))
    yield "leaf_weight=" + " ".join(map(str, counts))
    yield "leaf_count=" + " ".join(map(str, counts))
    yield "internal_value=" + " ".join(map(repr, np.concatenate(means).tolist()))
    yield "internal_weight=" + " ".join(map(str, np.concatenate(below)))
    yield "internal_count=" + " ".join(map(str, np.concatenate(below)))
    if words:
        yield "cat_boundaries=" + " ".join(map(str, ends))
        yield "cat_threshold=" + " ".join(words)
    yield "is_linear=0"
    yield "shrinkage=1"
