from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from monitors.feature_shift.likelihood_ratio import likelihood_ratio
from monitors.feature_shift.null import Null, fit_null, log_gamma_sf
from monitors.gram import gram_matrix
from tests.monitors.simulated import Floats, chain, likely

D = 4
GROUPS = [np.array([j]) for j in range(D)]


def blocks_of(x: Floats, rows: int) -> Floats:
    """Return the Gram matrices of consecutive blocks of so many rows."""
    return np.stack([gram_matrix(part) for part in np.split(x, len(x) // rows)])


@pytest.fixture
def null(rng: np.random.Generator) -> Null:
    """Return the law of windows of 10 of 40 blocks; the last feature has no basis column."""
    blocks = blocks_of(chain(rng, 1000, D), 25)
    return fit_null(blocks, [*GROUPS, np.array([], dtype=np.intp)], 10, rng)


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_the_threshold_of_exchangeable_blocks_has_the_right_level(level: float) -> None:
    """One split of forty blocks is judged by random splits of the same blocks."""
    rng, alarms, pairs = np.random.default_rng(1), 0, 150
    for _ in range(pairs):
        blocks = blocks_of(chain(rng, 1000, D) ** 3, 25)
        null = fit_null(blocks, GROUPS, 10, rng, draws=199)
        ratio = likelihood_ratio(blocks[10:].sum(axis=0), blocks[:10].sum(axis=0), GROUPS)
        alarms += null.evidence(ratio).max() > null.threshold(level)
    assert likely(alarms, pairs, level)


def test_a_smaller_level_asks_for_more_evidence_also_beyond_the_draws(null: Null) -> None:
    """No jump where the draws end and the extrapolation begins, and a finite end."""
    levels = np.geomspace(0.5, 1e-12, 100)
    thresholds = np.array([null.threshold(level) for level in levels])
    assert np.isfinite(thresholds).all()
    assert (np.diff(thresholds) >= -1e-9).all()
    assert np.diff(thresholds).max() < 1
    # never less than one exact test asks for, nor more than as many as there are features
    far = levels < 1e-4
    assert (thresholds[far] >= -np.log10(levels[far]) - 1e-6).all()
    assert (thresholds[far] <= -np.log10(levels[far] / D) + 0.5).all()


def test_the_gamma_tail_is_exact_and_goes_on_beyond_the_smallest_float() -> None:
    """As SciPy has it as far as SciPy goes; then finite, and falling."""
    shape, scale = np.array([0.7, 3.0, 40.0]), np.array([2.0, 0.5, 1.5])
    for quantile in (0.3, 0.9, 1 - 1e-9):
        x = stats.gamma.ppf(quantile, shape, scale=scale)
        np.testing.assert_allclose(
            log_gamma_sf(x, shape, scale), stats.gamma.logsf(x, shape, scale=scale), rtol=1e-6
        )
    beyond = np.geomspace(600, 1e6, 200)[:, None] * scale * shape
    tail = log_gamma_sf(beyond, shape, scale)
    assert np.isfinite(tail).all()
    assert (np.diff(tail, axis=0) < 0).all()


def test_stronger_ratios_are_stronger_evidence_however_strong(null: Null) -> None:
    """So that features can be put in order when every p-value underflows."""
    found = null.evidence(np.geomspace(1, 1e9, 400)[:, None] * np.ones(D + 1))
    assert np.isfinite(found).all()
    assert (np.diff(found[:, :D], axis=0) > 0).all()
    assert found[-1, :D].min() > 1e6


def test_a_feature_without_basis_columns_has_no_evidence_and_no_mean(null: Null) -> None:
    """It is constant in the reference: only its counts speak."""
    assert null.evidence(np.full(D + 1, 1e6))[D] == 0.0
    assert null.mean()[D] == 0.0


def test_windows_that_wander_stretch_the_law(rng: np.random.Generator) -> None:
    """Blocks whose level wanders slowly: the reference's own windows differ more than shuffled."""
    level = np.repeat(np.cumsum(rng.standard_normal(80)) / 4, 25)[:, None]
    blocks = blocks_of(chain(rng, 2000, D) + level, 25)
    windows = [np.arange(i, i + 10) for i in range(71)]
    shuffled = fit_null(blocks, GROUPS, 10, rng)
    own = fit_null(blocks, GROUPS, 10, rng, windows=windows)
    assert (own.mean() > shuffled.mean()).all()
    assert (own.mean() > 2 * shuffled.mean()).any()
    total = blocks.sum(axis=0)
    parts = [blocks[window].sum(axis=0) for window in windows]
    ratios = np.stack([likelihood_ratio(total - part, part, GROUPS) for part in parts])
    alarms = [(law.evidence(ratios).max(axis=1) > law.threshold(0.05)) for law in (shuffled, own)]
    assert alarms[0].mean() > 0.3
    assert alarms[1].mean() < 0.1


def test_a_law_reads_back_bit_for_bit(null: Null) -> None:
    """Through the text of a JSON file, and NaN too."""
    again = Null.from_json(json.loads(json.dumps(null.to_json(), allow_nan=False)))
    assert again.rows == null.rows
    assert again.tail == null.tail
    for name in ("shape", "scale", "largest"):
        np.testing.assert_array_equal(getattr(again, name), getattr(null, name))
    ratio = np.linspace(1, 50, D + 1)
    np.testing.assert_array_equal(again.evidence(ratio), null.evidence(ratio))


def test_the_same_seed_gives_the_same_law(rng: np.random.Generator) -> None:
    """Whoever asks."""
    blocks = blocks_of(chain(rng, 1000, D), 25)
    one, other = (fit_null(blocks, GROUPS, 10, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.largest, other.largest)
