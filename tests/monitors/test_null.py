from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy import stats

from monitors.basis import Basis
from monitors.feature_shift.likelihood_ratio import statistic
from monitors.gram import gram_matrix
from monitors.null import Null, Statistic, fit_null, leave_one_out, log_gamma_sf
from tests.monitors.simulated import Floats, chain, heavy, likely

D = 4
BASES = [Basis(np.arange(D), tuple(np.array([j]) for j in range(D)))]
RATIOS: Statistic = partial(statistic, bases=BASES)


def blocks_of(x: Floats, rows: int) -> Floats:
    """Return the Gram matrices of consecutive blocks of so many rows."""
    return np.stack([gram_matrix(part) for part in np.split(x, len(x) // rows)])


@pytest.fixture
def null(rng: np.random.Generator) -> Null:
    """Return the law of 10 of 40 blocks, in two bases; the last feature has no column."""
    blocks = blocks_of(chain(rng, 1000, D), 25)
    whole = Basis(BASES[0].columns, (*BASES[0].groups, np.array([], dtype=np.intp)))
    both = partial(statistic, bases=[whole, whole.keep(np.array([0, 1, 3]))])
    return fit_null(blocks, both, 10, rng, rows=250, shares=(0.5, 0.5))


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_the_threshold_of_exchangeable_blocks_has_the_right_level(level: float) -> None:
    """One split of forty blocks is judged by random splits of the same blocks."""
    rng, alarms, pairs = np.random.default_rng(1), 0, 150
    for _ in range(pairs):
        blocks = blocks_of(chain(rng, 1000, D) ** 3, 25)
        null = fit_null(blocks, RATIOS, 10, rng, rows=250, draws=199)
        ratio = RATIOS(blocks.sum(axis=0), blocks[:10].sum(axis=0))
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
    found = null.evidence(np.geomspace(30, 1e9, 400)[:, None, None] * np.ones((2, D + 1)))
    assert np.isfinite(found).all()
    assert (np.diff(found[:, 0, :D], axis=0) > 0).all()
    assert found[-1, 0, :D].min() > 1e6


def test_a_feature_without_basis_columns_has_no_evidence_and_no_mean(null: Null) -> None:
    """It is constant in the reference: only its counts speak."""
    assert null.evidence(np.full((2, D + 1), 1e6))[:, D].tolist() == [0.0, 0.0]
    assert null.mean()[:, D].tolist() == [0.0, 0.0]
    assert null.evidence(np.full((2, D + 1), 1e6))[1, 2] == 0.0


def test_windows_that_wander_stretch_the_law(rng: np.random.Generator) -> None:
    """Blocks whose level wanders slowly: the reference's own windows differ more than shuffled."""
    level = np.repeat(np.cumsum(rng.standard_normal(80)) / 4, 25)[:, None]
    blocks = blocks_of(chain(rng, 2000, D) + level, 25)
    windows = [np.arange(i, i + 10) for i in range(71)]
    shuffled = fit_null(blocks, RATIOS, 10, rng, rows=250)
    own = fit_null(blocks, RATIOS, 10, rng, rows=250, windows=windows)
    assert (own.mean() > shuffled.mean()).all()
    assert (own.mean() > 2 * shuffled.mean()).any()
    total = blocks.sum(axis=0)
    parts = [blocks[window].sum(axis=0) for window in windows]
    ratios = np.stack([RATIOS(total, part) for part in parts])
    alarms = [
        law.evidence(ratios).max(axis=(1, 2)) > law.threshold(0.05) for law in (shuffled, own)
    ]
    assert alarms[0].mean() > 0.3
    assert alarms[1].mean() < 0.1


def test_a_law_reads_back_bit_for_bit(null: Null) -> None:
    """Through the text of a JSON file, and NaN too."""
    again = Null.from_json(json.loads(json.dumps(null.to_json(), allow_nan=False)))
    assert again.rows == null.rows
    assert again.tail == null.tail
    for name in ("shape", "scale", "shares", "largest"):
        np.testing.assert_array_equal(getattr(again, name), getattr(null, name))
    ratio = np.linspace(1, 50, 2 * D + 2).reshape(2, D + 1)
    np.testing.assert_array_equal(again.evidence(ratio), null.evidence(ratio))


def test_the_same_seed_gives_the_same_law(rng: np.random.Generator) -> None:
    """Whoever asks."""
    blocks = blocks_of(chain(rng, 1000, D), 25)
    one, other = (
        fit_null(blocks, RATIOS, 10, np.random.default_rng(5), rows=250) for _ in range(2)
    )
    np.testing.assert_array_equal(one.largest, other.largest)


def test_each_draw_is_weighed_by_all_others() -> None:
    """Mean and spread are those of the draws without it."""
    draws = np.random.default_rng(0).gamma(3.0, size=(20, 2, 3))
    mean, deviation = leave_one_out(draws)
    for i in range(20):
        others = np.delete(draws, i, axis=0)
        np.testing.assert_allclose(mean[i], others.mean(axis=0))
        np.testing.assert_allclose(deviation[i], others.std(axis=0, ddof=1))


def test_the_level_holds_for_windows_that_come_later() -> None:
    """References of few heavy-tailed blocks look calmer to themselves than to what follows."""
    rng, alarms, seen, windows = np.random.default_rng(4), [0, 0], 40, 0
    for _ in range(12):
        rows = np.clip(heavy(rng, 2000 + 250 * seen, D), -3, 3)
        blocks, later = blocks_of(rows[:2000], 25), blocks_of(rows[2000:], 250)
        own = [np.arange(i, i + 10) for i in range(71)]
        total = blocks.sum(axis=0)
        ratios = np.concatenate([RATIOS(total + window, window[None]) for window in later])
        for place, held_out in enumerate((True, False)):
            law = fit_null(blocks, RATIOS, 10, rng, rows=250, windows=own, held_out=held_out)
            alarms[place] += int((law.largest_of(ratios) > law.threshold(0.05)).sum())
        windows += seen
    assert alarms[0] <= stats.binom.ppf(0.99, windows, 0.05)
    assert alarms[0] < alarms[1]


def test_few_windows_raise_the_threshold(rng: np.random.Generator) -> None:
    """What two windows say of the tail is worth less than what many say."""
    blocks = blocks_of(chain(rng, 3000, D), 25)
    few = fit_null(
        blocks[:30], RATIOS, 10, rng, rows=250, windows=[np.arange(10), np.arange(20, 30)]
    )
    assert few.windows == 2
    certain = replace(few, windows=1e9)
    assert few.threshold(0.01) > certain.threshold(0.01)
    assert few.threshold(0.001) - few.threshold(0.01) > 1


def test_deep_tails_hold_for_sums_of_unequal_weights(rng: np.random.Generator) -> None:
    """Serial dependence makes one part of a statistic vary more: a level of 1e-4 is one still."""
    weights = np.array([6.0, *[1.0] * 12])

    def unequal(_: Floats, windows: Floats) -> Floats:
        mean = windows / np.sqrt(10.0)
        return np.stack([mean**2 @ weights] * 4, axis=1)[:, None]

    blocks = rng.standard_normal((1000, 13))
    own = [np.arange(i, i + 10) for i in range(0, 1000, 10)]
    law = fit_null(blocks, unequal, 10, rng, rows=10.0, windows=own)
    drawn = rng.standard_normal((400_000, 13)) ** 2 @ weights
    for level in (1e-2, 1e-3, 1e-4):
        at = np.full((1, 4), np.quantile(drawn, 1 - level))
        evidence = law.evidence(at)
        plain = replace(law, skew=np.ones_like(law.skew)).evidence(at)
        assert evidence.min() + np.log10(level) > -0.7  # on the safe side, if anything
        assert evidence.max() + np.log10(level) < 0.25
        assert (plain > evidence).all()
    assert plain.min() > 4.2
