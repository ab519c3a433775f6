"""Calibrates the forecasts of one series one after another, in the order of event time.

Before an interval is issued at a time, every outcome that became known before that time is learnt,
in the order of the issues; what becomes known at the very time is learnt by the next. So what is
issued depends on the times alone, not on how rows were cut into files or runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.calibrate.online import Issued, OnlineCalibrator
from transforms.calibrate.rules import start
from transforms.windows import key_texts

Floats = NDArray[np.float64]
Micros = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The forecasts of one series that a calibrator issues, or has issued; arrays are filled in."""

    time: Micros  #: of the issue, in µs since 1970, shape (n,)
    lower: Floats  #: base ends, then those issued, shape (n,), unit of the target
    upper: Floats
    memo: list[list[float] | None]  #: what the calibrator wants back; None: not issued yet
    learnt: NDArray[np.bool_]  #: shape (n,)
    #: when each outcome became known (µs since 1970) and what it was, in that order
    known: Sequence[Sequence[tuple[int, float]]]


def calibrate_in_time(calibrator: OnlineCalibrator, ledger: Ledger) -> None:
    """Issue all that was not issued yet, and learn what was known before.

    Forecasts with one time are issued in the order of their ends, so that no other order matters.
    Each outcome is learnt once; what it is revised to later is not.
    """
    waiting = [n for n, memo in enumerate(ledger.memo) if memo is None]
    waiting.sort(key=lambda n: (ledger.time[n], ledger.lower[n], ledger.upper[n]))
    due = [n for n, versions in enumerate(ledger.known) if versions and not ledger.learnt[n]]
    due.sort(key=lambda n: ledger.known[n][0][0])
    at = 0
    for n in waiting:
        now, begun = int(ledger.time[n]), at
        while at < len(due) and ledger.known[due[at]][0][0] < now:
            at += 1
        calibrator.learn_all([_learnable(ledger, k, now) for k in due[begun:at]])
        ledger.learnt[due[begun:at]] = True
        issued = calibrator.issue(ledger.lower[n], ledger.upper[n])
        ledger.lower[n], ledger.upper[n] = issued.lower[0], issued.upper[0]
        ledger.memo[n] = issued.memo[0].tolist()


def _learnable(ledger: Ledger, n: int, now: int) -> tuple[Issued, float]:
    """Return an issue, and the last that was known of its outcome before a time."""
    outcome = [value for known, value in ledger.known[n] if known < now][-1]
    memo = np.array([ledger.memo[n]], np.float64)
    return Issued(ledger.lower[[n]], ledger.upper[[n]], memo), outcome


@dataclass(frozen=True, slots=True)
class Followed:
    """The intervals of the reference's rows, each from those before, and the states after them."""

    lower: Floats  #: shape (n,), unit of the target
    upper: Floats
    states: dict[str, Any]  #: of each series' calibrator, as JSON values


def follow_reference(
    rows: pa.Table,
    key: Sequence[str],
    time: str,
    ends: tuple[Floats, Floats],
    outcome: Floats,
    interval: float,
) -> Followed:
    """Calibrate the reference as if it came row by row, each outcome known with its row.

    Parameters
    ----------
    rows : with the key columns and the event time, in any order.
    ends : of the base interval, from models that had not seen the row: shapes (n,).
    outcome : shape (n,), unit of the target; NaN where there is none.
    """
    times: Micros = rows[time].cast(pa.int64()).to_numpy()
    texts = np.array(key_texts(rows, key))
    lower, upper, states = ends[0].copy(), ends[1].copy(), dict[str, Any]()
    for text in np.unique(texts):
        own = np.flatnonzero(texts == text)
        values = zip(times[own].tolist(), outcome[own].tolist(), strict=True)
        ledger = Ledger(
            times[own],
            lower[own],
            upper[own],
            [None] * len(own),
            np.zeros(len(own), np.bool_),
            [[(at, y)] if np.isfinite(y) else [] for at, y in values],
        )
        calibrator = start(interval)
        calibrate_in_time(calibrator, ledger)
        lower[own], upper[own] = ledger.lower, ledger.upper
        states[str(text)] = calibrator.to_dict()
    return Followed(lower, upper, states)
