"""Online FDR on simulated p-values: what is claimed holds, and what it costs."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import signal, stats

from monitors.alarms.e_values import mixture
from monitors.alarms.online_fdr import ELond, share
from tests.monitors.simulated import Floats

RATE = 0.1


def rejections(p: Floats) -> list[bool]:
    """Return the decisions on a stream of p-values."""
    state, rejected = ELond(RATE), []
    for value in p:
        rejected.append(bool(value <= state.cutoff))
        state = state.after(rejected=rejected[-1])
    return rejected


def noise(rng: np.random.Generator, tests: int, phi: float) -> Floats:
    """Return AR(1) noise with unit variance."""
    x = rng.standard_normal(tests + 100)
    return np.asarray(signal.lfilter([math.sqrt(1 - phi**2)], [1, -phi], x)[100:])


def measured(*, shift: float, often: float, phi: float, streams: int = 40) -> tuple[Floats, float]:
    """Return the false share of the alarms of each stream of 150 tests, and the share found."""
    rng = np.random.default_rng([7, round(100 * phi), round(100 * often)])
    false, found = [], []
    for _ in range(streams):
        moved = rng.random(150) < often
        named = np.array(rejections(stats.norm.sf(noise(rng, 150, phi) + shift * moved)))
        false.append((named & ~moved).sum() / max(named.sum(), 1))
        found.append((named & moved).sum() / max(moved.sum(), 1))
    return np.array(false), float(np.mean(found))


def test_shares_sum_to_at_most_one() -> None:
    """No stream is long enough to spend more than the rate: the sum with its tail's integral."""
    last = 20_000
    spent = sum(share(t) for t in range(1, last + 1))
    root = math.sqrt(math.log(last))
    tail = 0.079 * 2 * math.exp(-root) * (root**3 + 3 * root**2 + 6 * root + 6)
    assert 0.98 < spent + tail <= 1.0


@pytest.mark.parametrize("phi", [0.0, 0.9])
@pytest.mark.parametrize("often", [0.02, 0.2])
def test_share_of_false_alarms_is_at_most_the_rate(phi: float, often: float) -> None:
    """On 40 streams, also when the noise of a stream is strongly autocorrelated."""
    false, _ = measured(shift=5.0, often=often, phi=phi)
    assert false.mean() <= RATE + 2.33 * false.std(ddof=1) / math.sqrt(len(false))


def test_what_is_found() -> None:
    """Strong shifts are found; the guarantee under any dependence costs the weaker ones."""
    found = {shift: measured(shift=shift, often=0.2, phi=0.0)[1] for shift in (4.0, 7.0)}
    assert found[4.0] < found[7.0] - 0.3
    assert found[7.0] > 0.95


def test_e_lond_rejects_by_the_e_value() -> None:
    """At the cutoff the e-value is 1/α, with α = rate γ (1 + rejections)."""
    state = ELond(RATE, tests=9, rejected=3)
    assert mixture(state.cutoff) == pytest.approx(1 / (RATE * share(10) * 4))


def test_state_is_small_and_comes_back_from_its_fields() -> None:
    """What a stream processor keeps between windows is plain numbers."""
    state = ELond(RATE).after(rejected=True).after(rejected=False)
    assert type(state)(**asdict(state)) == state
