"""The conditional tests that need the rows of both tables.

Each is a statistic of the rows that are the window's and those that are not; `resampling` gives it
its null, and `locate` names the features in turn. Numbers are taken as their normal scores, one
column each; categories are indicators, which only explain the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.feature_shift import flow, knn_ks, pit
from monitors.feature_shift.locate import Evidence, weigh
from monitors.feature_shift.model_ks import squared_shift
from monitors.feature_shift.resampling import resample
from monitors.feature_shift.rows import Dealing, Rows, Statistic
from schemas.errors import StreamFileError


@dataclass(frozen=True, slots=True)
class RowMethod:
    """A statistic of what parts two tables, and what it says in σ."""

    prepare: Callable[[Rows, np.random.Generator], Dealing]
    squared_effect: Callable[[FloatArray], FloatArray]
    draws: int  #: of its null
    most_rows: int  #: of a table that it compares; a longer one is thinned
    normal: bool = False  #: whether the law of its draws is normal; else it is Gamma
    extra: str = ""  #: the optional extra that it needs
    package: str = ""  #: which installs this package


ROW_METHODS: Mapping[str, RowMethod] = MappingProxyType(
    {
        "knn-ks": RowMethod(knn_ks.prepare, squared_shift, draws=99, most_rows=2000),
        "pit": RowMethod(pit.prepare, pit.squared_effect, draws=499, most_rows=5000),
        "flow": RowMethod(
            flow.prepare,
            flow.squared_effect,
            draws=499,
            most_rows=4000,
            normal=True,
            extra="flow",
            package="flowjax",
        ),
    }
)


def check_installed(name: str) -> None:
    """Refuse a method whose optional extra is not there.

    Raises
    ------
    StreamFileError
        Saying what to install.
    """
    method = ROW_METHODS.get(name)
    if method is not None and method.package and find_spec(method.package) is None:
        message = (
            f"method {name!r} needs the package {method.package}, which is not installed; "
            f"install tidegauge with its extra: pip install 'tidegauge[{method.extra}]'"
        )
        raise StreamFileError(message)


def evidence(
    method: RowMethod,
    rows: Rows,
    removed: tuple[int, ...],
    level: float,
    *,
    rng: np.random.Generator,
    ignore_below: float,
) -> list[Evidence]:
    """Test every feature at a level, with some features set aside."""
    left = rows.without(removed)
    statistic: Statistic = _nothing
    in_window = rows.in_window
    if left.numeric:
        dealing = method.prepare(left, rng)
        statistic, in_window = dealing.statistic, dealing.in_window

    def of_features(dealt: NDArray[np.bool_]) -> FloatArray:
        values = np.zeros((len(dealt), len(rows.groups)))
        values[:, left.numeric] = statistic(dealt)
        return values

    found = resample(of_features, in_window, rng, method.draws, normal=method.normal)
    gain = method.squared_effect(found.observed) - method.squared_effect(found.mean)
    effect = np.sqrt(np.maximum(gain, 0.0))
    observed = found.studentised[None]  # one statistic of each feature
    return weigh(observed, effect[None], found.null, level=level, ignore_below=ignore_below)


def _nothing(in_window: NDArray[np.bool_]) -> FloatArray:
    return np.zeros((len(in_window), 0))
