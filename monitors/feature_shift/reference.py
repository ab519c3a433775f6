"""The reference of the feature-shift monitor: block profiles, and the null of its own windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from monitors.basis import Basis
from monitors.counts import RateLaw, fit_rates, with_pieces
from monitors.encoder import Encoder, FloatArray
from monitors.feature_shift.adjusted import adjusted_p_values
from monitors.feature_shift.gram_methods import GRAM_METHODS, draws
from monitors.feature_shift.likelihood_ratio import RIDGE
from monitors.feature_shift.locate import Evidence, locate
from monitors.gram import Profile, moments
from monitors.null import Null, fit_null
from schemas.errors import ReferenceDataError

if TYPE_CHECKING:
    from monitors.marginals.reference import MarginalReference

FRACTIONS = (0.25, 0.5, 1.0, 2.0)  # of a nominal window: sizes for which a null is kept
MOST_BLOCKS = 400
BLOCKS_PER_WINDOW = 8
_LEAST_SHARE = 0.125  # of a nominal window; with fewer rows a window is not tested
_LEAST_ROWS_PER_COLUMN = 1.0


def blocks_per_window(windows: float) -> int:
    """Return how many blocks a window is cut into, for a reference of so many windows."""
    return int(np.clip(MOST_BLOCKS // max(windows, 1.0), 1, BLOCKS_PER_WINDOW))


@dataclass(frozen=True)
class Reference:
    """Block profiles of the reference of one key, in the order of time."""

    encoder: Encoder
    method: str  #: one of `GRAM_METHODS`
    numbers: NDArray[np.int64]  #: shape (R,): block numbers; consecutive numbers touch in time
    grams: FloatArray  #: shape (R, p + 1, p + 1)
    counts: NDArray[np.int64]  #: shape (R, features, 2)
    per_window: int  #: blocks per window
    nulls: tuple[Null, ...] = field(default=())  #: one per window size, increasing
    marginals: MarginalReference | None = None  #: where a marginal monitor asks for histograms

    @cached_property
    def total(self) -> Profile:
        """The profile of all rows."""
        return Profile(self.grams.sum(axis=0), self.counts.sum(axis=0))

    @cached_property
    def window_rows(self) -> float:
        """Rows of the reference's median window."""
        _, window = np.unique(self.numbers // self.per_window, return_inverse=True)
        return float(np.median(np.bincount(window, weights=self.grams[:, 0, 0])))

    def windows(self, size: int) -> list[NDArray[np.intp]]:
        """Return the blocks of every stretch of time of `size` blocks that begins with one of them.

        Stretches with fewer rows than nine tenths of a window's are left out: they vary less.
        """
        ends, enough = self._spans(size)
        return [np.arange(i, ends[i]) for i in np.flatnonzero(enough)]

    def pseudo_window(self, size: int) -> tuple[list[NDArray[np.intp]], int, float]:
        """Return the stretches of `size` blocks, and how many blocks and rows one of them has."""
        # a stretch of all blocks would leave no others to part it from
        windows = self.windows(min(size, len(self.numbers) // 2))
        typical = int(np.median([len(window) for window in windows])) if windows else size
        count = int(np.clip(typical, 1, len(self.numbers) // 2))
        return windows, count, float(self.grams[:, 0, 0].mean() * count)

    @property
    def sizes(self) -> list[int]:
        """Blocks of the windows for which nulls are kept, increasing."""
        return sorted({max(1, round(self.per_window * share)) for share in FRACTIONS})

    def _spans(self, size: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return where the stretch of `size` blocks from each block ends, and if it has rows."""
        ends = np.searchsorted(self.numbers, self.numbers + size)
        rows = np.concatenate([[0.0], np.cumsum(self.grams[:, 0, 0])])
        enough = rows[ends] - rows[:-1] >= 0.9 * self.window_rows * size / self.per_window
        return ends, enough

    @cached_property
    def bases(self) -> tuple[Basis, ...]:
        """The bases of the tests of its windows."""
        return self.encoder.bases(self.window_rows / self.dependence)

    @cached_property
    def dependence(self) -> float:
        """Rows of a window that are worth one independent row.

        The variance of its windows' mean conditional residuals, times their rows, by that of a row.
        """
        windows = self.windows(self.per_window)
        first = self.encoder.bases(0.0)[0]
        own = [int(group[0]) for group in first.groups if len(group)]
        if len(windows) < 2 or not own:
            return 1.0
        precision, middle = _precision(first.of(self.total.gram))
        grams = [first.of(self.grams[window].sum(axis=0)) for window in windows]
        means = np.stack([moments(gram)[1] for gram in grams]) - middle
        residuals = (means @ precision[:, own]) / np.diagonal(precision)[own]
        variances = residuals.var(axis=0, ddof=1) * np.diagonal(precision)[own]
        return max(1.0, float(np.median(variances)) * self.window_rows)

    @cached_property
    def _nulls_without(self) -> dict[tuple[int, tuple[int, ...], int], Null]:
        """Nulls with features set aside: a shift that lasts asks for the same ones again."""
        return {}

    @cached_property
    def rates(self) -> list[tuple[RateLaw, RateLaw]]:
        """Laws of the missing and of the unseen values of each feature."""
        _, starts = np.unique(self.numbers // self.per_window, return_index=True)
        rows = np.add.reduceat(self.grams[:, 0, 0], starts)
        counts = np.add.reduceat(self.counts, starts, axis=0)
        laws = fit_rates(self.encoder.features, counts, rows)
        each = self.grams[:, 0, 0]
        return [
            (with_pieces(missing, self.counts[:, j, 0], each), unseen)
            for j, (missing, unseen) in enumerate(laws)
        ]

    def fit_nulls(self, seed: int) -> Reference:
        """Return the reference with the nulls of its window sizes.

        Raises
        ------
        ReferenceDataError
            When the reference does not hold two windows.
        """
        if self.total.rows < 2 * self.window_rows:
            message = (
                f"the reference holds {self.total.rows:,} rows, less than two windows of about "
                f"{self.window_rows:,.0f} rows; give a longer reference or shorter windows"
            )
            raise ReferenceDataError(message)
        nulls = [self._null(size, (), seed) for size in self.sizes]
        return replace(self, nulls=tuple(nulls))

    def test(
        self, window: Profile, *, level: float, ignore_below: float, seed: int
    ) -> list[Evidence]:
        """Test a window against this reference; see `locate`."""
        return self._locate(self.total, window, level=level, ignore_below=ignore_below, seed=seed)

    def stretches(self, rows: float) -> list[NDArray[np.intp]]:
        """Return the reference's own windows of about so many rows, none overlapping another."""
        size = max(1, round(rows / self.window_rows * self.per_window))
        ends, enough = self._spans(size)
        fits = enough & (2 * (ends - np.arange(len(ends))) <= len(ends))
        apart: list[NDArray[np.intp]] = []
        free = 0
        for start in np.flatnonzero(fits):
            if start >= free:
                free = ends[start]
                apart.append(np.arange(start, free))
        return apart

    def test_own(
        self, own: NDArray[np.intp], *, level: float, ignore_below: float, seed: int
    ) -> list[Evidence]:
        """Test some of the reference's own blocks as a window against all its others."""
        window = Profile(self.grams[own].sum(axis=0), self.counts[own].sum(axis=0))
        others = Profile(self.total.gram - window.gram, self.total.counts - window.counts)
        return self._locate(others, window, level=level, ignore_below=ignore_below, seed=seed)

    def _locate(
        self, reference: Profile, window: Profile, *, level: float, ignore_below: float, seed: int
    ) -> list[Evidence]:
        def null_without(removed: tuple[int, ...]) -> Null:
            if not removed:
                return interpolate(self.nulls, window.rows)
            size = round(window.rows / self.window_rows * self.per_window)
            place = max(1, size), removed, seed
            if place not in self._nulls_without:
                self._nulls_without[place] = self._null(*place)
            return self._nulls_without[place]

        return locate(
            reference,
            window,
            GRAM_METHODS[self.method],
            self.bases,
            self.rates,
            null_without,
            level=level,
            ignore_below=ignore_below,
        )

    def adjusted(self, found: Sequence[Evidence], rows: int) -> list[float]:
        """Return the adjusted p-value of everything that `test` found in a window of that size."""
        return adjusted_p_values(found, interpolate(self.nulls, rows), len(self.rates))

    def too_few(self, rows: int) -> str | None:
        """Say why a window of so many rows cannot be tested; None when it can."""
        needed = max(_LEAST_SHARE * self.window_rows, _LEAST_ROWS_PER_COLUMN * self.grams.shape[-1])
        if rows >= needed:
            return None
        return (
            f"not tested: the window has {rows:,} rows, and a comparison needs {needed:,.0f} "
            f"(a window of the reference has about {self.window_rows:,.0f})"
        )

    def _null(self, size: int, removed: tuple[int, ...], seed: int) -> Null:
        method = GRAM_METHODS[self.method]
        bases = method.bases(self.bases, removed)
        rng = np.random.default_rng([seed, size, *removed])
        windows, count, rows = self.pseudo_window(size)
        return fit_null(
            self.grams,
            method.within(bases),
            count,
            rng,
            rows=rows,
            shares=method.parts(bases),
            windows=windows,
            draws=draws(self.grams.shape[-1]),
            held_out=not removed,  # a further name has to pass the first law, too
        )


def _precision(gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return precision and mean of all rows."""
    _, mean, covariance = moments(gram)
    inverse = np.linalg.inv(covariance + RIDGE * np.eye(len(covariance)))
    return np.asarray(inverse, dtype=np.float64), mean


def interpolate(nulls: tuple[Null, ...], rows: float) -> Null:
    """Return the null for windows of so many rows, log-linear between the sizes that are kept."""
    sizes = np.log([null.rows for null in nulls])
    at = float(np.clip(np.log(rows), sizes[0], sizes[-1]))
    upper = min(int(np.searchsorted(sizes, at)), len(nulls) - 1)
    lower = max(upper - 1, 0) if sizes[upper] > at else upper
    if lower == upper:
        return nulls[upper]
    share = (at - sizes[lower]) / (sizes[upper] - sizes[lower])
    low, high = nulls[lower], nulls[upper]
    shape = np.exp((1 - share) * np.log(low.shape) + share * np.log(high.shape))
    mean = np.exp(
        (1 - share) * np.log(low.shape * low.scale) + share * np.log(high.shape * high.scale)
    )
    near = low if share < 0.5 else high
    return replace(near, rows=float(rows), shape=shape, scale=mean / shape)


def reference_from_blocks(
    encoder: Encoder, method: str, blocks: Mapping[int, Profile], per_window: int
) -> Reference:
    """Put block profiles, by block number, in order."""
    numbers = np.asarray(sorted(blocks), dtype=np.int64)
    return Reference(
        encoder=encoder,
        method=method,
        numbers=numbers,
        grams=np.stack([blocks[int(number)].gram for number in numbers]),
        counts=np.stack([blocks[int(number)].counts for number in numbers]),
        per_window=per_window,
    )
