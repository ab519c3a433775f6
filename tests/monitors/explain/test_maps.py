from __future__ import annotations

import pytest

from monitors.explain.maps import Family, MapStep, ShiftMap, choose, in_order, sentence, shift_map
from schemas.stream import Column

COLUMNS = {
    "LGA.temp": Column(type="number", unit="°F"),
    "LGA.dewp": Column(type="number", unit="°F"),
    "open": Column(type="boolean"),
    "carrier": Column(type="category"),
}
NAMES = ("LGA.temp", "LGA.dewp")


def step(size: int, explained: float, moves: tuple[float, ...] = (3.1, -1.0)) -> MapStep:
    """Return a sparse map."""
    return MapStep(size, NAMES[:size], explained, 1.0 - explained, (moves[:size],))


@pytest.mark.parametrize(
    ("explained", "place"),
    [
        ([0.92, 0.97, 0.99], 0),  # the first that explains 90 %
        ([0.5, 0.91, 0.95], 1),
        ([0.6, 0.62, 0.64, 0.66], 0),  # the knee
        ([0.1, 0.6, 0.65, 0.7], 1),
        ([0.0, 0.0, 0.0], 0),
        ([0.3], 0),
    ],
)
def test_the_map_to_show_reaches_the_target_or_is_at_the_knee(
    explained: list[float], place: int
) -> None:
    """The smallest map that explains nine tenths is shown, or that after which little is added."""
    assert choose(range(1, len(explained) + 1), explained) == place


def test_a_larger_map_explains_no_less() -> None:
    """Where a larger map seems to explain less, it is given what the smaller one explains."""
    found = shift_map("cluster", 1.0, 1.0, [step(1, 0.5), step(2, 0.4)])
    assert [one.explained for one in found.steps] == [0.5, 0.5]


def test_what_reaches_the_target_comes_first() -> None:
    """Families keep their order among those that reach the target, the rest follow by what they
    explain; the Gaussian map is last.
    """

    def order(*explained: float) -> list[str]:
        families: list[Family] = ["gaussian", "sparse-mean", "sparse-transport", "cluster"]
        shares = zip(families, explained, strict=True)
        return [
            one.family
            for one in in_order(shift_map(of, 2.0, 1.0, [step(1, share)]) for of, share in shares)
        ]

    assert order(1.0, 0.5, 0.92, 0.97) == ["sparse-transport", "cluster", "sparse-mean", "gaussian"]
    assert order(1.0, 0.5, 0.4, 0.7) == ["cluster", "sparse-mean", "sparse-transport", "gaussian"]


def test_a_sparse_mean_map_in_words() -> None:
    """The shift, its unit, what it explains, and what one more feature adds."""
    found = shift_map("sparse-mean", 1.0, 1.0, [step(1, 0.92), step(2, 0.97)])
    assert sentence(found, COLUMNS) == (
        "one shift of LGA.temp by +3.1 °F explains 92 % "
        "of the difference from the reference; with LGA.dewp, 97 %"
    )
    found = shift_map("sparse-mean", 1.0, 1.0, [step(1, 0.5), step(2, 0.97)])
    assert sentence(found, COLUMNS) == (
        "shifts of LGA.temp by +3.1 °F and LGA.dewp by −1 °F explain 97 % "
        "of the difference from the reference"
    )


def test_large_numbers_are_written_out() -> None:
    """A shift in the thousands has no exponent."""
    found = shift_map("sparse-mean", 1.0, 1.0, [step(1, 0.95, (-12345.6,))])
    assert "LGA.temp by −12,346 °F" in sentence(found, COLUMNS)


def test_categories_in_words() -> None:
    """A boolean's move is a share of true rows, a category's the rows that change."""
    moved = MapStep(2, ("open", "carrier"), 0.95, 0.1, ((-0.25, 0.125),))
    assert sentence(ShiftMap("sparse-mean", 1.0, (moved,), 0), COLUMNS) == (
        "shifts of open true in −25 % of the rows and carrier in 12 % of the rows "
        "explain 95 % of the difference from the reference"
    )


def test_other_families_in_words() -> None:
    """Clusters say which share of the rows moves how; the others what they change."""
    clusters = MapStep(2, NAMES, 0.93, 0.1, ((4.0, 0.5), (-2.0, 0.0)), (0.7, 0.3))
    assert sentence(ShiftMap("cluster", 1.0, (clusters,), 0), COLUMNS) == (
        "in 70 % of the rows LGA.temp by +4 °F and LGA.dewp by +0.5 °F, in 30 % of the rows "
        "LGA.temp by −2 °F and LGA.dewp by +0 °F: this explains 93 % "
        "of the difference from the reference"
    )
    transport = shift_map("sparse-transport", 1.0, 1.0, [step(1, 0.5), step(2, 0.95)])
    assert sentence(transport, COLUMNS) == (
        "new distributions of LGA.temp and LGA.dewp alone explain 95 % "
        "of the difference from the reference"
    )
    linear = shift_map("gaussian", 1.0, 1.0, [step(2, 0.8)])
    assert sentence(linear, COLUMNS) == (
        "a linear map of all 2 numbers explains 80 % of the difference from the reference"
    )


def test_nothing_beyond_noise_in_words() -> None:
    """Where all of the distance is sampling, no map is praised."""
    found = shift_map("sparse-mean", 1.0, 0.0, [step(1, 0.0)])
    assert sentence(found, {}) == (
        "the rows differ by no more than two samples of the reference would"
    )
