from __future__ import annotations

import numpy as np
from scipy import special

from transforms.risk.tracking import track_levels

LEVELS = np.array([0.01, 0.05, 0.5, 0.95, 0.99])


def normal_quantiles(n: int, scale: float = 1.0) -> np.ndarray:
    """Return the same normal quantiles for each row."""
    return np.tile(scale * special.ndtri(LEVELS), (n, 1))


def test_levels_hold_although_the_scale_doubles(rng: np.random.Generator) -> None:
    """Each level within its binomial error, where the forecast's own shares are far off."""
    n = 20_000
    y = rng.normal(size=n) * np.where(np.arange(n) < n // 2, 1.0, 2.0)
    raw = (y[:, None] < normal_quantiles(n)).mean(axis=0)
    tracked = track_levels(y, normal_quantiles(n), LEVELS, np.ones(n))
    held = (y[:, None] < tracked.quantiles).mean(axis=0)
    error = 4 * np.sqrt(LEVELS * (1 - LEVELS) / n)
    assert np.all(np.abs(held - LEVELS) < error)
    assert np.any(np.abs(raw - LEVELS) > 5 * error)


def test_one_step_by_hand() -> None:
    """Two levels, one outcome below both: θ falls by (1 − p)/(f m), in units of the scale."""
    found = track_levels([-9.0, np.nan], [[-2.0, 2.0]] * 2, [0.25, 0.75], [2.0, 2.0], memory=10)
    # 1/f = 4/.5/2 = 4 units of the scale, η = .4
    np.testing.assert_allclose(found.offsets, [-0.4 * 0.75, -0.4 * 0.25])
    np.testing.assert_allclose(found.quantiles, [[-2.0, 2.0], [-2.6, 1.8]])


def test_nothing_later_is_read_and_pieces_join(rng: np.random.Generator) -> None:
    """In two pieces, the second from the offsets of the first, it is the same."""
    y, q = rng.standard_t(3, size=300), normal_quantiles(300)
    scale = rng.uniform(0.5, 2.0, size=300)
    whole = track_levels(y, q, LEVELS, scale)
    first = track_levels(y[:120], q[:120], LEVELS, scale[:120])
    rest = track_levels(y[120:], q[120:], LEVELS, scale[120:], offsets=first.offsets)
    np.testing.assert_array_equal(np.vstack([first.quantiles, rest.quantiles]), whole.quantiles)
    np.testing.assert_array_equal(rest.offsets, whole.offsets)
    assert np.all(np.diff(whole.quantiles, axis=1) >= 0)


def test_unit_of_the_target_does_not_matter(rng: np.random.Generator) -> None:
    """In a unit ten times smaller, ten times the quantiles."""
    y, q, scale = rng.normal(size=200), normal_quantiles(200), np.ones(200)
    found = track_levels(y, q, LEVELS, scale).quantiles
    tenfold = track_levels(10 * y, 10 * q, LEVELS, 10 * scale).quantiles
    np.testing.assert_allclose(tenfold, 10 * found)
