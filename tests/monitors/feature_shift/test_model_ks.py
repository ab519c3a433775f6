from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

from monitors.feature_shift import model_ks
from monitors.feature_shift.fisher import gaussian
from monitors.gram import gram_matrix
from tests.monitors.simulated import chain

GRID = np.linspace(-60, 60, 400_001)


@pytest.mark.parametrize(
    ("shift", "ratio"), [(0.5, 1.0), (0.0, 2.0), (-1.0, 0.3), (3.0, 5.0), (1e-3, 1.0 + 1e-9)]
)
def test_distance_of_two_normal_laws_is_the_largest_gap_of_their_cdfs(
    shift: float, ratio: float
) -> None:
    """Against a search on a fine grid."""
    gap = np.abs(ndtr(GRID) - ndtr((GRID - shift) / ratio)).max()
    found = model_ks.gaussian_ks(np.array([shift]), np.array([ratio]))
    assert found[0] == pytest.approx(gap, abs=1e-6)


def test_the_same_law_has_distance_zero() -> None:
    """No shift and no change of spread, where the two densities cross everywhere."""
    assert model_ks.gaussian_ks(np.zeros(2), np.ones(2)).tolist() == [0.0, 0.0]


def test_it_is_the_limit_of_the_paper_s_sampled_distance(rng: np.random.Generator) -> None:
    """Draw from the conditionals at each point, and average SciPy's KS statistics."""
    p, q = chain(rng, 500, 3), chain(rng, 400, 3, rho=0.1) * 1.5 + 0.4
    normals = rng.standard_normal((2, 10, 3))
    models = [gaussian(gram_matrix(x)) for x in (p, q)]
    points = np.concatenate(
        [m + z @ np.linalg.cholesky(s).T for z, (m, s) in zip(normals, models, strict=True)]
    )
    expected = np.zeros(3)
    for j in range(3):
        rest = [k for k in range(3) if k != j]
        for x in points:
            draws = []
            for mean, spread in models:
                slope = np.linalg.solve(spread[np.ix_(rest, rest)], spread[rest, j])
                centre = mean[j] + slope @ (x[rest] - mean[rest])
                variance = spread[j, j] - slope @ spread[rest, j]
                draws.append(rng.normal(centre, np.sqrt(variance), 20_000))
            expected[j] += stats.ks_2samp(*draws).statistic / len(points)
    found = model_ks.distances(gram_matrix(p), gram_matrix(q), normals)
    # D of 2 × 20,000 draws is off by less than 0.02 (one in a thousand); the mean of 20 by less
    assert found == pytest.approx(expected, abs=0.01)


def test_the_shuffled_column_is_farthest_from_what_it_was(rng: np.random.Generator) -> None:
    """One column of a chain is put in another order."""
    p, q = chain(rng, 5000, 6), chain(rng, 5000, 6)
    q[:, 2] = rng.permutation(q[:, 2])
    normals = rng.standard_normal((2, model_ks.POINTS, 6))
    assert model_ks.distances(gram_matrix(p), gram_matrix(q), normals).argmax() == 2
