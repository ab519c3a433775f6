from __future__ import annotations

import numpy as np
import pytest

from monitors.encoder import FloatArray
from monitors.jump.discontinuity import discontinuity, tail_share
from tests.monitors.jump.streams import around, autoregression, dependent, published, r3d

DECILES = np.linspace(0.1, 0.9, 9)
LEVELS = np.linspace(0.05, 0.95, 19)


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 200])
def test_uniform_band_holds_the_jump_in_95_percent_of_runs(
    rng: np.random.Generator, n: int
) -> None:
    """Van Dijcke's first simulation, δ = 1, 250 runs, within 3.5 binomial errors."""
    held = 0
    for seed in range(250):
        x, functions = r3d(rng, n, 1.0, DECILES)
        found = discontinuity(x, functions, 0.0, levels=DECILES, draws=299, seed=seed)
        held += bool(np.abs(found.jump - 1.0).max() <= found.half_width)
    assert abs(held / 250 - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / 250)


@pytest.mark.slow
@pytest.mark.parametrize(("side", "phi"), [(25, 0.6), (100, 0.3), (100, 0.9)])
def test_serial_size_is_at_most_nominal(rng: np.random.Generator, side: int, phi: float) -> None:
    """Periods that depend on each other: at most 5 % and 3.5 errors of 120 runs reject."""
    rejected = alike = 0
    for seed in range(120):
        x, functions = dependent(rng, side, phi, LEVELS)
        found = discontinuity(x, functions, 0.0, levels=LEVELS, serial=True, draws=299, seed=seed)
        rejected += found.p_value <= 0.05
        alike += found.p_homogeneity <= 0.05
    most = 6.0 + 3.5 * np.sqrt(120 * 0.05 * 0.95)
    assert rejected <= most
    assert alike <= most


@pytest.mark.slow
def test_independence_taken_for_granted_is_an_error(rng: np.random.Generator) -> None:
    """The same periods with `serial` off: far more than 5 % reject. The option has a reason."""
    rejected = 0
    for seed in range(60):
        x, functions = dependent(rng, 100, 0.9, LEVELS)
        found = discontinuity(x, functions, 0.0, levels=LEVELS, draws=299, seed=seed)
        rejected += found.p_value <= 0.05
    assert rejected > 15


def test_jump_of_a_strongly_dependent_level_is_found(rng: np.random.Generator) -> None:
    """φ = 0.95: the level wanders by 1, and a jump of 2 within one period stands out."""
    x, level = around(100), autoregression(rng, 200, 0.95)
    functions = level[:, None] + np.quantile(rng.normal(size=(500, 200)), LEVELS, axis=0).T
    functions[x > 0.0] += 2.0
    found = discontinuity(x, functions, 0.0, levels=LEVELS, serial=True)
    assert found.p_value < 0.01
    assert np.abs(found.jump - 2.0).max() < found.half_width
    assert found.phi is not None
    assert found.phi > 0.6


@pytest.mark.parametrize("serial", [False, True])
def test_moved_quantiles_are_named(rng: np.random.Generator, *, serial: bool) -> None:
    """The upper half is stretched: high levels lie outside the band, low ones within it."""
    rows = rng.normal(size=(200, 120))
    rows[:, 60:] = np.where(rows[:, 60:] > 0.0, 2.0 * rows[:, 60:], rows[:, 60:])
    functions = np.quantile(rows, LEVELS, axis=0).T
    found = discontinuity(np.arange(120.0), functions, 60.0, levels=LEVELS, serial=serial)
    assert found.p_value < 0.01
    assert found.p_homogeneity < 0.01
    assert set(np.round(found.outside, 2)) >= {0.75, 0.8, 0.85, 0.9, 0.95}
    assert not set(np.round(found.outside, 2)) & {0.05, 0.1, 0.2, 0.3, 0.4, 0.5}


def test_equal_jumps_are_no_evidence_against_homogeneity(rng: np.random.Generator) -> None:
    """All quantiles jump by 1: the first test rejects, the second one does not."""
    x, functions = published(rng, 300, 1.0, LEVELS)
    found = discontinuity(x, functions, 0.5, levels=LEVELS)
    assert found.p_value < 0.01
    assert found.p_homogeneity > 0.05
    assert list(found.outside) == list(LEVELS)


def test_without_memory_both_estimates_agree(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Generalised least squares at φ = 0 is the published local quadratic."""
    from monitors.jump import discontinuity as module
    from monitors.jump.memory import Memory

    def none(distance: FloatArray, outcomes: FloatArray, order: int) -> Memory:
        return Memory(np.zeros(outcomes.shape[1]), np.full(len(distance) - 1, float(order > 0)))

    monkeypatch.setattr(module, "fit_memory", none)
    functions = np.sort(rng.normal(size=(80, 19)), axis=1)
    x = around(40)
    one, other = (
        discontinuity(x, functions, 0.0, levels=LEVELS, bandwidth=30.0, serial=serial)
        for serial in (False, True)
    )
    np.testing.assert_allclose(one.jump, other.jump, atol=1e-9)
    assert one.half_width == pytest.approx(other.half_width, rel=0.15)


def test_what_never_varies_does_not_jump() -> None:
    """Constant functions: a p-value of 1, an empty set of moved quantiles."""
    functions = np.tile(0.1 * np.arange(19), (60, 1))
    for serial in (False, True):
        found = discontinuity(around(30), functions, 0.0, levels=LEVELS, serial=serial, draws=99)
        assert found.p_value == 1.0
        assert len(found.outside) == 0


@pytest.mark.parametrize("serial", [False, True])
def test_quantiles_that_are_all_the_same_jump_alike(
    rng: np.random.Generator, *, serial: bool
) -> None:
    """One row a period: what rounding leaves between its quantiles is no difference."""
    level = 1000.0 + rng.normal(size=120) + 3.0 * (np.arange(120) >= 60)
    functions = level[:, None] + 1e-12 * np.arange(19) * (np.arange(120) >= 60)[:, None]
    found = discontinuity(around(60), functions, 0.0, levels=LEVELS, serial=serial, draws=199)
    assert found.p_value < 0.01
    assert found.p_homogeneity == 1.0


def test_step_without_noise_is_a_sure_jump() -> None:
    """Constant before, another constant after."""
    functions = np.zeros((60, 19))
    functions[30:] = 1.0
    found = discontinuity(around(30), functions, 0.0, levels=LEVELS, serial=True, draws=199)
    assert found.p_value < 0.01
    np.testing.assert_allclose(found.jump, 1.0)


def test_tail_is_extrapolated_and_never_too_thin(rng: np.random.Generator) -> None:
    """Of 999 normal draws: the share counted within, and beyond them more than the normal law's."""
    from scipy.special import ndtr

    drawn = np.abs(rng.normal(size=999))
    assert tail_share(drawn, 1.0) == pytest.approx(2.0 * ndtr(-1.0), abs=0.06)
    far = tail_share(drawn, 5.0)
    assert 2.0 * ndtr(-5.0) < far < 1e-3


def test_too_few_units_are_refused(rng: np.random.Generator) -> None:
    """A bandwidth that holds three units of a side is an error that says so."""
    x, functions = published(rng, 50, 0.0, LEVELS)
    with pytest.raises(ValueError, match="are too few"):
        discontinuity(x, functions, 0.5, levels=LEVELS, bandwidth=1e-6)
