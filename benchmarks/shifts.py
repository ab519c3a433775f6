"""Rows of which the law is known, and changes of them that have one right name.

Numbers hang in a tree; on them hang a category, a nonlinear dependence and a column with gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from schemas.stream import Column

WINDOW_ROWS = 1000
RHO = 0.7  # between a number and the one it follows
GAPS = 0.05

Rng: TypeAlias = np.random.Generator
Rows: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class World:
    """The law of the rows when nothing has changed.

    x0 is the root; every other number follows one before it. `square` follows x1, `grade` follows
    x2, and the last number has gaps.
    """

    parents: Sequence[int]  #: of x1, x2, …
    mixed: bool  #: whether it has the columns `square` and `grade`

    @classmethod
    def draw(cls, features: int, rng: Rng, *, mixed: bool) -> World:
        """Draw a tree for so many features."""
        numbers = features - 2 * mixed
        return cls([int(rng.integers(j)) for j in range(1, numbers)], mixed)

    @property
    def numbers(self) -> list[str]:
        """Names of the numbers of the tree."""
        return [f"x{j}" for j in range(len(self.parents) + 1)]

    @property
    def columns(self) -> dict[str, Column]:
        """Return what the columns hold."""
        numbers = dict.fromkeys(self.numbers, Column(type="number"))
        if not self.mixed:
            return numbers
        return numbers | {"square": Column(type="number"), "grade": Column(type="category")}

    def rows(
        self,
        rng: Rng,
        n: int = WINDOW_ROWS,
        *,
        own: str = "x0",
        offset: float = 0.0,
        spread: float = 1.0,
    ) -> Rows:
        """Draw rows; number `own` is shifted, or its noise stretched, and others follow it."""
        x = {name: rng.standard_normal(n) for name in self.numbers}
        x[own] *= spread
        x["x0"] += offset * (own == "x0")
        for j, parent in enumerate(self.parents, start=1):
            drift = offset * (own == f"x{j}")
            x[f"x{j}"] = RHO * x[f"x{parent}"] + np.sqrt(1 - RHO**2) * x[f"x{j}"] + drift
        square = x["x1"] ** 2 + 0.5 * rng.standard_normal(n)
        quarter = np.digitize(x["x2"] + 0.5 * rng.standard_normal(n), [-0.75, 0.0, 0.75])
        x[self.numbers[-1]][rng.random(n) < GAPS] = np.nan
        if not self.mixed:
            return x
        return x | {"square": square, "grade": np.array(list("abcd"))[quarter]}


#: draws the rows of a window, and names the features that were changed
Change: TypeAlias = Callable[[World, Rng], tuple[Rows, set[str]]]


def shuffled(world: World, rng: Rng) -> tuple[Rows, set[str]]:
    """Permute one number: a sensor that replays old values."""
    return _permuted(world, rng, str(rng.choice(world.numbers)))


def square_shuffled(world: World, rng: Rng) -> tuple[Rows, set[str]]:
    """Permute the column that depends on another by its square only."""
    return _permuted(world, rng, "square")


def grade_shuffled(world: World, rng: Rng) -> tuple[Rows, set[str]]:
    """Permute the category."""
    return _permuted(world, rng, "grade")


def _permuted(world: World, rng: Rng, *names: str) -> tuple[Rows, set[str]]:
    rows = world.rows(rng)
    return rows | {name: rng.permutation(rows[name]) for name in names}, set(names)


def turned(world: World, rng: Rng) -> tuple[Rows, set[str]]:
    """Turn the sign of one number: its law is symmetric, its dependence is not."""
    rows, name = world.rows(rng), str(rng.choice(world.numbers))
    return rows | {name: -rows[name]}, {name}


def root_shifted(world: World, rng: Rng) -> tuple[Rows, set[str]]:
    """Shift the root; everything else follows it."""
    return world.rows(rng, own="x0", offset=0.5), {"x0"}


def reading_shifted(world: World, rng: Rng) -> tuple[Rows, set[str]]:
    """Shift the readings of one number; nothing follows them."""
    rows, name = world.rows(rng), str(rng.choice(world.numbers))
    return rows | {name: rows[name] + 0.3}, {name}


def two_changed(world: World, rng: Rng) -> tuple[Rows, set[str]]:
    """Shift the readings of one number, and permute another."""
    one, other = map(str, rng.choice(world.numbers, 2, replace=False))
    rows, _ = _permuted(world, rng, one)
    return rows | {other: rows[other] + 0.5}, {one, other}


def noisier(world: World, rng: Rng) -> tuple[Rows, set[str]]:
    """Stretch the noise of one number, and so the spread of those that follow it."""
    name = str(rng.choice(world.numbers))
    return world.rows(rng, own=name, spread=1.5), {name}


def more_gaps(world: World, rng: Rng) -> tuple[Rows, set[str]]:
    """Twice as many missing values, at random."""
    rows, name = world.rows(rng), world.numbers[-1]
    lost = rng.random(WINDOW_ROWS) < GAPS / (1 - GAPS)
    return rows | {name: np.where(lost, np.nan, rows[name])}, {name}


def new_category(world: World, rng: Rng) -> tuple[Rows, set[str]]:
    """Write a value that the reference never had in 1 % of the rows."""
    rows = world.rows(rng)
    return rows | {"grade": np.where(rng.random(WINDOW_ROWS) < 0.01, "new", rows["grade"])}, {
        "grade"
    }


#: in how many features of which kind of world, and the change itself
CHANGES: Sequence[tuple[str, int, bool, Change]] = (
    ("one number permuted", 20, False, shuffled),
    ("one number permuted", 50, False, shuffled),
    ("one number's sign turned", 20, False, turned),
    ("one number's readings shifted by 0.3 σ", 20, False, reading_shifted),
    ("the root shifted by 0.5 σ, all others follow", 20, False, root_shifted),
    ("the noise of one number × 1.5, others follow", 20, False, noisier),
    ("two at once: one shifted by 0.5 σ, one permuted", 20, False, two_changed),
    ("missing values 5 % → 10 %, at random", 20, False, more_gaps),
    ("one number permuted", 20, True, shuffled),
    ("the root shifted by 0.5 σ, all others follow", 20, True, root_shifted),
    ("the noise of one number × 1.5, others follow", 20, True, noisier),
    ("a dependence by the square broken", 20, True, square_shuffled),
    ("a category's dependence broken", 20, True, grade_shuffled),
    ("a new category in 1 % of the rows", 20, True, new_category),
)
