"""Decides which findings alarm, where that takes more than one window: see `alarms.control`.

A test is one monitor on one window of one key: of feature shift all features together, of a
forecast monitor one target. Tests that could not be made change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import polars as pl

from monitors.alarms.e_detector import Detector
from monitors.alarms.e_values import LEAST_P
from monitors.alarms.online_fdr import ELond
from monitors.budget import FORECAST_MONITORS, level_per_test
from monitors.marginals.reference import IGNORE_BELOW
from schemas.stream import Stream

WINDOW = ("window_start", "window_end", "window_index")
_READ = ("p_adjusted", "p_value", "statistic", "threshold", "effect", "alarm")

_DECIDED = ("statistic", "threshold", "alarm")

Row: TypeAlias = dict[str, Any]
State: TypeAlias = dict[str, Any]  #: JSON values


def control(
    findings: pl.DataFrame,
    stream: Stream,
    keys: int,
    state: State | None = None,
    decided: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, State]:
    """Return findings with the alarms that the stream file's control gives.

    Parameters
    ----------
    findings : rows of `schemas.records.FINDING`, of all windows and keys, in any order.
    keys : of the baseline; they share the budget.
    state : what earlier findings of the stream left; None: there were none.
    decided : earlier revisions of the findings. A window counts once: late rows change what is said
        of it, not what was decided.

    Returns
    -------
    The same rows in order of event time, and the state after them, as JSON values. ``window``
    leaves the rows as they are. With ``fdr`` statistic and threshold are −log₁₀ of the adjusted
    p-value and of what the next test rejects; with ``e-detector`` log₁₀ of its value and of the
    average run length that the budget asks for.
    """
    state = state or {}
    ordered = findings.sort(*WINDOW, "key", "monitor", "rank", "subject", nulls_last=True)
    if stream.alarms.control == "window" or ordered.is_empty():
        return ordered, state
    rows = ordered.select(
        "id", "monitor", "subject", "key", "status", "revision", *WINDOW, *_READ
    ).to_dicts()
    known = _keep(rows, decided) if decided is not None else set()
    new = [row for row in rows if row["id"] not in known]
    state = (
        _fdr(new, stream, state)
        if stream.alarms.control == "fdr"
        else _e_detector(new, stream, keys, state)
    )
    return ordered.with_columns(
        pl.Series(name, [row[name] for row in rows], dtype=ordered.schema[name])
        for name in _DECIDED
    ), state


def _keep(rows: Sequence[Row], decided: pl.DataFrame) -> set[str]:
    """Give revised findings what was decided when their window was first tested, and name them."""
    tested = decided.filter(pl.col("status") == "tested")
    before = {row[0]: row[1:] for row in tested.select("id", *_DECIDED).iter_rows()}
    for row in rows:
        if row["id"] in before:
            row.update(zip(_DECIDED, before[row["id"]], strict=True))
    return set(before)


def p_adjusted(row: Mapping[str, Any], subjects: int) -> float:
    """Return the least level of the whole test at which a finding alarms; else Bonferroni's."""
    if row["p_adjusted"] is not None:
        return float(row["p_adjusted"])
    return min(1.0, float(row["p_value"]) * subjects)


def subject_p(adjusted: float, subjects: int) -> float:
    """Return the p-value of one of so many subjects from its adjusted one (Šidák's, inverted)."""
    return -math.expm1(math.log1p(-adjusted) / subjects) if adjusted < 1.0 else 1.0


_Test: TypeAlias = tuple[str, str, str]  #: key, monitor, and the target of a forecast monitor


def _tests(rows: Sequence[Row]) -> Iterator[tuple[_Test, list[Row]]]:
    """Yield the findings of each test that was made, in order."""
    tests: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["status"] == "tested":
            target = row["subject"] if row["monitor"] in FORECAST_MONITORS else ""
            test = row["key"], row["monitor"], target
            tests.setdefault((*(row[name] for name in WINDOW), test), []).append(row)
    for (*_, test), same in tests.items():
        yield test, same


def _passing(same: Sequence[Row], stream: Stream) -> list[Row]:
    """Return the findings of a test that pass their threshold and matter, the strongest first."""
    options = stream.monitors.feature_shift
    least = -math.inf
    if options is not False and same[0]["monitor"] == "feature_shift":
        least = options.ignore_below
    if same[0]["monitor"] in stream.monitors.marginals:
        least = IGNORE_BELOW
    passing = [
        row
        for row in same
        if row["statistic"] >= row["threshold"]
        and (row["effect"] is None or row["effect"] >= least)
    ]
    return sorted(passing, key=lambda row: -row["statistic"])


def _alarm(same: Sequence[Row], passing: Sequence[Row]) -> None:
    """Let the subjects alarm that pass and that the window itself names; else the strongest."""
    named = [row for row in passing if row["alarm"]] or list(passing[:1])
    for row in same:
        row["alarm"] = any(row is item for item in named)


def _fdr(rows: Sequence[Row], stream: Stream, before: State) -> State:
    assert stream.alarms.share is not None  # noqa: S101 (the stream file was checked)
    state = ELond(stream.alarms.share, **before)
    for _, same in _tests(rows):
        cutoff = state.cutoff
        for row in same:
            row["statistic"] = -math.log10(max(p_adjusted(row, len(same)), LEAST_P))
            row["threshold"] = -math.log10(cutoff)
        passing = _passing(same, stream)
        state = state.after(rejected=bool(passing))
        _alarm(same, passing)
    return {"tests": state.tests, "rejected": state.rejected}


def _e_detector(rows: Sequence[Row], stream: Stream, keys: int, before: State) -> State:
    run_length = 1.0 / level_per_test(stream, keys)
    states = {
        (key, monitor, target): {name: Detector(tuple(v)) for name, v in subjects.items()}
        for key, monitor, target, subjects in before.get("detectors", [])
    }
    for test, same in _tests(rows):
        detectors = states.setdefault(test, {})
        for row in same:
            p = subject_p(p_adjusted(row, len(same)), len(same))
            detector = detectors.get(row["subject"], Detector())
            detectors[row["subject"]] = detector.after(p)
        value = {name: detector.value for name, detector in detectors.items()}
        enough = run_length * len(value)
        for row in same:
            row["statistic"] = math.log10(max(value[row["subject"]], 1.0))
            row["threshold"] = math.log10(enough)
        passing = _passing(same, stream)
        _alarm(same, passing)
        if passing:
            detectors.clear()
    return {
        "detectors": [
            [*test, {name: list(detector.values) for name, detector in subjects.items()}]
            for test, subjects in states.items()
        ]
    }
