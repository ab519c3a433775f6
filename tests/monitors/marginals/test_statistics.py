from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import distance

from monitors.encoder import fit_encoder
from monitors.marginals.histograms import CELLS, Bins, bins_of, histogram
from monitors.marginals.statistics import (
    DISTANCES,
    chi_square,
    energy,
    jensen_shannon,
    ks,
    psi,
    wasserstein,
)
from tests.monitors.simulated import Floats, columns_of

N, M = 4000, 300
DECILES = [0, *range(7, 60, 6)]


def rows(rng: np.random.Generator, n: int, shift: float) -> pa.Table:
    """Return a number, a discrete number and a category."""
    share = [0.5, 0.3, 0.2] if shift == 0 else [0.3, 0.3, 0.4]
    return pa.table(
        {
            "x": rng.normal(size=n) * (1 + shift) + shift,
            "k": rng.poisson(2.0 + shift, n).astype(np.float64),
            "c": pa.array(rng.choice(list("abc"), n, p=share)),
        }
    )


@pytest.fixture(scope="module")
def world() -> tuple[Bins, pa.Table, pa.Table, Floats, Floats]:
    """Return bins, the rows of both sides, and their histograms."""
    rng = np.random.default_rng(3)
    reference, window = rows(rng, N, 0.0), rows(rng, M, 0.5)
    encoder = fit_encoder(
        reference, columns_of(reference), features=reference.column_names, window_rows=M
    )
    bins = bins_of(encoder)
    return bins, reference, window, histogram(bins, reference), histogram(bins, window)


def coarse(bins: Bins, cells: Floats, j: int) -> Floats:
    """Return the counts of deciles, or of values."""
    return np.add.reduceat(cells[j, :CELLS], DECILES if j in bins.numbers else range(22))


def crossed(
    bins: Bins, p: Floats, q: Floats, j: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both sides' coarse counts where either has any."""
    both = coarse(bins, p, j), coarse(bins, q, j)
    used = both[0] + both[1] > 0
    return both[0][used], both[1][used]


def test_ks_is_that_of_the_rows_up_to_a_bin(
    world: tuple[Bins, pa.Table, pa.Table, Floats, Floats],
) -> None:
    """Exactly where values tie, for then no bin has two of them."""
    bins, reference, window, p, q = world
    for j, (name, error) in enumerate([("x", 0.02), ("k", 1e-12)]):
        exact = stats.ks_2samp(reference[name].to_numpy(), window[name].to_numpy()).statistic
        assert ks(bins, p, q)[j] == pytest.approx(exact, abs=error)


def test_wasserstein_and_energy_are_scipys_on_the_bins(
    world: tuple[Bins, pa.Table, pa.Table, Floats, Floats],
) -> None:
    """Of values at the bins' positions, in standard deviations, and near those of the rows."""
    bins, reference, window, p, q = world
    for j, name in enumerate(["x", "k"]):
        inner = q[j].copy()
        inner[CELLS:] = 0.0  # what is beyond lies at the ends
        at = bins.positions[j] / bins.scale[j]
        sides = p[j, :CELLS], q[j, :CELLS]
        alone = q.copy()
        alone[j] = inner
        for mine, theirs in (
            (wasserstein, stats.wasserstein_distance),
            (energy, stats.energy_distance),
        ):
            assert mine(bins, p, alone)[j] == pytest.approx(theirs(at, at, *sides))
            values = (side[name].to_numpy() / bins.scale[j] for side in (reference, window))
            assert mine(bins, p, q)[j] == pytest.approx(theirs(*values), rel=0.1)


def test_wasserstein_is_exact_far_outside_the_range(
    world: tuple[Bins, pa.Table, pa.Table, Floats, Floats],
) -> None:
    """A feature that reads 50 σ high moved by 50 σ, not to the end of the range."""
    bins, reference, _, p, _ = world
    moved = reference.set_column(0, "x", pa.array(reference["x"].to_numpy() + 50 * bins.scale[0]))
    assert wasserstein(bins, p, histogram(bins, moved))[0] == pytest.approx(50, rel=1e-3)


def test_jensen_shannon_is_scipys(
    world: tuple[Bins, pa.Table, pa.Table, Floats, Floats],
) -> None:
    """In base 2, of numbers by decile and of categories by value."""
    bins, _, _, p, q = world
    for j in range(3):
        both = crossed(bins, p, q, j)
        assert jensen_shannon(bins, p, q)[j] == pytest.approx(distance.jensenshannon(*both, 2))


def test_chi_square_is_scipys_on_the_scale_of_cohens_w(
    world: tuple[Bins, pa.Table, pa.Table, Floats, Floats],
) -> None:
    """Pearson's X² of the table of both sides."""
    bins, _, _, p, q = world
    for j in range(3):
        found = stats.chi2_contingency(np.stack(crossed(bins, p, q, j)), correction=False)
        w = np.sqrt(found.statistic * (N + M) / (N * M))
        assert chi_square(bins, p, q)[j] == pytest.approx(w)


def test_psi_is_its_sum(world: tuple[Bins, pa.Table, pa.Table, Floats, Floats]) -> None:
    """With half a row more in every cell that is not empty on both sides."""
    bins, _, _, p, q = world
    for j in range(3):
        a, b = (side + 0.5 for side in crossed(bins, p, q, j))
        a, b = a / a.sum(), b / b.sum()
        assert psi(bins, p, q)[j] == pytest.approx(((b - a) * np.log(b / a)).sum())


@pytest.mark.parametrize("name", list(DISTANCES))
def test_nothing_is_far_from_itself_and_nothing_counts_without_values(
    world: tuple[Bins, pa.Table, pa.Table, Floats, Floats], name: str
) -> None:
    """0 of equals; the scaled statistic of an empty side is 0, not a number that alarms."""
    bins, _, _, p, _ = world
    found = DISTANCES[name]
    assert found.value(bins, p, p) == pytest.approx(0, abs=1e-9)
    assert found.scaled(bins, p, np.zeros_like(p)).tolist() == [0.0] * len(found.features(bins))
