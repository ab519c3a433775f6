"""The parametric families by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transforms.distributions import (
    gamma,
    hansen,
    lognormal,
    normal,
    skew_t,
    student_t,
    zero_inflated_lognormal,
)
from transforms.distributions.links import ABOVE_TWO, ARTANH, IDENTITY, LOG, LOGIT, Link

Floats = NDArray[np.float64]
Support = Literal["real", "positive", "zero or positive"]


@dataclass(frozen=True, slots=True)
class Family:
    """One family; its functions take the parameters in the order of their names."""

    name: str
    parameters: tuple[str, ...]
    links: tuple[Link, ...]  #: of each parameter
    support: Support
    log_density: Callable[..., Floats]
    cdf: Callable[..., Floats]
    quantile: Callable[..., Floats]
    crps: Callable[..., Floats]
    mean: Callable[..., Floats]
    variance: Callable[..., Floats]

    def suits(self, y: ArrayLike) -> bool:
        """Whether outcomes without NaN may come from the family.

        All positive for "positive"; for "zero or positive" none negative and some of both, for
        either alone is served better by another family.
        """
        y = np.asarray(y, np.float64)
        if self.support == "positive":
            return bool((y > 0).all())
        if self.support == "zero or positive":
            return bool((y >= 0).all() and (y == 0).any() and (y > 0).any())
        return True


def _family(module: ModuleType, support: Support, **links: Link) -> Family:
    return Family(
        name=module.__name__.rpartition(".")[2],
        parameters=tuple(links),
        links=tuple(links.values()),
        support=support,
        log_density=module.log_density,
        cdf=module.cdf,
        quantile=module.quantile,
        crps=module.crps,
        mean=module.mean,
        variance=module.variance,
    )


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        _family(normal, "real", loc=IDENTITY, scale=LOG),
        _family(student_t, "real", loc=IDENTITY, scale=LOG, nu=ABOVE_TWO),
        _family(skew_t, "real", loc=IDENTITY, scale=LOG, nu=ABOVE_TWO, xi=LOG),
        _family(hansen, "real", loc=IDENTITY, scale=LOG, eta=ABOVE_TWO, lam=ARTANH),
        _family(lognormal, "positive", mu=IDENTITY, sigma=LOG),
        _family(gamma, "positive", mean=LOG, shape=LOG),
        _family(zero_inflated_lognormal, "zero or positive", p=LOGIT, mu=IDENTITY, sigma=LOG),
    )
}
