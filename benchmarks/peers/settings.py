"""The pairs of tables: 25 columns that depend on each other, and one thing that changed.

Numbers are a Gaussian chain: each column follows the one before with correlation `rho`. The mixed
table has 23 of them, the last with gaps, and two categories that follow two of the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

COLUMNS, ROWS = 25, 1000
RHO = 0.7
CHANGED = "x12"
GAPS = 0.05

Rng: TypeAlias = np.random.Generator
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """A kind of change, and where it lies on a curve."""

    name: str
    truth: str  #: the column that was changed; empty where none was
    draw: Callable[[Rng], tuple[pa.Table, pa.Table]]  #: reference and current
    mixed: bool = False
    main: bool = True  #: a column of the page's table; else a point of a curve only
    curve: str = ""
    at: float = 0.0

    def tables(self, trial: int) -> tuple[pa.Table, pa.Table]:
        """Return the pair of a trial: the same whoever asks."""
        return self.draw(np.random.default_rng([*self.name.encode(), trial]))


def numbers(rng: Rng, columns: int = COLUMNS, rho: float = RHO, root: float = 0.0) -> Floats:
    """Return a chain, shape (rows, columns), of unit variance; all follow the root's shift."""
    x = rng.standard_normal((ROWS, columns))
    x[:, 0] += root
    for j in range(1, columns):
        x[:, j] = rho * x[:, j - 1] + np.sqrt(1.0 - rho**2) * x[:, j]
    return x


def conditional_sigma(rho: float = RHO) -> float:
    """Return the standard deviation of a number of the chain given its two neighbours."""
    return float(np.sqrt((1.0 - rho**2) / (1.0 + rho**2)))


def table(x: Floats) -> pa.Table:
    """Return the columns x00, x01 and so on."""
    return pa.table({f"x{j:02d}": column for j, column in enumerate(x.T.copy())})


def mixed(rng: Rng, gaps: float = GAPS, new: float = 0.0) -> pa.Table:
    """Return 23 numbers, the last with gaps, and two categories, the first with new values."""
    x = numbers(rng, COLUMNS - 2)
    noise = rng.standard_normal((ROWS, 2))
    grade = np.array(list("abcd"))[np.digitize(x[:, 2] + 0.5 * noise[:, 0], [-0.75, 0.0, 0.75])]
    colour = np.array(["red", "green", "blue"])[
        np.digitize(x[:, 11] + 0.5 * noise[:, 1], [-0.5, 0.5])
    ]
    grade = np.where(rng.random(ROWS) < new, "new", grade)
    rows = table(x)
    last = rows.column_names[-1]
    holed = pa.array(x[:, -1], mask=rng.random(ROWS) < gaps)
    rows = rows.set_column(len(rows.column_names) - 1, last, holed)
    return rows.append_column("grade", pa.array(grade)).append_column("colour", pa.array(colour))


def replayed(rho: float) -> Setting:
    """One number's rows are shuffled."""

    def draw(rng: Rng) -> tuple[pa.Table, pa.Table]:
        before, now = numbers(rng, rho=rho), numbers(rng, rho=rho)
        now[:, 12] = rng.permutation(now[:, 12])
        return table(before), table(now)

    name = "one sensor replayed" if rho == RHO else f"one sensor replayed, correlation {rho:g}"
    return Setting(name, CHANGED, draw, main=rho == RHO, curve="replay", at=rho)


def shifted(size: float) -> Setting:
    """One number's readings are off by so many conditional σ; nothing follows them."""

    def draw(rng: Rng) -> tuple[pa.Table, pa.Table]:
        before, now = numbers(rng), numbers(rng)
        now[:, 12] += size * conditional_sigma()
        return table(before), table(now)

    name = f"one sensor off by {size:g} σ"
    return Setting(name, CHANGED, draw, main=size == 0.5, curve="shift", at=size)


def _unchanged(rng: Rng) -> tuple[pa.Table, pa.Table]:
    return table(numbers(rng)), table(numbers(rng))


def _unchanged_mixed(rng: Rng) -> tuple[pa.Table, pa.Table]:
    return mixed(rng), mixed(rng)


def _root(rng: Rng) -> tuple[pa.Table, pa.Table]:
    return table(numbers(rng)), table(numbers(rng, root=0.5))


def _stretched(rng: Rng) -> tuple[pa.Table, pa.Table]:
    before, now = numbers(rng), numbers(rng)
    now[:, 12] *= 1.3
    return table(before), table(now)


def _more_gaps(rng: Rng) -> tuple[pa.Table, pa.Table]:
    return mixed(rng), mixed(rng, gaps=2 * GAPS)


def _new_category(rng: Rng) -> tuple[pa.Table, pa.Table]:
    return mixed(rng), mixed(rng, new=0.01)


SETTINGS = (
    Setting("nothing, numbers", "", _unchanged, curve="shift"),
    Setting("nothing, mixed", "", _unchanged_mixed, mixed=True),
    *(replayed(rho) for rho in (0.0, 0.05, 0.1, 0.2, RHO)),
    *(shifted(size) for size in (0.1, 0.2, 0.3, 0.5)),
    Setting("root off by 0.5 σ, all follow", "x00", _root),
    Setting("spread × 1.3", CHANGED, _stretched),
    Setting("gaps 5 % → 10 %", "x22", _more_gaps, mixed=True),
    Setting("1 % new category", "grade", _new_category, mixed=True),
)
