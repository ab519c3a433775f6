from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monitors.feature_shift.reference import Reference
from monitors.gram import profile
from tests.monitors.feature_shift.test_reference import ROWS, D, reference_of
from tests.monitors.simulated import likely, serial, table


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Return a reference of thirty windows, with its nulls."""
    return reference_of(serial(np.random.default_rng(3), 30 * ROWS, D, 0.0)).fit_nulls(0)


@pytest.mark.parametrize("level", [0.2, 0.01, 1e-5])
@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5])
def test_adjusted_p_value_is_the_least_level_that_alarms(
    reference: Reference, level: float, shift: float
) -> None:
    """A window alarms at a level exactly when its smallest adjusted p-value is below it."""
    rng = np.random.default_rng([5, round(100 * shift)])
    for _ in range(6):
        x = serial(rng, ROWS, D, 0.0)
        x[:, 2] += shift
        window = profile(reference.encoder, table(x))
        found = reference.test(window, level=1e-12, ignore_below=0.0, seed=1)
        least = min(reference.adjusted(found, window.rows))
        if abs(np.log10(least / level)) < 0.05:
            continue  # thresholds are interpolated
        at = reference.test(window, level=level, ignore_below=0.0, seed=1)
        assert at[0].alarm == (least < level)


def test_counts_pay_for_their_number_and_share(reference: Reference) -> None:
    """A fifth of the level is shared by two counts of each feature."""
    window = profile(reference.encoder, table(serial(np.random.default_rng(1), ROWS, D, 0.0)))
    first = reference.test(window, level=0.01, ignore_below=0.1, seed=1)[0]
    counted = replace(first, kind="missing", evidence=9.0)
    assert reference.adjusted([counted], ROWS) == [pytest.approx(1e-9 * 2 * D / 0.2)]


@pytest.mark.slow
def test_adjusted_p_values_of_the_references_law_are_valid() -> None:
    """The smallest of a window is below a tenth in at most a tenth of the windows."""
    rng, below, windows = np.random.default_rng(11), 0, 0
    for number in range(2):
        reference = reference_of(serial(rng, 30 * ROWS, D, 0.5)).fit_nulls(number)
        for _ in range(30):
            window = profile(reference.encoder, table(serial(rng, ROWS, D, 0.5)))
            found = reference.test(window, level=1e-12, ignore_below=0.0, seed=1)
            below += min(reference.adjusted(found, window.rows)) <= 0.1
            windows += 1
    assert below <= 0.1 * windows or likely(below, windows, 0.1)


def test_evidence_beyond_every_float_has_a_p_value(reference: Reference) -> None:
    """A sensor that is off by hundreds of its spreads, in a long window: the least there is."""
    rng = np.random.default_rng(1)
    x = serial(rng, ROWS, D, 0.0)
    x[:, 2] += 400.0
    window = profile(reference.encoder, table(np.tile(x, (20, 1))))
    found = reference.test(window, level=0.01, ignore_below=0.0, seed=1)
    least = min(reference.adjusted(found, window.rows))
    assert max(item.evidence for item in found) > 100
    assert 0 < least < 1e-100
    far = [replace(item, evidence=5000.0) for item in found]
    assert min(reference.adjusted(far, window.rows)) > 0
