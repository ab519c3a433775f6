"""The maps between two profiles, where no rows were kept: from means and covariances alone.

Both laws are taken for Gaussian in the encoder's normal scores, which is what the Gram matrices
hold, and distances are those of `monitors.explain.gaussian`. Only numbers are compared. What lies
outside the reference's range has the score of its end, so that a far shift is a lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtri

from monitors.encoder import Coding, Encoder
from monitors.explain.gaussian import bures, sampling_distance
from monitors.explain.maps import MapStep, ShiftMap, in_order, shift_map
from monitors.explain.sparse import by_mean
from monitors.gram import Profile, moments
from schemas.stream import Column

MAX_FEATURES = 10  # of a sparse map
_RESOLVED = 3.0  # deviations above what sampling shows: a smaller distance may be none
_SCORES = ndtri((np.arange(64) + 0.5) / 64)  # a column's rows in the reference stand for its law


def profile_maps(
    encoder: Encoder, reference: Profile, window: Profile, columns: Mapping[str, Column]
) -> tuple[ShiftMap, ...]:
    """Explain the difference of two profiles by sparse mean maps, and by the Gaussian map.

    Parameters
    ----------
    columns : of the stream; a feature that it lacks (a value some time ago) is not mapped.

    Returns
    -------
    tuple of ShiftMap
        The one to show first; empty where no feature is a number, or a profile has few rows.
    """
    numeric = [
        (coding, int(group[0]))
        for coding, group in zip(encoder.features, encoder.groups, strict=True)
        if coding.kind == "numeric" and coding.name in columns
    ]
    if not numeric or min(reference.rows, window.rows) < 2:
        return ()
    own = np.array([at for _, at in numeric])
    codings = [coding for coding, _ in numeric]
    (_, mean_p, cov_p), (_, mean_q, cov_q) = (moments(one.gram) for one in (reference, window))
    shift = (mean_q - mean_p)[own]
    before, after = cov_p[np.ix_(own, own)], cov_q[np.ix_(own, own)]
    rows = 1.0 / (1.0 / reference.rows + 1.0 / window.rows)
    total = float(shift @ shift) + bures(before, after)
    noise, deviation = sampling_distance(before, rows)
    beyond = total - noise if total > noise + _RESOLVED * deviation else 0.0
    sampling = np.diagonal(before) / reference.rows + np.diagonal(after) / window.rows

    def share(gain: float) -> float:
        return min(max(gain / beyond, 0.0), 1.0) if beyond else 0.0

    names = [coding.name for coding in codings]
    scale = encoder.scale[own]
    moves = [_move(c, 1.0, d) for c, d in zip(codings, shift * scale, strict=True)]
    order = by_mean(shift, [np.array([j]) for j in range(len(own))])
    gain = explained = 0.0
    steps: list[MapStep] = []
    for k, j in enumerate(order[:MAX_FEATURES], 1):
        gain += float(shift[j] ** 2)
        explained += max(float(shift[j] ** 2 - sampling[j]), 0.0)
        at = tuple(names[i] for i in order[:k]), [moves[i] for i in order[:k]]
        steps.append(MapStep(k, at[0], share(explained), total - gain, (at[1],)))
    widths = np.sqrt(np.diagonal(after) / np.maximum(np.diagonal(before), 1e-12))
    offsets = (mean_q[own] - widths * mean_p[own]) * scale + encoder.centre[own] * (1.0 - widths)
    linear = [_move(c, a, b) for c, a, b in zip(codings, widths, offsets, strict=True)]
    whole = MapStep(
        size=len(own),
        columns=tuple(names[j] for j in order),
        explained=1.0 if beyond else 0.0,
        distance=0.0,
        moves=([linear[j] for j in order],),
    )
    mean_map = shift_map("sparse-mean", total, beyond, steps)
    return in_order([mean_map, shift_map("gaussian", total, beyond, [whole])])


def _move(coding: Coding, factor: float, offset: float) -> float:
    """Return a column's mean move, in its unit, when its scores g become factor · g + offset."""
    old, new = (
        np.interp(scores, coding.scores, coding.knots)
        for scores in (_SCORES, factor * _SCORES + offset)
    )
    return float((new - old).mean())
