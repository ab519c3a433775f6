from __future__ import annotations

import numpy as np
import pytest

from monitors.feature_shift import flow
from monitors.feature_shift.fisher import scores_apart
from monitors.feature_shift.resampling import resample
from monitors.feature_shift.rows import Dealing, Rows
from monitors.gram import gram_matrix
from tests.monitors.simulated import Floats, chain, likely

BLOCKS = 40


def normal_score(x: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Return the score of N(0, covariance) at rows, and its slopes."""
    precision = np.linalg.inv(covariance)
    return -x @ precision, np.tile(-np.diagonal(precision), (len(x), 1))


def test_the_contrast_of_gaussians_estimates_their_fisher_score(rng: np.random.Generator) -> None:
    """E_q h − E_p h = γ_j, which is known in closed form."""
    spreads = [np.array([[1.0, r], [r, 1.0]]) for r in (0.2, 0.6)]
    roots = [np.linalg.cholesky(spread) for spread in spreads]
    p, q = (rng.standard_normal((200_000, 2)) @ root.T for root in roots)
    means = [
        flow.contrast_of(*(normal_score(x, spread) for spread in spreads))[0].mean(axis=0)
        for x in (p, q)
    ]
    expected = scores_apart(*(gram_matrix(x) for x in (p, q)))
    np.testing.assert_allclose(means[1] - means[0], expected, rtol=0.1)


@pytest.fixture(scope="module")
def fitted() -> tuple[Rows, Dealing]:
    """Fit flows to a chain of three, whose last column is shuffled in the second table."""
    rng = np.random.default_rng(5)
    x = np.concatenate([chain(rng, 400, 3, rho=0.8), chain(rng, 400, 3, rho=0.8)])
    x[400:, 2] = rng.permutation(x[400:, 2])
    given = rng.standard_normal((800, 1))  # explains, and is not tested
    rows = Rows(
        phi=np.column_stack([x, given]),
        block=np.arange(800) * BLOCKS // 800,
        in_window=np.arange(BLOCKS) >= BLOCKS // 2,
        groups=[np.array([j]) for j in range(3)] + [np.array([3])],
        numeric=[0, 1, 2],
    )
    return rows, flow.prepare(rows, rng)


def test_it_finds_a_shuffled_feature_in_blocks_it_has_not_seen(
    fitted: tuple[Rows, Dealing],
) -> None:
    """Half of each table's blocks are left, and what they say is no chance."""
    _, dealing = fitted
    assert len(dealing.in_window) == BLOCKS // 2
    assert np.count_nonzero(dealing.in_window) == BLOCKS // 4
    found = resample(
        dealing.statistic, dealing.in_window, np.random.default_rng(0), 199, normal=True
    )
    evidence = found.null.evidence(found.studentised[None])[0]
    assert evidence.argmax() == 2
    assert evidence[2] > found.null.threshold(0.05)


def test_flows_that_learned_a_change_are_no_reason_for_an_alarm(
    fitted: tuple[Rows, Dealing],
) -> None:
    """Whatever the flows say: blocks dealt at random are named as often as allowed."""
    _, dealing = fitted
    rng = np.random.default_rng(1)

    def alarm() -> bool:
        own = rng.permutation(dealing.in_window)
        found = resample(dealing.statistic, own, rng, 199, normal=True)
        return bool(found.null.evidence(found.studentised[None]).max() > found.null.threshold(0.05))

    assert likely(sum(alarm() for _ in range(200)), 200, 0.05)


def test_scores_are_the_derivatives_of_the_fitted_density(
    fitted: tuple[Rows, Dealing],
) -> None:
    """Against finite differences of its logarithm."""
    rows, _ = fitted
    own, given = rows.phi[:400, :3], rows.phi[:400, 3:]
    density = flow.fit(own, given)
    score, slope = flow.score_and_slope(density, own[:5], given[:5])
    step = 0.05 * np.eye(3)
    for j in range(3):
        here, ahead, behind = (
            np.asarray(density.log_prob(own[:5] + move, given[:5]), dtype=np.float64)
            for move in (0.0, step[j], -step[j])
        )
        np.testing.assert_allclose(score[:, j], (ahead - behind) / 0.1, rtol=0.02, atol=0.02)
        curve = (ahead - 2.0 * here + behind) / 0.05**2
        np.testing.assert_allclose(slope[:, j], curve, rtol=0.05, atol=0.05)
