"""The law of any statistic of windows when nothing has changed: thresholds and p-values.

The statistic compares a window with the reference, both given by sums over their rows (Gram
matrices, histograms). Two looks at the reference, from the sums of its blocks alone (no row is
touched):

- *scattered* pseudo-windows, blocks drawn without replacement. They hold every serial dependence
  shorter than a block, and there are as many as wanted.
- *contiguous* windows, stretches of the reference as long as a window. They hold the longer
  dependence too: a week of weather is one season, not a mixture of all. There are few
  of them, so they only stretch the scattered law: its mean per feature, its relative spread over
  all features.

Each statistic of each feature is then Gamma with the moments so found (a scaled χ², Satterthwaite
1946), which gives p-values beyond the number of draws; where it is skewer than that, as a sum of χ²
of unequal weights is, it is Pearson's type III with that skewness (three moments: Solomon and
Stephens 1977). Several statistics of a feature share its
p-value in given parts (weighted Bonferroni). What the largest evidence over all features comes to
is seen on windows of a part of the reference, of either kind, by the law of the other parts: a
window that a law has not seen is less like its reference than those it was made from.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammaln

from monitors.encoder import FloatArray

DRAWS = 499  # the 5 % point of the largest of many statistics then has a standard error of 1 %
LEAST_SPREAD = 1.0 / math.log(10.0)  # P(−log₁₀ p > e) = 10^−e: the Gumbel scale of exact p-values
FOLDS = 4  # of the reference: parts that a law of the others has not seen
_IN_TAIL = 25  # draws beyond a quantile, for it to be known within a fifth of its level
POOLED_SKEW_DRAWS = 499.0  # that the skewness of all features is worth beside a feature's own
POOLED_WEIGHT = 8.0  # windows that the pooled spread is worth beside a feature's own
_BATCH_BYTES = 4 << 20  # of pseudo-windows at a time: they stay in the cache
_LOG10 = math.log(10.0)

#: From the sums over all rows, shape (...) or one for each window, and over the rows of some
#: windows, shape (windows, ...), to what parts each window from all other rows, shape (windows,
#: statistics, features).
Statistic: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Null:
    """The law of the statistics of windows of one size when nothing has changed."""

    rows: float  #: rows of the windows it is for
    shape: FloatArray  #: Gamma shape per statistic and feature; NaN where it does not vary
    scale: FloatArray  #: Gamma scale, likewise
    skew: FloatArray  #: how many times as skew as that Gamma law, at least 1, likewise
    shares: FloatArray  #: shape (statistics,): parts of a feature's p-value
    largest: FloatArray  #: sorted: the largest evidence over features, one per scattered draw
    tail: tuple[float, float]  #: Gumbel location and scale of the same over contiguous windows
    windows: float = math.inf  #: how many independent ones that is known from

    def evidence(self, statistic: FloatArray) -> FloatArray:
        """Return −log₁₀ of the p-value of each feature by each statistic; 0 where it has no law.

        Parameters
        ----------
        statistic : FloatArray, shape (..., statistics, features)
        """
        shift = self.shape * self.scale * (1.0 - 1.0 / self.skew)
        shape, scale = self.shape / self.skew**2, self.scale * self.skew
        alone = -log_gamma_sf(statistic - shift, shape, scale) / _LOG10
        shared = alone + np.log10(self.shares)[:, None]
        return np.where(np.isnan(self.shape), 0.0, np.maximum(shared, 0.0))

    def largest_of(self, statistic: FloatArray) -> FloatArray:
        """Return the largest evidence over statistics and features of each window."""
        largest: FloatArray = self.evidence(statistic).max(axis=(-2, -1), initial=0.0)
        return largest

    def mean(self) -> FloatArray:
        """Return the expected statistics (0 where there is none)."""
        return np.nan_to_num(self.shape * self.scale)

    def threshold(self, level: float) -> float:
        """Return the evidence that any feature exceeds with probability `level` under the null.

        The scattered and the contiguous windows each give one; the stricter holds.
        """
        location, spread = self.tail
        far = -_double_log(level)
        own = location + spread * (far + _estimated(far) / self.windows)
        draws = len(self.largest)
        known = max(level, min(0.5, _IN_TAIL / (draws + 1)))  # fewer draws say less than their law
        found = float(self.largest[draws - int(known * (draws + 1))])
        if level < known:
            found += gumbel(self.largest)[1] * (_double_log(known) - _double_log(level))
        return max(own, found)

    def to_json(self) -> dict[str, Any]:
        """Return the law as JSON-serialisable data."""
        return {
            "rows": self.rows,
            "shape": [[None if np.isnan(a) else float(a) for a in row] for row in self.shape],
            "scale": self.scale.tolist(),
            "skew": self.skew.tolist(),
            "shares": self.shares.tolist(),
            "largest": self.largest.tolist(),
            "tail": list(self.tail),
            "windows": self.windows if math.isfinite(self.windows) else None,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Null:
        """Rebuild a law from `to_json`."""
        return cls(
            rows=float(data["rows"]),
            shape=np.asarray(data["shape"], dtype=np.float64),  # None becomes NaN
            scale=np.asarray(data["scale"], dtype=np.float64),
            skew=np.asarray(data["skew"], dtype=np.float64),
            shares=np.asarray(data["shares"], dtype=np.float64),
            largest=np.asarray(data["largest"], dtype=np.float64),
            tail=(float(data["tail"][0]), float(data["tail"][1])),
            windows=math.inf if data["windows"] is None else float(data["windows"]),
        )


def fit_null(  # noqa: PLR0913 (all but four by keyword)
    blocks: FloatArray,
    statistic: Statistic,
    size: int,
    rng: np.random.Generator,
    *,
    rows: float,
    shares: Sequence[float] = (1.0,),
    windows: Sequence[NDArray[np.intp]] = (),
    draws: int = DRAWS,
    held_out: bool = True,
) -> Null:
    """Fit the law for windows of `size` blocks.

    Parameters
    ----------
    blocks : FloatArray, shape (R, ...)
        Sums over the rows of the reference's blocks; for a comparison of two tables, of both's.
    size : blocks per window, less than R.
    rows : of such a window.
    shares : of the statistics, in a feature's p-value; at most 1 together.
    windows : block indices of the contiguous windows of that size; none where blocks are
        exchangeable.
    draws : number of scattered pseudo-windows.
    held_out : whether the largest evidence is that of windows the law has not seen, where there are
        contiguous windows.
    """
    law, found, own = _moments(blocks, statistic, size, rng, rows, shares, windows, draws)
    folds = list(_folds(windows, len(blocks), size)) if held_out else []
    scattered, contiguous = [], []
    for inside, outside, others in folds:
        share = draws // len(folds)
        known, *_ = _moments(blocks[outside], statistic, size, rng, rows, shares, others, share)
        total = blocks[outside].sum(axis=0)
        fresh = _draw(blocks[inside], size, rng, share)
        scattered.append(_largest(known, statistic, total, fresh))
        stretches = [window for window in windows if np.isin(window, inside).all()]
        contiguous.append(_largest(known, statistic, total, _sums(blocks, stretches)))
    if not len(own):
        return replace(law, largest=np.sort(_by_the_others(law, found)))
    largest = np.concatenate(scattered) if folds else law.largest_of(found)
    unseen = np.concatenate(contiguous) if folds else np.empty(0)
    tail = gumbel(unseen if len(unseen) > 1 else law.largest_of(own))
    return replace(law, largest=np.sort(largest), tail=tail)


def _moments(
    blocks: FloatArray,
    statistic: Statistic,
    size: int,
    rng: np.random.Generator,
    rows: float,
    shares: Sequence[float],
    windows: Sequence[NDArray[np.intp]],
    draws: int,
) -> tuple[Null, FloatArray, FloatArray]:
    """Fit the law of each statistic of each feature; also return the draws and windows it is of."""
    total = blocks.sum(axis=0)
    found = _in_steps(statistic, total, _draw(blocks, size, rng, draws))
    mean, deviation = found.mean(axis=0), found.std(axis=0, ddof=1)
    alive = deviation > 1e-9 * mean.max(axis=1, keepdims=True)
    mean, deviation = np.where(alive, mean, 1.0), np.where(alive, deviation, 1.0)
    shape, independent, own = (mean / deviation) ** 2, math.inf, found[:0]
    skew = np.ones_like(mean)
    if len(windows) > 1 and alive.any():
        own = _in_steps(statistic, total, _sums(blocks, windows))
        own_mean = np.maximum(own.mean(axis=0), 1e-300)
        wider = (own.std(axis=0, ddof=1) / own_mean) ** 2 * shape
        pooled = max(1.0, float(np.median(wider[alive])))
        independent = len(np.unique(np.concatenate(windows))) / size
        weight = independent / (independent + POOLED_WEIGHT)
        shape = shape / np.maximum(weight * wider + (1.0 - weight) * pooled, 1.0)
        mean = np.maximum(mean, np.where(alive, own_mean, 1.0))
        # Where blocks are exchangeable, a window that did move is among the draws, and skews them.
        skew = np.where(alive, _skewness(found, alive), 1.0)
    law = Null(
        rows=rows,
        shape=np.where(alive, shape, np.nan),
        scale=np.where(alive, mean / shape, 1.0),
        skew=skew,
        shares=np.asarray(shares, np.float64),
        largest=np.empty(0),
        tail=(0.0, LEAST_SPREAD),
        windows=independent,
    )
    return law, found, own


def _skewness(draws: FloatArray, alive: NDArray[np.bool_]) -> FloatArray:
    """Return how many times as skew as a Gamma law of its mean and spread each statistic is.

    A feature's own skewness is known poorly from some hundred draws, and so is drawn towards that
    of all features by the same statistic.
    """
    mean, deviation = draws.mean(axis=0), draws.std(axis=0)
    deviation = np.where(alive, deviation, 1.0)
    own = ((draws - mean) ** 3).mean(axis=0) / deviation**3
    ratio = np.where(alive, own * mean / (2.0 * deviation), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a statistic that varies in no feature
        pooled = np.nanmean(ratio, axis=1, keepdims=True)
    weight = len(draws) / (len(draws) + POOLED_SKEW_DRAWS)
    found: FloatArray = np.maximum(np.nan_to_num(weight * ratio + (1.0 - weight) * pooled), 1.0)
    return found


def _by_the_others(law: Null, found: FloatArray) -> FloatArray:
    """Return the largest evidence of each draw, by the law of all other draws."""
    mean, deviation = leave_one_out(found)
    alive = ~np.isnan(law.shape)
    shape = np.where(alive, (mean / np.maximum(deviation, 1e-9 * mean + 1e-300)) ** 2, np.nan)
    scale = np.where(alive, mean, 1.0) / np.where(alive, shape, 1.0)
    return replace(law, shape=shape, scale=scale).largest_of(found)


def leave_one_out(draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of all other draws, for each of them, shape (draws, ...).

    A draw four deviations out makes up a thirtieth of the variance of 500, and would look smaller
    by it than what is not among them.
    """
    count = len(draws)
    mean = draws.mean(axis=0)
    gap = draws - mean
    others = np.maximum((gap**2).sum(axis=0) - gap**2 * count / (count - 1), 0.0) / (count - 2)
    return mean - gap / (count - 1), np.sqrt(others)


def _folds(
    windows: Sequence[NDArray[np.intp]], blocks: int, size: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], list[NDArray[np.intp]]]]:
    """Yield every fourth window's blocks, the others, and the windows of these, renumbered.

    Parts far apart in time would differ by their season, which the whole reference knows.
    """
    parts = min(FOLDS, blocks // (2 * size))
    if parts < 2 or not windows:
        return
    part = np.arange(blocks) // size % parts
    for fold in range(parts):
        outside = np.flatnonzero(part != fold)
        others = [
            np.searchsorted(outside, window) for window in windows if (part[window] != fold).all()
        ]
        yield np.flatnonzero(part == fold), outside, others


def _largest(
    law: Null, statistic: Statistic, reference: FloatArray, windows: FloatArray
) -> FloatArray:
    """Return the largest evidence of windows that are no part of the reference."""
    if not len(windows):
        return np.empty(0)
    return law.largest_of(_in_steps(statistic, reference + windows, windows))


def _double_log(level: float) -> float:
    """Return ln(−ln(1 − level)): a Gumbel variable exceeds location − spread · this so often."""
    return math.log(-math.log1p(-level))


def _estimated(far: float) -> float:
    """Return by what a quantile has to rise, in scales times windows, since its law is estimated.

    With N windows, the sample mean and standard deviation s put the quantile mean + k s in error by
    a variance of s² (1 + 1.1 k²) / N (the kurtosis of a Gumbel law is 5.4). The tail is
    exponential, so that an error of variance v, in scales, takes half of v to make good.
    """
    k = max(0.0, (far - float(np.euler_gamma)) * math.sqrt(6.0) / math.pi)
    return 0.5 * math.pi**2 / 6.0 * (1.0 + 1.1 * k * k)


def gumbel(largest: FloatArray) -> tuple[float, float]:
    """Fit location and scale by moments; the scale is never below that of exact p-values."""
    spread = max(float(largest.std(ddof=1)) * math.sqrt(6.0) / math.pi, LEAST_SPREAD)
    return float(largest.mean()) - float(np.euler_gamma) * spread, spread


def _draw(blocks: FloatArray, size: int, rng: np.random.Generator, draws: int) -> FloatArray:
    """Return the sums of so many sets of blocks, drawn without replacement."""
    count = len(blocks)
    chosen = np.argsort(rng.random((draws, count)), axis=1)[:, :size]
    weights = np.zeros((draws, count))
    np.put_along_axis(weights, chosen, 1.0, axis=1)
    return (weights @ blocks.reshape(count, -1)).reshape(draws, *blocks.shape[1:])


def _sums(blocks: FloatArray, windows: Sequence[NDArray[np.intp]]) -> FloatArray:
    return np.stack([blocks[own].sum(axis=0) for own in windows]) if windows else blocks[:0]


def _in_steps(statistic: Statistic, total: FloatArray, windows: FloatArray) -> FloatArray:
    """Apply a statistic to few windows at a time: they stay in the cache.

    `total` is that of all windows, or one for each.
    """
    step = max(1, _BATCH_BYTES // windows[0].nbytes)
    parts = []
    for at in range(0, len(windows), step):
        own = slice(at, at + step)
        whole = total[own] if total.ndim == windows.ndim else total
        parts.append(statistic(whole, windows[own]))
    return np.concatenate(parts)


def log_gamma_sf(x: FloatArray, shape: FloatArray, scale: FloatArray) -> FloatArray:
    """Return the log of the Gamma survival function, also where it underflows.

    Beyond 1e-280 it is the leading term of its asymptotic series (DLMF 8.11.2).
    """
    y = np.maximum(np.asarray(x, dtype=np.float64) / scale, 1e-300)
    tail = gammaincc(shape, y)
    far = (shape - 1.0) * np.log(y) - y - gammaln(shape)
    log: FloatArray = np.where(tail > 1e-280, np.log(np.maximum(tail, 1e-280)), far)
    return log
