from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import expit

from transforms.distributions import (
    gamma,
    hansen,
    lognormal,
    normal,
    skew_t,
    student_t,
    zero_inflated_lognormal,
)
from transforms.distributions.families import FAMILIES, Family

PARAMETERS: dict[str, tuple[float, ...]] = {
    "normal": (0.3, 1.7),
    "student_t": (0.3, 1.7, 4.5),
    "skew_t": (0.3, 1.7, 4.5, 1.4),
    "hansen": (0.3, 1.7, 4.5, -0.4),
    "lognormal": (0.3, 0.7),
    "gamma": (1.3, 0.7),
    "zero_inflated_lognormal": (0.6, 0.3, 0.7),
}
LEVELS = np.array([0.001, 0.05, 0.3, 0.5, 0.6, 0.95, 0.999])


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    """Return each family in turn."""
    return FAMILIES[request.param]


def test_fernandez_steel_vectors() -> None:
    """Density, quantiles, mean and variance at ν = 6, ξ = .9 are the published formulas' values."""
    law = (0.0, 1.0, 6.0, 0.9)
    density = np.exp(skew_t.log_density([0.0, 1.0, -1.0], *law))
    np.testing.assert_allclose(density, [0.380618, 0.197731, 0.244345], atol=1e-6)
    np.testing.assert_allclose(
        skew_t.quantile([0.01, 0.05, 0.3, 0.6, 0.99], *law),
        [-3.57959, -2.239113, -0.716277, 0.125303, 2.750199],
        atol=1e-5,
    )
    assert float(skew_t.mean(*law)) == pytest.approx(-0.193918, abs=1e-6)
    assert float(skew_t.variance(*law)) == pytest.approx(1.529248, abs=1e-6)
    assert float(skew_t.cdf(0.0, *law)) == pytest.approx(1 / (1 + 0.81))


def test_hansen_vectors() -> None:
    """Quantiles at η = 6, λ = −.1 are Hansen's, and not those of Fernández and Steel."""
    np.testing.assert_allclose(
        hansen.quantile([0.01, 0.05, 0.3, 0.6, 0.99], 0.0, 1.0, 6.0, -0.1),
        [-2.730059, -1.650843, -0.423767, 0.256148, 2.389758],
        atol=1e-5,
    )


def test_hansen_is_arch_skew_student() -> None:
    """Density and distribution function are those of `arch.univariate.SkewStudent`."""
    arch = pytest.importorskip("arch.univariate")
    theirs, y = arch.SkewStudent(), np.linspace(-4, 4, 9)
    for eta, lam in ((3.0, 0.5), (8.0, -0.3)):
        ours = hansen.log_density(y, 0.0, 1.5, eta, lam)
        expected = theirs.loglikelihood(np.array([eta, lam]), y, np.full(9, 2.25), individual=True)
        np.testing.assert_allclose(ours, expected, atol=1e-9)
        np.testing.assert_allclose(
            hansen.cdf(y, 0.0, 1.0, eta, lam), theirs.cdf(y, np.array([eta, lam])), atol=1e-9
        )


def test_zero_inflated_vectors() -> None:
    """Losses and mean at logits (.1, .2, .3) are those of the published network head."""
    law = (expit(0.1), 0.2, np.logaddexp(0, 0.3))
    found = -zero_inflated_lognormal.log_density([0.0, 1.5], *law)
    np.testing.assert_allclose(found, [0.744397, 1.840310], atol=1e-6)
    assert float(zero_inflated_lognormal.mean(*law)) == pytest.approx(0.923638, abs=1e-6)


def test_normal_crps_vector() -> None:
    """The CRPS of N(0, 1) at .7."""
    assert float(normal.crps(0.7, 0.0, 1.0)) == pytest.approx(0.421569170)


@pytest.mark.parametrize(
    ("module", "law", "theirs"),
    [
        (normal, (0.3, 1.7), stats.norm(0.3, 1.7)),
        (student_t, (0.3, 1.7, 4.5), stats.t(4.5, 0.3, 1.7)),
        (lognormal, (0.3, 0.7), stats.lognorm(0.7, scale=np.exp(0.3))),
        (gamma, (1.3, 0.7), stats.gamma(0.7, scale=1.3 / 0.7)),
    ],
)
def test_standard_families_are_those_of_scipy(
    module: ModuleType, law: tuple[float, ...], theirs: stats.rv_continuous
) -> None:
    """Density, distribution function, quantiles and moments agree with scipy.stats."""
    y = np.array([-1.0, 0.2, 0.9, 3.0, 20.0])
    np.testing.assert_allclose(module.log_density(y, *law), theirs.logpdf(y), rtol=1e-10)
    np.testing.assert_allclose(module.cdf(y, *law), theirs.cdf(y), rtol=1e-10)
    np.testing.assert_allclose(module.quantile(LEVELS, *law), theirs.ppf(LEVELS), rtol=1e-8)
    assert float(module.mean(*law)) == pytest.approx(theirs.mean())
    assert float(module.variance(*law)) == pytest.approx(theirs.var())


def pieces(family: Family, *points: float) -> list[tuple[float, float]]:
    """Return intervals that cover the line, cut at points and at the centre."""
    ends = sorted({-np.inf, 0.0, 0.3, np.inf, *points})
    return list(itertools.pairwise(ends))


def test_crps_is_the_integral_of_its_definition(family: Family) -> None:
    """The closed forms equal ∫ (F(x) − 1{x ≥ y})² dx, inside and outside of the support."""
    law = PARAMETERS[family.name]
    for y in (-1.0, 0.0, 0.2, 4.0):
        expected = sum(
            integrate.quad(lambda x, y=y: float((family.cdf(x, *law) - (x >= y)) ** 2), low, high)[
                0
            ]
            for low, high in pieces(family, y)
        )
        assert float(family.crps(y, *law)) == pytest.approx(expected, abs=1e-6)


def test_density_mean_and_variance_belong_together(family: Family) -> None:
    """The density integrates to one less the atom, and to the mean and the variance."""
    law = PARAMETERS[family.name]
    lowest = -np.inf if family.support == "real" else 0.0

    def moment(power: int) -> float:
        parts = (
            integrate.quad(lambda x: x**power * np.exp(family.log_density(x, *law)), low, high)[0]
            for low, high in pieces(family)
            if low >= lowest
        )
        return float(sum(parts))

    atom = 0.4 if family.name == "zero_inflated_lognormal" else 0.0
    assert moment(0) == pytest.approx(1 - atom, abs=1e-5)
    assert moment(1) == pytest.approx(float(family.mean(*law)), abs=1e-4)
    # tails of 4.5 degrees of freedom converge slowly
    assert moment(2) - moment(1) ** 2 == pytest.approx(float(family.variance(*law)), rel=1e-2)


@settings(max_examples=20)
@given(
    raw=st.lists(st.floats(-1.5, 1.5), min_size=4, max_size=4),
    level=st.floats(0.01, 0.99),
)
@pytest.mark.parametrize("name", list(FAMILIES))
def test_quantile_inverts_the_distribution_function(
    name: str, raw: list[float], level: float
) -> None:
    """F(Q(p)) = p for parameters from any raw scores; at the atom of zero, at least p."""
    own = FAMILIES[name]
    law = [link.inverse(np.array(r)) for link, r in zip(own.links, raw, strict=False)]
    found = own.quantile(level, *law)
    back = float(own.cdf(found, *law))
    if found == 0:
        assert back >= level
    else:
        assert back == pytest.approx(level, abs=1e-8)
    assert float(own.crps(found, *law)) >= -1e-12


def test_rows_and_levels_broadcast(family: Family) -> None:
    """Parameters of n rows against k levels give n × k quantiles that do not decrease."""
    law = [np.array([own, own * 0.9, own * 1.1]) for own in PARAMETERS[family.name]]
    found = family.quantile(LEVELS, *(own[:, None] for own in law))
    assert found.shape == (3, len(LEVELS))
    assert (np.diff(found, axis=1) >= 0).all()
    assert family.mean(*law).shape == family.variance(*law).shape == (3,)
    assert family.crps(np.ones(3), *law).shape == (3,)


@pytest.mark.parametrize("module", [lognormal, gamma])
def test_nothing_is_possible_below_the_support(module: ModuleType) -> None:
    """At and below zero the density is 0, without a warning."""
    assert (module.log_density([-1.0, 0.0], 1.0, 0.7) == -np.inf).all()
    assert (module.cdf([-1.0, 0.0], 1.0, 0.7) == 0).all()


def test_moments_that_do_not_exist_say_so() -> None:
    """For ν ≤ 2 the variance is infinite; for ν ≤ 1 so is the CRPS, and the mean is NaN."""
    assert student_t.variance(0.0, 1.0, 2.0) == np.inf
    assert skew_t.variance(0.0, 1.0, 1.0, 1.2) == np.inf
    assert student_t.crps(0.0, 0.0, 1.0, 1.0) == np.inf
    assert np.isnan(student_t.mean(0.0, 1.0, 1.0))
    assert np.isnan(skew_t.mean(0.0, 1.0, 1.0, 1.2))


@pytest.mark.parametrize("name", list(FAMILIES))
def test_link_slopes_are_derivatives(name: str) -> None:
    """Each link's slope is the derivative of the parameter in its raw score."""
    raw, step = np.linspace(-2, 2, 5), 1e-6
    for link in FAMILIES[name].links:
        numeric = (link.inverse(raw + step) - link.inverse(raw - step)) / (2 * step)
        np.testing.assert_allclose(link.slope(raw), numeric, rtol=1e-6)


def test_families_suit_targets_within_their_support() -> None:
    """Positive families need positive values, the zero-inflated one zeros and positive ones."""
    suited = {
        (-1.0, 2.0): set(),
        (1.0, 2.0): {"lognormal", "gamma"},
        (0.0, 2.0): {"zero_inflated_lognormal"},
        (0.0, 0.0): set(),
    }
    for values, names in suited.items():
        found = {own.name for own in FAMILIES.values() if own.suits(np.array(values))}
        assert found == names | {"normal", "student_t", "skew_t", "hansen"}
