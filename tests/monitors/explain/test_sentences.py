from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from monitors.check import Comparison, check
from monitors.encoder import fit_encoder
from monitors.explain.by_profiles import by_profiles
from monitors.feature_shift.locate import Evidence
from monitors.gram import profile
from schemas.stream import Column
from tests.monitors.simulated import Floats, chain, columns_of, table

D, ROWS = 6, 1500
SCALE, LEVEL = 3.0, 20.0  # of the numbers, in °C

Change = Callable[[Floats, np.random.Generator], object]


def sentence(change: Change, rng: np.random.Generator) -> str:
    """Return what is said of x3 after a change of the current table."""
    p, q = (LEVEL + SCALE * chain(rng, ROWS, D) for _ in range(2))
    change(q, rng)
    found = compare(table(p), table(q)).findings[0]
    assert found.alarm
    assert found.subject == "x3"
    return found.explanation


def compare(p: pa.Table, q: pa.Table) -> Comparison:
    """Compare tables whose numbers are temperatures."""
    columns = {
        name: Column(type="number", unit="°C") if column.type == "number" else column
        for name, column in columns_of(p).items()
    }
    return check(p, q, columns, false_alarm_rate=0.01)


@pytest.mark.parametrize("offset", [3.0, 1.5, -1.5, -3.0])
def test_an_offset_is_given_in_the_features_unit_with_its_sign(
    rng: np.random.Generator, offset: float
) -> None:
    """Its size is right within 20 %, beside neighbours that move along in nothing."""

    def shift(q: Floats, _: np.random.Generator) -> None:
        q[:, 3] += offset

    said = re.fullmatch(
        r"reads ([\d.]+) °C (high|low) given the other features", sentence(shift, rng)
    )
    assert said is not None
    assert said[2] == ("high" if offset > 0 else "low")
    assert float(said[1]) == pytest.approx(abs(offset), rel=0.2)


def test_replayed_values_no_longer_follow_the_others(rng: np.random.Generator) -> None:
    """Both shares that the others explain are given."""

    def replay(q: Floats, rng: np.random.Generator) -> None:
        q[:, 3] = rng.permutation(q[:, 3])

    said = re.fullmatch(
        r"no longer follows the other features: they explained (\d+) % of it in the reference, "
        r"(\d+) % here",
        sentence(replay, rng),
    )
    assert said is not None
    assert int(said[1]) == pytest.approx(66, abs=5)  # of a chain with ρ = .7
    assert int(said[2]) < 5


@pytest.mark.parametrize(
    ("change", "word", "size"), [(2.0, "noisier", 2.24), (0.0, "quieter", 2.0)]
)
def test_noise_and_its_absence_are_said_with_their_size(
    rng: np.random.Generator, change: float, word: str, size: float
) -> None:
    """A feature of a chain has a conditional standard deviation of .58 · 3 °C."""

    def blur(q: Floats, rng: np.random.Generator) -> None:
        around = 0.47 * (q[:, 2] + q[:, 4]) + 0.06 * LEVEL  # the conditional mean
        q[:, 3] += change * SCALE * 0.58 * rng.standard_normal(ROWS) * (change > 0)
        if not change:
            q[:, 3] = around + (q[:, 3] - around) / 2

    said = re.fullmatch(rf"([\d.]+) times {word} than in the reference, given the .*",
                        sentence(blur, rng))  # fmt: skip
    assert said is not None
    assert float(said[1]) == pytest.approx(size, rel=0.25)


def test_a_sensor_that_does_not_vary_is_stuck(rng: np.random.Generator) -> None:
    """At a value like any other of the reference."""

    def stick(q: Floats, _: np.random.Generator) -> None:
        q[:, 3] = LEVEL

    assert sentence(stick, rng) == "stuck at 20 °C, whatever the other features do"


@pytest.mark.parametrize(("offset", "side"), [(25.0, "high"), (-25.0, "low")])
def test_values_beyond_the_reference_are_an_offset(
    rng: np.random.Generator, offset: float, side: str
) -> None:
    """Their scores do not vary, but they do."""

    def leave(q: Floats, _: np.random.Generator) -> None:
        q[:, 3] += offset

    said = re.fullmatch(rf"reads ([\d.]+) °C {side} given the other features", sentence(leave, rng))
    assert said is not None
    assert float(said[1]) == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize(("offset", "side"), [(25.0, "above"), (-25.0, "below")])
def test_without_rows_values_beyond_the_reference_are_said_to_be_there(
    rng: np.random.Generator, offset: float, side: str
) -> None:
    """The Gram matrices know no more, but that they are not stuck."""
    p, q = (LEVEL + SCALE * chain(rng, ROWS, D) for _ in range(2))
    q[:, 3] += offset
    found = re.fullmatch(
        rf"nearly all values are {side} ([\d.]+) °C, where the reference ends", without_rows(p, q)
    )
    assert found is not None
    assert float(found[1]) == pytest.approx(LEVEL + np.sign(offset) * 3.3 * SCALE, rel=0.25)


def test_without_rows_a_sensor_that_hardly_varies_is_stuck(rng: np.random.Generator) -> None:
    """At a value that the Gram matrices do not know."""
    p, q = (LEVEL + SCALE * chain(rng, ROWS, D) for _ in range(2))
    q[:, 3] = LEVEL
    assert without_rows(p, q).startswith("stuck: it hardly varies in this window")


def without_rows(p: Floats, q: Floats) -> str:
    """Return what the profiles alone say of x3."""
    columns = dict.fromkeys(table(p).column_names, Column(type="number", unit="°C"))
    encoder = fit_encoder(table(p), columns, features=list(columns), window_rows=ROWS)
    evidence = Evidence(3, "conditional", 50.0, 3.0, 1.0, alarm=True)
    before, now = (profile(encoder, table(values)) for values in (p, q))
    return by_profiles(evidence, encoder, before, now, columns).sentence


def test_missing_values_are_given_as_shares(rng: np.random.Generator) -> None:
    """Of this window and of the reference."""

    def lose(q: Floats, _: np.random.Generator) -> None:
        q[: ROWS // 5, 3] = np.nan

    assert sentence(lose, rng) == "missing in 20.0 % of the rows, against 0.0 % in the reference"


def worded(rng: np.random.Generator, shares: list[float]) -> pa.Table:
    """Return two numbers, and a word drawn by itself."""
    words = rng.choice(["a", "b", "c", "new"], ROWS, p=shares)
    return table(chain(rng, ROWS, 2), {"word": pa.array(words.tolist())})


def test_a_new_category_is_said_to_be_new(rng: np.random.Generator) -> None:
    """With its share of the rows."""
    p, q = worded(rng, [0.6, 0.3, 0.1, 0]), worded(rng, [0.55, 0.3, 0.1, 0.05])
    found = compare(p, q).findings[0]
    assert found.alarm
    said = re.fullmatch(
        r"([\d.]+) % of the rows do not hold a value the reference has", found.explanation
    )
    assert said is not None
    assert float(said[1]) == pytest.approx(5, abs=2)


def test_a_category_whose_share_changed_is_named_with_both_shares(
    rng: np.random.Generator,
) -> None:
    """The one that changed most."""
    p, q = worded(rng, [0.6, 0.3, 0.1, 0]), worded(rng, [0.3, 0.6, 0.1, 0])
    found = compare(p, q).findings[0]
    assert found.alarm
    said = re.fullmatch(r"'b' in (\d+) % of the rows, against (\d+) %", found.explanation)
    assert said is not None
    assert int(said[1]) == pytest.approx(60, abs=4)
    assert int(said[2]) == pytest.approx(30, abs=4)


def test_a_constant_that_changed_is_said_to_have(rng: np.random.Generator) -> None:
    """There is nothing else to say of it."""
    p, q = (
        table(np.column_stack([chain(rng, ROWS, 2), np.full(ROWS, value)])) for value in (5.0, 6.0)
    )
    found = compare(p, q).findings[0]
    assert found.subject == "x2"
    assert found.explanation == "100.0 % of the rows do not hold its one value"


def test_what_did_not_move_is_said_to_be_as_it_was(rng: np.random.Generator) -> None:
    """One sentence for every feature that is no alarm."""
    p, q = table(chain(rng, ROWS, D)), table(chain(rng, ROWS, D))
    assert {found.explanation for found in compare(p, q).findings} == {
        "as in the reference, given the other features"
    }
