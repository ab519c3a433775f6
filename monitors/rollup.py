"""All keys of a stream together: a shift that is weak in each key and common to all.

The rows of all keys in one span of time are one window, and the windows of the reference are put
together likewise, so that the test of one key serves: its law comes from the reference's own spans
of time, in which the keys depend on each other as they do. The level holds as for one key, however
the keys hang together. Keys with a reference of their own are first moved to a common mean, by
their means in the reference: that some keys are silent, or have more rows than they had, is then no
shift.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitors.blocks import Blocks, upper
from monitors.encoder import FloatArray
from monitors.gram import Profile
from schemas.records import Finding

ALL_KEYS = "*"  #: the key of findings about all keys together; a key is a JSON object


@dataclass(frozen=True, slots=True)
class RollUp:
    """The tested windows of some keys in one span of time, and what was found in them."""

    profile: Profile
    keys: int
    alarms: NDArray[np.int64]  #: shape (features,): keys in which the feature was named
    fresh: bool  #: whether the window of one of the keys was judged just now

    def __add__(self, other: RollUp) -> RollUp:
        """Put together the windows of other keys."""
        return RollUp(
            self.profile + other.profile,
            self.keys + other.keys,
            self.alarms + other.alarms,
            self.fresh or other.fresh,
        )


def named_features(findings: Sequence[Finding]) -> tuple[str, ...] | None:
    """Return the features named in one window; None where their shift was not tested."""
    shifts = [f for f in findings if f.monitor == "feature_shift" and f.status == "tested"]
    return tuple(f.subject for f in shifts if f.alarm) if shifts else None


def roll_up(
    window: Profile,
    mean: FloatArray | None,
    named: Collection[str],
    features: Sequence[str],
    *,
    fresh: bool = True,
) -> RollUp:
    """Return what one tested window adds to all keys together.

    Parameters
    ----------
    mean : of the key's basis columns in its reference; None where keys share one.
    named : features that were found to have moved in the window.
    features : names of all features, in order.
    fresh : whether the window was judged just now.
    """
    moved = window if mean is None else replace(window, gram=shifted(window.gram, mean))
    alarms = np.array([name in named for name in features], dtype=np.int64)
    return RollUp(moved, 1, alarms, fresh)


def count_keys(
    findings: Iterator[Finding], rolled: RollUp, features: Sequence[str]
) -> Iterator[Finding]:
    """Add to the explanation of each feature in how many keys it was named."""
    alarms: Mapping[str, int] = dict(zip(features, rolled.alarms.tolist(), strict=True))
    for item in findings:
        share = f"named in {alarms[item.subject]:,} of {rolled.keys:,} keys"
        yield replace(item, explanation=f"{item.explanation}; {share}")


def mean_of(total: FloatArray) -> FloatArray:
    """Return the means of the basis columns of a Gram matrix, shape (p,)."""
    mean: FloatArray = total[0, 1:] / total[0, 0]
    return mean


def shifted(gram: FloatArray, mean: FloatArray) -> FloatArray:
    """Return Gram matrices of [1, φ − mean] from those of [1, φ], shape (..., p + 1, p + 1)."""
    move = np.eye(len(mean) + 1)
    move[1:, 0] = -mean
    moved: FloatArray = move @ gram @ move.T
    return moved


def centred(blocks: Blocks) -> Blocks:
    """Return the blocks of one key with the mean of all their rows moved to 0."""
    grams = blocks.grams
    moved = shifted(grams, mean_of(grams.sum(axis=0)))
    return Blocks(blocks.numbers, upper(moved), blocks.counts, blocks.histograms)
