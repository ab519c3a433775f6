"""The last scores of each series: what conformal rules take their quantiles from."""

from __future__ import annotations

import numpy as np

from transforms.calibrate.online import Floats


def scores_of(residual: Floats) -> Floats:
    """CQR's score max(lower − y, y − upper) in standard units, in which the ends are −1 and 1."""
    scores: Floats = np.abs(residual) - 1
    return scores


def ends_at(bound: Floats) -> tuple[Floats, Floats]:
    """Return the interval of all outcomes whose score is at most `bound`; its middle if none."""
    half = np.maximum(1 + bound, 0.0)
    return -half, half


def empty_window(series: int, length: int) -> Floats:
    """Return room for the last `length` scores of each series, shape (S, length), NaN so far."""
    return np.full((series, length), np.nan)


def add_score(window: Floats, seen: Floats, score: Floats) -> Floats:
    """Return the window with each series' next score, over its oldest; `seen` came before.

    Parameters
    ----------
    window : array, shape (S, length)
    seen : array, shape (S,)
    score : array, shape (S,)
    """
    added = window.copy()
    added[np.arange(len(window)), seen.astype(int) % window.shape[1]] = score
    return added


def quantiles_of(window: Floats, levels: Floats) -> Floats:
    """Return the ⌈level (n + 1)⌉-th smallest of the n scores of each series.

    Infinite where that is beyond the n-th, −inf where it is below the first.

    Parameters
    ----------
    window : array, shape (S, length)
    levels : array, shape (S, k)

    Returns
    -------
    float64 array, shape (S, k)
    """
    ordered = np.sort(window, axis=1)  # NaN last
    count = (~np.isnan(window)).sum(axis=1)[:, None]
    # the small number keeps a rank that is whole in arithmetic from rounding up
    rank = np.ceil(levels * (count + 1) - 1e-9).astype(int)
    inside = np.clip(rank, 1, np.maximum(count, 1)) - 1
    found = np.take_along_axis(ordered, inside, axis=1)
    found = np.where(rank > count, np.inf, found)
    return np.where(rank < 1, -np.inf, found)
