"""What the likelihood ratios look like when nothing has changed.

Two looks at the reference, both from its block Gram matrices alone (no row is touched):

- *scattered*: a pseudo-window of k blocks drawn without replacement, against the remaining blocks.
  Many draws give the shape of each LR_j and how the features move together. If the blocks are
  exchangeable this is a permutation test.
- *contiguous*: the reference's own windows (k blocks in a row), each against the rest. They carry
  the serial dependence and the change of regime that scattered blocks average out. There are few of
  them, so they only stretch the scattered law: its mean per feature, its relative spread over all
  features.

Each LR_j is then Gamma with the moments so found (a scaled χ², Satterthwaite 1946), which gives
p-values beyond the number of draws. The p-value that holds for all features together comes from the
scattered draws' smallest p-value, extrapolated as that of `m` independent tests (Šidák) below one
draw in a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammaln

from monitors.encoder import FloatArray
from monitors.feature_shift.likelihood_ratio import deviance

WIDE = 200  # basis columns beyond which a draw, two inversions, is dear
WIDE_DRAWS = 199
DRAWS = 499  # the 5 % point of the largest of many statistics then has a standard error of 1 %
LEAST_SPREAD = 1.0 / math.log(10.0)  # P(−log₁₀ p > e) = 10^−e: the Gumbel scale of exact p-values
POOLED_WEIGHT = 8.0  # windows that the pooled spread is worth beside a feature's own
_BATCH_BYTES = 4 << 20  # of Gram matrices at a time: they stay in the cache
_LOG10 = math.log(10.0)


@dataclass(frozen=True, slots=True)
class Null:
    """The law of the likelihood ratios of windows of one size when nothing has changed."""

    rows: float  #: rows of the windows it is for
    shape: FloatArray  #: Gamma shape per feature; NaN where a feature has no basis column
    scale: FloatArray  #: Gamma scale per feature
    largest: FloatArray  #: sorted: the largest evidence over features, one per scattered draw
    tail: tuple[float, float]  #: Gumbel location and scale of the same over contiguous windows

    def evidence(self, ratio: FloatArray) -> FloatArray:
        """Return −log₁₀ of the p-value of each feature alone; 0 where it has no basis column.

        Parameters
        ----------
        ratio : FloatArray, shape (..., features)
        """
        result = -log_gamma_sf(ratio, self.shape, self.scale) / _LOG10
        return np.where(np.isnan(self.shape), 0.0, np.maximum(result, 0.0))

    def mean(self) -> FloatArray:
        """Return the expected likelihood ratio per feature (0 where there is none)."""
        return np.nan_to_num(self.shape * self.scale)

    def threshold(self, level: float) -> float:
        """Return the evidence that any feature exceeds with probability `level` under the null.

        The scattered draws and the reference's own windows each give one; the stricter holds.
        """
        location, spread = self.tail
        own = location - spread * math.log(-math.log1p(-level))
        draws = len(self.largest)
        exceeding = level * (draws + 1)
        if exceeding >= 5:  # fewer draws in the tail say less than the extrapolation
            return max(own, float(self.largest[draws - int(exceeding)]))
        anchor = max(0.02, 10.0 / (draws + 1))
        single = 10.0 ** -float(self.largest[draws - int(anchor * (draws + 1))])
        tests = math.log1p(-anchor) / math.log1p(-min(single, anchor))
        return max(own, -math.log10(-math.expm1(math.log1p(-level) / max(tests, 1.0))))

    def to_json(self) -> dict[str, Any]:
        """Return the law as JSON-serialisable data."""
        return {
            "rows": self.rows,
            "shape": [None if np.isnan(a) else float(a) for a in self.shape],
            "scale": self.scale.tolist(),
            "largest": self.largest.tolist(),
            "tail": list(self.tail),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Null:
        """Rebuild a law from `to_json`."""
        return cls(
            rows=float(data["rows"]),
            shape=np.asarray([np.nan if a is None else a for a in data["shape"]], dtype=np.float64),
            scale=np.asarray(data["scale"], dtype=np.float64),
            largest=np.asarray(data["largest"], dtype=np.float64),
            tail=(float(data["tail"][0]), float(data["tail"][1])),
        )


def fit_null(
    blocks: FloatArray,
    groups: Sequence[NDArray[np.intp]],
    size: int,
    rng: np.random.Generator,
    *,
    windows: Sequence[NDArray[np.intp]] = (),
    draws: int | None = None,
) -> Null:
    """Fit the law for windows of `size` blocks.

    Parameters
    ----------
    blocks : FloatArray, shape (R, p + 1, p + 1)
        Gram matrices of the reference's blocks; for a comparison of two tables, of both tables'.
    size : blocks per window, less than R.
    windows : block indices of the contiguous windows of that size; none where blocks are
        exchangeable.
    draws : number of scattered pseudo-windows; by the width of the matrices when left out.
    """
    if draws is None:
        draws = DRAWS if blocks.shape[-1] <= WIDE else WIDE_DRAWS
    ratios = _scattered(blocks, groups, size, rng, draws)
    mean, deviation = ratios.mean(axis=0), ratios.std(axis=0, ddof=1)
    alive = deviation > 1e-12 * np.maximum(mean, 1.0)
    safe_mean, safe_deviation = np.where(alive, mean, 1.0), np.where(alive, deviation, 1.0)
    shape = np.where(alive, (safe_mean / safe_deviation) ** 2, np.nan)
    scale = safe_deviation**2 / safe_mean
    largest = np.sort(_largest(ratios, shape, scale))
    tail = (0.0, LEAST_SPREAD)
    if len(windows) > 1 and alive.any():
        own = _contiguous(blocks, groups, windows)
        independent = len(windows) / size
        own_mean = np.maximum(own.mean(axis=0), 1e-12)
        stretch = np.where(alive, np.maximum(own_mean / safe_mean, 1.0), 1.0)
        wider = (own.std(axis=0, ddof=1) / own_mean) ** 2 * np.where(alive, shape, 1.0)
        pooled = max(1.0, float(np.median(wider[alive])))
        weight = independent / (independent + POOLED_WEIGHT)
        shape = shape / np.maximum(weight * wider + (1.0 - weight) * pooled, 1.0)
        scale = safe_mean * stretch / np.where(alive, shape, 1.0)
        tail = _gumbel(_largest(own, shape, scale))
    rows = float(blocks[:, 0, 0].mean() * size)
    return Null(rows, shape, scale, largest, tail)


def _largest(ratios: FloatArray, shape: FloatArray, scale: FloatArray) -> FloatArray:
    """Return the largest evidence over features of each draw."""
    law = Null(0.0, shape, scale, np.empty(0), (0.0, 1.0))
    largest: FloatArray = law.evidence(ratios).max(axis=1, initial=0.0)
    return largest


def _gumbel(largest: FloatArray) -> tuple[float, float]:
    """Fit location and scale by moments; the scale is never below that of exact p-values."""
    spread = max(float(largest.std(ddof=1)) * np.sqrt(6.0) / np.pi, LEAST_SPREAD)
    return float(largest.mean()) - np.euler_gamma * spread, spread


def _scattered(
    blocks: FloatArray,
    groups: Sequence[NDArray[np.intp]],
    size: int,
    rng: np.random.Generator,
    draws: int,
) -> FloatArray:
    count, side = len(blocks), blocks.shape[-1]
    total, flat = blocks.sum(axis=0), blocks.reshape(count, -1)
    pooled = deviance(total, groups)
    step = max(1, _BATCH_BYTES // (8 * side * side))
    parts = []
    for start in range(0, draws, step):
        chosen = np.argsort(rng.random((min(step, draws - start), count)), axis=1)[:, :size]
        weights = np.zeros((len(chosen), count))
        np.put_along_axis(weights, chosen, 1.0, axis=1)
        window = (weights @ flat).reshape(-1, side, side)
        parts.append(pooled - deviance(total - window, groups) - deviance(window, groups))
    return np.concatenate(parts)


def _contiguous(
    blocks: FloatArray, groups: Sequence[NDArray[np.intp]], windows: Sequence[NDArray[np.intp]]
) -> FloatArray:
    total = blocks.sum(axis=0)
    pooled = deviance(total, groups)
    own = [blocks[window].sum(axis=0) for window in windows]
    return np.stack(
        [pooled - deviance(total - window, groups) - deviance(window, groups) for window in own]
    )


def log_gamma_sf(x: FloatArray, shape: FloatArray, scale: FloatArray) -> FloatArray:
    """Return the log of the Gamma survival function, also where it underflows.

    Beyond 1e-280 it is the leading term of its asymptotic series (DLMF 8.11.2).
    """
    y = np.maximum(np.asarray(x, dtype=np.float64) / scale, 1e-300)
    tail = gammaincc(shape, y)
    far = (shape - 1.0) * np.log(y) - y - gammaln(shape)
    log: FloatArray = np.where(tail > 1e-280, np.log(np.maximum(tail, 1e-280)), far)
    return log
