"""The conditional tests that need no rows, only Gram matrices: those a stream can use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from monitors import null
from monitors.basis import Basis
from monitors.encoder import FloatArray
from monitors.feature_shift import fisher, likelihood_ratio, model_ks

WIDE = 200  # basis columns beyond which a draw, two inversions, is dear
WIDE_DRAWS = 199


@dataclass(frozen=True, slots=True)
class GramMethod:
    """A statistic of what parts a window from all other rows, and what it says in σ."""

    #: from the Gram matrices of all rows and of the windows' to shape (windows, bases, features)
    statistic: Callable[[FloatArray, FloatArray, Sequence[Basis]], FloatArray]
    #: from a statistic, its expectation, and the rows of reference and window
    effect: Callable[[FloatArray, FloatArray, float, float], FloatArray]
    shares: tuple[float, ...]  #: of each basis in a feature's p-value; how many bases it reads
    categories: bool = True  #: whether it tests them too; else they only explain

    def bases(self, all_bases: Sequence[Basis], removed: Sequence[int] = ()) -> list[Basis]:
        """Return the bases that it reads, without the features that are set aside."""
        return [basis.without(removed) for basis in all_bases[: len(self.shares)]]

    def within(self, bases: Sequence[Basis]) -> null.Statistic:
        """Return the statistic in some bases."""

        def statistic(total: FloatArray, windows: FloatArray) -> FloatArray:
            return self.statistic(total, windows, bases)

        return statistic

    def parts(self, bases: Sequence[Basis]) -> tuple[float, ...]:
        """Return the shares of these bases; one that is alone has all."""
        return self.shares if len(bases) == len(self.shares) else (1.0,)


GRAM_METHODS: Mapping[str, GramMethod] = MappingProxyType(
    {
        "moments": GramMethod(likelihood_ratio.statistic, likelihood_ratio.effect, (0.8, 0.2)),
        "fisher": GramMethod(fisher.statistic, fisher.effect, (1.0,)),
        "model-ks": GramMethod(model_ks.statistic, model_ks.effect, (1.0,), categories=False),
    }
)


def draws(columns: int) -> int:
    """Return how many pseudo-windows a null of so many basis columns is fitted on."""
    return null.DRAWS if columns <= WIDE else WIDE_DRAWS
