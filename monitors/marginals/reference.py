"""What the marginal monitors know of the reference of one key, and their tests of a window."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitors.counts import RateLaw, fit_rate
from monitors.encoder import Encoder, FloatArray
from monitors.feature_shift.adjusted import adjusted_p_values
from monitors.feature_shift.locate import Evidence, weigh
from monitors.feature_shift.reference import Reference, interpolate
from monitors.marginals.histograms import BINS, CELLS, Bins, bins_of
from monitors.marginals.statistics import DISTANCES
from monitors.null import Null, fit_null

IGNORE_BELOW = 0.1  # effects that are no alarm, of every monitor: the field's PSI of 0.1
LEAST_SHARE = 0.125  # of a window of the reference: with fewer rows no distance is tested
_RANGE = (2.0, -1.0)  # the share outside the range of n values is Beta(2, n − 1) (Wilks 1941)


@dataclass(frozen=True, slots=True)
class MarginalReference:
    """The reference of one key."""

    bins: Bins
    total: FloatArray  #: shape (features, WIDTH), of all rows
    nulls: Mapping[str, tuple[Null, ...]]  #: by statistic, of its features; sizes increasing
    outside: tuple[RateLaw, ...]  #: per feature, of values outside its range (numbers only)

    def test(
        self, name: str, window: FloatArray, rows: int, *, level: float
    ) -> tuple[list[Evidence], list[float]]:
        """Test the features of a window that have a law by one statistic, strongest first.

        Parameters
        ----------
        name : of a statistic that `fit_marginals` was asked for.
        window : its histograms, shape (features, WIDTH).
        level : probability of any alarm when nothing changed.

        Returns
        -------
        The evidence, and the adjusted p-values: the least level at which each would alarm.
        """
        distance = DISTANCES[name]
        null = interpolate(self.nulls[name], rows)
        scaled = distance.scaled(self.bins, self.total, window)
        effect = distance.value(self.bins, self.total, window)
        found = weigh(scaled[None], effect[None], null, level=level, ignore_below=IGNORE_BELOW)
        some = (window[:, :CELLS].sum(axis=-1) > 0)[distance.features(self.bins)]
        lawful = ~np.isnan(null.shape[0]) & some
        ranked = sorted(
            (item for item in found if lawful[item.feature]), key=lambda item: -item.evidence
        )
        adjusted = adjusted_p_values(ranked, null, 0)
        own = distance.features(self.bins)
        return [replace(item, feature=int(own[item.feature])) for item in ranked], adjusted

    def to_json(self) -> dict[str, Any]:
        """Return the reference as JSON-serialisable data; its bins are the encoder's."""
        return {
            "total": self.total.tolist(),
            "nulls": {name: [null.to_json() for null in own] for name, own in self.nulls.items()},
            "outside": [
                [law.events, law.rows, law.windows, law.chi_square] for law in self.outside
            ],
        }

    @classmethod
    def from_json(cls, encoder: Encoder, data: Mapping[str, Any]) -> MarginalReference:
        """Rebuild what `to_json` returned."""
        nulls = {
            name: tuple(Null.from_json(item) for item in own) for name, own in data["nulls"].items()
        }
        outside = tuple(RateLaw(k, n, c, x, _RANGE) for k, n, c, x in data["outside"])
        return cls(bins_of(encoder), np.asarray(data["total"]), nulls, outside)


def fit_marginals(
    names: Collection[str], reference: Reference, blocks: FloatArray, seed: int
) -> MarginalReference:
    """Learn how the marginal statistics of a key vary in its reference.

    Parameters
    ----------
    names : monitors that are on; those that are no statistic of `DISTANCES` are passed over.
    reference : of the same key; its blocks and windows are read.
    blocks : histograms of the same blocks, shape (R, features, WIDTH).
    """
    bins = bins_of(reference.encoder)
    nulls = {
        name: tuple(_null(bins, name, reference, blocks, size, seed) for size in reference.sizes)
        for name in names
        if name in DISTANCES
    }
    _, starts = np.unique(reference.numbers // reference.per_window, return_index=True)
    windows = np.add.reduceat(blocks, starts, axis=0)
    outside = tuple(_outside(windows[:, j]) for j in range(len(bins.features)))
    return MarginalReference(bins, blocks.sum(axis=0), nulls, outside)


def outside_count(histogram: FloatArray) -> NDArray[np.int64]:
    """Return how many values lie outside the reference's range, shape (...)."""
    return (histogram[..., 0] + histogram[..., CELLS - 1]).astype(np.int64)


def _null(
    bins: Bins, name: str, reference: Reference, blocks: FloatArray, size: int, seed: int
) -> Null:
    distance = DISTANCES[name]

    def statistic(total: FloatArray, windows: FloatArray) -> FloatArray:
        return distance.scaled(bins, total - windows, windows)[:, None]

    windows, count, rows = reference.pseudo_window(size)
    return fit_null(
        blocks,
        statistic,
        count,
        np.random.default_rng([seed, size, list(DISTANCES).index(name)]),
        rows=rows,
        windows=windows,
    )


def _outside(windows: FloatArray) -> RateLaw:
    """Return the law of the values outside the range; their bursts are those of its end bins.

    The reference itself has none outside, or hardly any: what its windows say of bursts, they say
    by the tail's two bins within it.
    """
    rows = windows[:, :CELLS].sum(axis=1)
    tails = windows[:, [0, 1, BINS, CELLS - 1]].sum(axis=1).astype(np.int64)
    law = fit_rate(tails[rows > 0], rows[rows > 0])
    return replace(law, events=float(outside_count(windows).sum()), prior=_RANGE)
