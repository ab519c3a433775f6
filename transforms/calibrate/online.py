"""Intervals that follow their outcomes: one way in for every online rule.

A rule works on residuals in standard units: r = (y − middle)/unit, middle and half-width those of
the base interval. So it moves the ends of a heteroscedastic forecaster in proportion. It says where
the ends of the next interval lie, and learns from an outcome whenever that becomes known: after
other intervals were issued, out of order, or never.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ONLINE_VERSION = 1

_NARROWEST = 0.01  # of the usual half-width: below, an interval says nothing of its own scale
_SLOWEST = 0.002  # rate at which the usual half-width is learnt in the long run
_OWN = 3  # values of a memo that are the calibrator's: number, middle, unit


@dataclass(frozen=True, slots=True)
class Issued:
    """Intervals of S series, and what must be kept until their outcomes are known."""

    lower: Floats  #: shape (S,), unit of the target
    upper: Floats  #: shape (S,), unit of the target
    memo: Floats  #: shape (S, m); m depends on the rule alone


@dataclass(frozen=True, slots=True)
class Learnt:
    """Outcomes as a rule sees them; arrays of shape (S,) unless said otherwise."""

    residual: Floats  #: standard units; NaN where there is no outcome
    below: Bools  #: the outcome fell below the issued interval
    above: Bools
    memo: Floats  #: what the rule kept at issue, shape (S, m)
    number: Floats  #: of the issue, from 0
    late: Floats  #: intervals issued since, before this outcome was known


class Rule(Protocol):
    """What moves the ends; fields that are arrays are its state, each with leading axis S."""

    kind: ClassVar[str]
    interval: float

    def ends(self, number: int) -> tuple[Floats, Floats, Floats]:
        """Return lower and upper end in standard units, shape (S,), and a memo of shape (S, m)."""

    def learn(self, learnt: Learnt) -> None:
        """Take in one outcome of each series; what it makes of a NaN is undone."""


@dataclass(slots=True)
class OnlineCalibrator:
    """A rule for S series that are forecast together, one interval of each at a time."""

    rule: Rule
    series: int
    issued: int = 0  #: intervals so far
    usual: Floats = field(default_factory=lambda: np.zeros(0))  #: half-width, shape (S,)

    def __post_init__(self) -> None:
        """Begin without a usual half-width."""
        if not len(self.usual):
            self.usual = np.zeros(self.series)

    def issue(self, lower: ArrayLike, upper: ArrayLike) -> Issued:
        """Return the calibrated interval of each series.

        Parameters
        ----------
        lower, upper : arrays, shape (S,), or numbers where S = 1
            Ends of the base forecaster's interval. Where they are not finite, they are returned as
            they are, and their outcome teaches nothing.
        """
        low, high = (np.atleast_1d(np.asarray(end, np.float64)) for end in (lower, upper))
        with np.errstate(invalid="ignore"):  # infinite ends have no middle
            middle, half = (low + high) / 2, np.maximum(high - low, 0.0) / 2
        usable = np.isfinite(half)
        half = np.where(usable, half, self.usual)
        rate = max(1 / (self.issued + 1), _SLOWEST)
        self.usual = np.where(usable, self.usual + rate * (half - self.usual), self.usual)
        unit = np.maximum(half, _NARROWEST * self.usual)
        unit = np.where(unit > 0, unit, 1.0)  # a base of points: the target's own unit
        middle = np.where(usable, middle, np.nan)  # so that its outcome teaches nothing
        below, above, memo = self.rule.ends(self.issued)
        own = np.column_stack([np.full(self.series, float(self.issued)), middle, unit])
        self.issued += 1
        return Issued(
            lower=np.where(usable, middle + unit * below, low),
            upper=np.where(usable, middle + unit * above, high),
            memo=np.column_stack([own, memo]),
        )

    def learn(self, issued: Issued, outcome: ArrayLike) -> None:
        """Learn what became of one issue, once for each; series whose outcome is NaN stay."""
        y = np.atleast_1d(np.asarray(outcome, np.float64))
        number, middle, unit = issued.memo[:, :_OWN].T
        residual = (y - middle) / unit
        known = np.isfinite(residual)
        if not known.any():
            return
        kept = {} if known.all() else {name: part.copy() for name, part in _arrays(self.rule)}
        with np.errstate(invalid="ignore"):
            self.rule.learn(
                Learnt(
                    residual=residual,
                    below=y < issued.lower,
                    above=y > issued.upper,
                    memo=issued.memo[:, _OWN:],
                    number=number,
                    late=self.issued - number - 1,
                )
            )
        for name, before in kept.items():
            now = getattr(self.rule, name)
            shape = (-1,) + (1,) * (now.ndim - 1)
            setattr(self.rule, name, np.where(known.reshape(shape), now, before))

    def learn_all(self, pending: Iterable[tuple[Issued, ArrayLike]]) -> None:
        """Learn outcomes that became known together: in the order of their issue, whatever comes.

        So the state does not depend on the order in which they are listed.
        """
        for issued, outcome in sorted(pending, key=lambda pair: float(pair[0].memo[0, 0])):
            self.learn(issued, outcome)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; what is NaN in the state is null."""
        parts = dict(_arrays(self.rule))
        names = [each.name for each in fields(self.rule)]  # type: ignore[arg-type]
        return {
            "version": ONLINE_VERSION,
            "kind": self.rule.kind,
            "issued": self.issued,
            "usual": self.usual.tolist(),
            "settings": {name: getattr(self.rule, name) for name in names if name not in parts},
            "state": {
                name: np.where(np.isnan(part), None, part).tolist()  # type: ignore[call-overload]
                for name, part in parts.items()
            },
        }


def _arrays(rule: Rule) -> list[tuple[str, NDArray[Any]]]:
    values = ((f.name, getattr(rule, f.name)) for f in fields(rule))  # type: ignore[arg-type]
    return [(name, value) for name, value in values if isinstance(value, np.ndarray)]
