"""The reference of the feature-shift monitor: block profiles, and the null of its own windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from monitors.counts import RateLaw, fit_rates
from monitors.encoder import Encoder, FloatArray
from monitors.feature_shift.likelihood_ratio import without
from monitors.feature_shift.locate import Evidence, locate
from monitors.feature_shift.null import Null, fit_null
from monitors.gram import Profile
from schemas.errors import ReferenceDataError

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
    numbers: NDArray[np.int64]  #: shape (R,): block numbers; consecutive numbers touch in time
    grams: FloatArray  #: shape (R, p + 1, p + 1)
    counts: NDArray[np.int64]  #: shape (R, features, 2)
    per_window: int  #: blocks per window
    nulls: tuple[Null, ...] = field(default=())  #: one per window size, increasing

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
        ends = np.searchsorted(self.numbers, self.numbers + size)
        rows = np.concatenate([[0.0], np.cumsum(self.grams[:, 0, 0])])
        enough = rows[ends] - rows[:-1] >= 0.9 * self.window_rows * size / self.per_window
        return [np.arange(i, ends[i]) for i in np.flatnonzero(enough)]

    @cached_property
    def rates(self) -> list[tuple[RateLaw, RateLaw]]:
        """Laws of the missing and of the unseen values of each feature."""
        _, starts = np.unique(self.numbers // self.per_window, return_index=True)
        rows = np.add.reduceat(self.grams[:, 0, 0], starts)
        counts = np.add.reduceat(self.counts, starts, axis=0)
        return fit_rates(self.encoder.features, counts, rows)

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
        sizes = {max(1, round(self.per_window * share)) for share in FRACTIONS}
        nulls = [self._null(size, (), seed) for size in sorted(sizes)]
        return Reference(
            self.encoder, self.numbers, self.grams, self.counts, self.per_window, tuple(nulls)
        )

    def test(
        self, window: Profile, *, level: float, ignore_below: float, seed: int
    ) -> list[Evidence]:
        """Test a window against this reference; see `locate`."""

        def null_without(removed: tuple[int, ...]) -> Null:
            if not removed:
                return interpolate(self.nulls, window.rows)
            size = round(window.rows / self.window_rows * self.per_window)
            return self._null(max(1, size), removed, seed)

        return locate(
            self.total,
            window,
            self.encoder.groups,
            self.rates,
            null_without,
            level=level,
            ignore_below=ignore_below,
        )

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
        grams, groups = without(self.grams, self.encoder.groups, removed)
        rng = np.random.default_rng([seed, size, *removed])
        windows = self.windows(size)
        typical = int(np.median([len(window) for window in windows])) if windows else size
        count = int(np.clip(typical, 1, len(self.numbers) // 2))
        return fit_null(grams, groups, count, rng, windows=windows)


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
    return Null(float(rows), shape, mean / shape, near.largest, near.tail)


def reference_from_blocks(
    encoder: Encoder, blocks: Mapping[int, Profile], per_window: int
) -> Reference:
    """Put block profiles, by block number, in order."""
    numbers = np.asarray(sorted(blocks), dtype=np.int64)
    return Reference(
        encoder=encoder,
        numbers=numbers,
        grams=np.stack([blocks[int(number)].gram for number in numbers]),
        counts=np.stack([blocks[int(number)].counts for number in numbers]),
        per_window=per_window,
    )
