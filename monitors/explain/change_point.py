"""When within a window a change may have begun: rows that split it into likely and odd ones."""

from __future__ import annotations

import numpy as np

from monitors.encoder import FloatArray


def odd_from(sound: FloatArray) -> int:
    """Return the row from which on rows are odd.

    The best split in two by least squares (Hinkley, Biometrika 1970, §2), on ranks, so that no
    single row decides.

    Parameters
    ----------
    sound : FloatArray, shape (n,), n ≥ 2
        Log probabilities of the rows as if nothing had changed.
    """
    n = len(sound)
    ranks = np.argsort(np.argsort(sound, kind="stable"), kind="stable") - (n - 1) / 2
    sums = np.cumsum(ranks)[:-1]
    at = np.arange(1, n)
    contrast = sums / np.sqrt(at * (n - at))
    return int(np.argmax(contrast)) + 1  # the likely rows first


def likeliest_start(sound: FloatArray, changed: FloatArray) -> int:
    """Return the first row of a change: the maximum of the likelihood over all beginnings.

    Page's cumulative sum (Biometrika 1954) of the log likelihood ratios.

    Parameters
    ----------
    sound, changed : FloatArray, shape (n,), n ≥ 1
        Log probabilities of each row before and after.
    """
    return int(np.argmax(np.concatenate([[0.0], np.cumsum(sound - changed)[:-1]])))


def still_from(values: FloatArray) -> int:
    """Return the first row of the last run of equal values, shape (n,), n ≥ 1."""
    changes = np.flatnonzero(np.diff(values))
    return int(changes[-1]) + 1 if len(changes) else 0
