"""Counts what was decided."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass
class Score:
    """What one rule decided in one setting."""

    trials: int = 0
    alarms: int = 0
    exact: int = 0
    named: int = 0  #: columns, over all trials
    cpu: float = 0.0  #: seconds of its calls

    def add(self, *, alarm: bool, named: Collection[str], truth: str, cpu: float) -> None:
        """Count one decision."""
        self.trials += 1
        self.alarms += alarm
        self.exact += bool(truth) and set(named) == {truth}
        self.named += len(named)
        self.cpu += cpu

    @property
    def found(self) -> float:
        """Share of trials with an alarm."""
        return self.alarms / self.trials

    @property
    def located(self) -> float:
        """Share of trials in which the changed column was named, and nothing else."""
        return self.exact / self.trials


def rate(count: int, trials: int) -> str:
    """Return a share with its exact 95 % binomial interval (Clopper and Pearson)."""
    from scipy.stats import binomtest

    interval = binomtest(count, trials).proportion_ci(method="exact")
    return f"{count / trials:.2f} ({interval.low:.2f}-{interval.high:.2f})"
