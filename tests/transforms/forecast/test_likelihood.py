from __future__ import annotations

import numpy as np
import pytest

from transforms.forecast.likelihood import HEADS, Head

ROWS = 20_000
RAW: dict[str, tuple[float, ...]] = {
    "normal": (0.3, 0.4),
    "student_t": (0.3, 0.4, 1.5),
    "skew_t": (0.3, 0.4, 2.5, 0.5),
    "lognormal": (0.3, 0.4),
    "gamma": (0.3, 0.6),
    "zero_inflated_lognormal": (0.5, 0.3, -0.4),
}


@pytest.fixture(params=list(HEADS))
def head(request: pytest.FixtureRequest) -> Head:
    """Return each head in turn."""
    return HEADS[request.param]


def draws(head: Head, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return raw scores, the same in all rows, and outcomes of their law."""
    raw = np.tile(np.array(RAW[head.family.name])[:, None], ROWS)
    return raw, head.family.quantile(rng.uniform(size=ROWS), *head.parameters(raw, 0.0, 1.0))


def test_slopes_are_derivatives_of_the_density(head: Head, rng: np.random.Generator) -> None:
    """Each coordinate's slope is minus the derivative of the log density in its raw score."""
    raw, y = draws(head, rng)
    t, step = head.scaled(y, 0.0, 1.0), 1e-5
    for place, coordinate in enumerate(head.coordinates):
        slope, _ = coordinate.derivative(t, *raw)
        moved = []
        for sign in (1, -1):
            other = raw.copy()
            other[place] += sign * step
            moved.append(head.family.log_density(y, *head.parameters(other, 0.0, 1.0)))
        # outcomes at the mode itself are a kink of two halves
        assert np.quantile(np.abs(slope + (moved[0] - moved[1]) / (2 * step)), 0.999) < 1e-6


def test_information_is_the_mean_square_of_the_slope(head: Head, rng: np.random.Generator) -> None:
    """Under its own law, a slope is 0 on average and its mean square the Fisher information."""
    raw, y = draws(head, rng)
    t = head.scaled(y, 0.0, 1.0)
    for coordinate in head.coordinates:
        slope, information = coordinate.derivative(t, *raw)
        square = slope * slope
        assert abs(slope.mean()) < 4 * slope.std() / np.sqrt(ROWS)
        assert abs(square.mean() - information.mean()) < 4 * square.std() / np.sqrt(ROWS)


def test_location_and_skew_are_orthogonal(rng: np.random.Generator) -> None:
    """The slopes of the skewed t's location and skew are all but uncorrelated, at any skew."""
    head = HEADS["skew_t"]
    for log_xi in (-1.0, 0.0, 0.7):
        raw = np.tile(np.array([0.0, 0.0, 2.95, log_xi])[:, None], ROWS)
        t = head.family.quantile(rng.uniform(size=ROWS), *head.parameters(raw, 0.0, 1.0))
        slopes = [head.coordinates[place].derivative(t, *raw)[0] for place in (0, 3)]
        # .88 for the mode in place of the location
        correlation = np.mean(slopes[0] * slopes[1]) / (slopes[0].std() * slopes[1].std())
        assert abs(correlation) < 0.05


def test_parameters_are_in_the_unit_of_the_target(rng: np.random.Generator) -> None:
    """Locations move and scales stretch with centre and unit; the law of t is that of y."""
    raw = np.array(RAW["skew_t"])[:, None]
    plain, moved = (HEADS["skew_t"].parameters(raw, *own) for own in ((0.0, 1.0), (5.0, 2.0)))
    np.testing.assert_allclose(moved[0], 5 + 2 * plain[0])
    np.testing.assert_allclose(moved[1], 2 * plain[1])
    assert moved[2] == plain[2]
    assert moved[3] == plain[3]
    y = rng.lognormal(2, 0.5, 1000)
    centre, unit = HEADS["lognormal"].standard(y)
    t = HEADS["lognormal"].scaled(y, centre, unit)
    assert np.median(t) == pytest.approx(0, abs=1e-9)
    assert np.quantile(t, 0.75) - np.quantile(t, 0.25) == pytest.approx(1.349)
