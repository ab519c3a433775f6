from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from scipy import special

from schemas.errors import BaselineError, ReferenceDataError
from transforms.calibrate.regions import Region, calibrate_region, standardised
from transforms.calibrate.shapes import (
    HalfSpaces,
    Shape,
    fit_cloud,
    fit_ellipsoid,
    fit_half_spaces,
)

Fit = Callable[[np.ndarray, float], Shape]
FITS: list[Fit] = [fit_ellipsoid, fit_half_spaces, fit_cloud]
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def bent(rng: np.random.Generator, rows: int) -> Rows:
    """Draw the nonlinear law of two targets of ST-DQR's simulations, with location and scale."""
    x = rng.uniform(0.8, 3.2, rows)
    z, angle = np.pi * rng.uniform(-1, 1, rows) / x, rng.uniform(0, 2 * np.pi, rows)
    radius = 0.1 * rng.uniform(-1, 1, rows)
    second = (1 - np.cos(x * z)) / 2 + radius * np.sin(angle) + np.sin(x)
    y = np.column_stack([z + radius * np.cos(angle), second])
    location = np.column_stack([np.zeros(rows), 0.5 + np.sin(x)])
    return location, np.column_stack([np.pi / x, np.full(rows, 0.5)]), y


def normal(rng: np.random.Generator, rows: int, correlation: float = 0.7) -> Rows:
    """Draw two correlated normal targets."""
    first, other = rng.normal(size=(2, rows))
    second = correlation * first + np.sqrt(1 - correlation**2) * other
    return np.zeros((rows, 2)), np.ones((rows, 2)), np.column_stack([first, second])


def split(rows: Rows, part: slice) -> Rows:
    """Return some of the rows."""
    location, scale, y = rows
    return location[part], scale[part], y[part]


def box(residuals: np.ndarray, coverage: float) -> HalfSpaces:
    """Return the naive region: an interval of each target, at levels shared by Bonferroni."""
    miss = (1 - coverage) / 4
    low, high = np.quantile(residuals, [miss, 1 - miss], axis=0)
    return HalfSpaces(np.vstack([np.eye(2), -np.eye(2)]), np.concatenate([low, -high]))


def calibrated(fit: Fit, rows: Rows) -> Region:
    """Fit a shape on the first 1,000 rows, and calibrate it on the second 1,000."""
    shape = fit(standardised(*split(rows, slice(1000))), 0.9)
    return calibrate_region(shape, *split(rows, slice(1000, 2000)), 0.9)


@pytest.mark.parametrize("law", [bent, normal])
@pytest.mark.parametrize("fit", [*FITS, box])
def test_targets_are_inside_together_as_often_as_said(
    rng: np.random.Generator, law: Callable[[np.random.Generator, int], Rows], fit: Fit
) -> None:
    """Nine in ten new rows are inside, to four standard errors of calibration and test rows."""
    rows = law(rng, 6000)
    inside = calibrated(fit, rows).contains(*split(rows, slice(2000, 6000))).mean()
    assert abs(inside - 0.9) < 4 * np.sqrt(0.09 / 1000 + 0.09 / 4000)


def test_coverage_holds_on_average_whatever_the_shape(rng: np.random.Generator) -> None:
    """Over 400 calibrations on 39 rows, coverage is (n + 1)-exact: 36/40, for shapes all wrong."""
    shape = HalfSpaces(np.vstack([np.eye(2), -np.eye(2)]), np.array([-0.1, -3.0, -0.1, -3.0]))
    hits = []
    for _ in range(400):
        rows = bent(rng, 89)
        region = calibrate_region(shape, *split(rows, slice(39)), 0.9)
        hits.append(region.contains(*split(rows, slice(39, 89))).mean())
    assert abs(np.mean(hits) - 0.9) < 4 * np.std(hits) / np.sqrt(len(hits))


def test_a_shape_of_the_law_is_smaller_than_a_box(rng: np.random.Generator) -> None:
    """Normal targets: the ellipsoid has the least area there is. Bent ones: the cloud a fifth."""
    rows = normal(rng, 2000)
    area = {fit.__name__: calibrated(fit, rows).volume(np.ones((1, 2)))[0] for fit in (*FITS, box)}
    best = 2 * np.pi * special.gammaincinv(1, 0.9) * np.sqrt(1 - 0.7**2)
    assert area["fit_ellipsoid"] == pytest.approx(best, rel=0.12)
    assert area["fit_ellipsoid"] < 0.8 * area["box"]
    assert area["fit_half_spaces"] < 0.8 * area["box"]
    rows = bent(rng, 2000)
    area = {fit.__name__: calibrated(fit, rows).volume(np.ones((1, 2)))[0] for fit in (*FITS, box)}
    assert area["fit_half_spaces"] < 0.75 * area["box"]
    assert area["fit_cloud"] < 0.25 * area["box"]


def test_a_base_that_holds_enough_shrinks_and_one_that_does_not_grows(
    rng: np.random.Generator,
) -> None:
    """The margin is below 0 where the base held more than is asked, above where it held less."""
    rows = normal(rng, 3000)
    z = standardised(*split(rows, slice(1500)))
    for fit in FITS:
        margins = [
            calibrate_region(fit(z, base), *split(rows, slice(1500, 3000)), 0.7).margin
            for base in (0.95, 0.5)
        ]
        assert margins[0] < 0 < margins[1]


def test_volume_grows_with_every_scale(rng: np.random.Generator) -> None:
    """A row whose scales are 2 and 3 has six times the area, and too few rows an infinite one."""
    rows = normal(rng, 2000)
    region = calibrated(fit_ellipsoid, rows)
    one, other = region.volume(np.array([[1.0, 1.0], [2.0, 3.0]]))
    assert other == pytest.approx(6 * one)
    few = calibrate_region(region.shape, *split(rows, slice(8)), 0.9)
    assert few.margin == np.inf
    assert few.volume(np.ones((2, 2))).tolist() == [np.inf, np.inf]
    assert few.contains(*split(rows, slice(5))).all()


@pytest.mark.parametrize("fit", FITS)
def test_state_survives_json_and_refuses_others(rng: np.random.Generator, fit: Fit) -> None:
    """A reloaded region holds the same points bit for bit; others are one clear error."""
    rows = normal(rng, 2500)
    region = calibrated(fit, rows)
    again = Region.from_dict(json.loads(json.dumps(region.to_dict())))
    points = split(rows, slice(2000, 2500))
    z = standardised(*points)
    assert (again.shape.level(z) == region.shape.level(z)).all()
    assert (again.margin, again.coverage, again.rows) == (region.margin, 0.9, 1000)
    with pytest.raises(BaselineError, match="version 0"):
        Region.from_dict(region.to_dict() | {"version": 0})
    with pytest.raises(BaselineError, match="damaged"):
        Region.from_dict(region.to_dict() | {"kind": "sphere"})


def test_three_targets_that_determine_each_other_are_allowed(rng: np.random.Generator) -> None:
    """A sum beside its parts makes no shape fail, and missing outcomes are neither in nor out."""
    parts = rng.normal(size=(2000, 2))
    y = np.column_stack([parts, parts.sum(axis=1)])
    y[5, 1] = np.nan
    rows = (np.zeros_like(y), np.ones_like(y), y)
    for fit in FITS:
        inside = calibrated(fit, rows).contains(*rows)
        assert np.isnan(inside[5])
        assert abs(np.nanmean(inside[1000:]) - 0.9) < 0.02


def test_mistakes_are_named() -> None:
    """Shapes that do not fit, a scale of 0, and few rows are one clear sentence each."""
    with pytest.raises(ReferenceDataError, match="rows × targets"):
        standardised(np.zeros((3, 2)), np.ones((3, 2)), np.zeros(3))
    with pytest.raises(ReferenceDataError, match="target 1 is not above 0"):
        standardised(np.zeros((3, 2)), np.array([[1.0, 1], [1, 0], [1, 1]]), np.zeros((3, 2)))
    with pytest.raises(ReferenceDataError, match="needs 60"):
        fit_ellipsoid(np.zeros((10, 2)), 0.9)


@pytest.mark.parametrize("fit", FITS)
def test_odd_residuals_are_left_out_or_refused(rng: np.random.Generator, fit: Fit) -> None:
    """One target will do; infinities count as missing; a target that never varies is refused."""
    z = rng.normal(size=(400, 2))
    rows = (np.zeros((400, 1)), np.ones((400, 1)), z[:, :1])
    one = calibrate_region(fit(z[:200, :1], 0.9), *split(rows, slice(200, 400)), 0.9)
    assert abs(one.contains(*rows).mean() - 0.9) < 3 * np.sqrt(0.09 / 200)
    odd = z.copy()
    odd[0, 1] = np.inf
    assert (fit(odd, 0.9).level(z) == fit(z[1:], 0.9).level(z)).all()
    rows = (np.zeros((400, 2)), np.ones((400, 2)), odd)
    assert np.isnan(calibrate_region(fit(z, 0.9), *rows, 0.9).contains(*rows)).sum() == 1
    with pytest.raises(ReferenceDataError, match="target 1 is the same in all rows"):
        fit(z * [1, 0], 0.9)


def test_cloud_of_points_that_repeat_is_refused(rng: np.random.Generator) -> None:
    """Where all residuals are equally dense there is nothing outside, and no edge."""
    with pytest.raises(ReferenceDataError, match="no edge"):
        fit_cloud(rng.integers(0, 2, (400, 2)).astype(float), 0.9)
