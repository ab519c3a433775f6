"""The one module that runs Great Expectations.

It takes seconds to import, which happens when a `Validator` is built. Its traps: contexts are not
thread-safe (bad data pass in silence); a check that crashes is reported as failed data; an
expectation that it cannot read is logged and left out.
"""

from __future__ import annotations

import copy
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from monitors.expectations.checks import CHECKS, frame

_WINDOW = ("stream", "key", "window_start", "window_end", "window_index", "revision")
_NAMED = 10  # failing columns described in words; `columns` names them all


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Great Expectations says about one expectation."""

    meta: Mapping[str, str]  #: as given in the suite
    severity: str  #: critical or warning
    result: str  #: pass, fail, or error: the check itself crashed
    positions: tuple[int, ...] = ()  #: the failing rows of the frame, for a check of rows
    observed: Mapping[str, Any] = field(default_factory=dict)  #: as Great Expectations gives it
    crash: str = ""


class Engine:
    """One Great Expectations context; build one per thread and never share it."""

    def __init__(self) -> None:
        self._gx = _great_expectations()
        context = self._gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
        self._batches = asset.add_batch_definition_whole_dataframe("whole")

    def read(self, suite: Mapping[str, Any]) -> Any:  # noqa: ANN401 (a class imported lazily)
        """Return the ExpectationSuite of a suite in JSON."""
        parsed = self._gx.ExpectationSuite(**copy.deepcopy(dict(suite)))  # it writes into `meta`
        if len(parsed.expectations) != len(suite["expectations"]):
            raise RuntimeError(f"Great Expectations did not take all of suite {suite['name']!r}")
        return parsed

    def run(self, suite: Any, columns: Mapping[str, NDArray[Any]]) -> list[Verdict]:  # noqa: ANN401
        """Check a frame; failed expectations run again, to learn which rows they mean."""
        import pandas as pd

        if not suite.expectations:
            return []
        order = [expectation.meta for expectation in suite.expectations]
        try:
            # Its index is unique, so that the positions of failing rows are right.
            data = pd.DataFrame(dict(columns))
            batch = self._batches.get_batch(batch_parameters={"dataframe": data})
            results = batch.validate(suite, result_format="BOOLEAN_ONLY").results
            found = [_verdict(result) for result in results]
            failed = [verdict.meta for verdict in found if verdict.result == "fail"]
            if failed:
                again = [e.configuration for e in suite.expectations if e.meta in failed]
                again = self._gx.ExpectationSuite(suite.name, expectations=again)
                found = [verdict for verdict in found if verdict.result != "fail"]
                results = batch.validate(again, result_format="COMPLETE").results
                found += [_verdict(result) for result in results]
        except Exception as error:  # noqa: BLE001 (that the checker crashed is its result)
            crash = f"{type(error).__name__}: {error}"
            return [
                Verdict(e.meta, e.severity.value, "error", crash=crash) for e in suite.expectations
            ]
        return sorted(found, key=lambda verdict: order.index(dict(verdict.meta)))


class Validator:
    """Checks the summaries of windows against one suite; build one per thread (in `setup`)."""

    def __init__(self, suite: Mapping[str, Any]) -> None:
        self._bounds: Mapping[str, Mapping[str, float]] = suite["meta"]["bounds"]
        self._engine = Engine()
        self._suite = self._engine.read(suite)

    def validate(self, summary_rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Check the summaries of one or more windows.

        Parameters
        ----------
        summary_rows : rows of `schemas.records.SUMMARY`
            Many windows in one call cost little more than one.

        Returns
        -------
        list of rows of `schemas.records.EXPECTATION`
            One per window and expectation: pass; fail, with the failing columns; or error, when the
            check crashed and says nothing about the data.
        """
        if not summary_rows:
            return []
        columns = frame(summary_rows, self._bounds)
        windows: dict[tuple[Any, ...], set[int]] = {}
        for position, row in enumerate(summary_rows):
            windows.setdefault(tuple(row[name] for name in _WINDOW), set()).add(position)
        verdicts = self._engine.run(self._suite, columns)
        return [
            dict(zip(_WINDOW, window, strict=True)) | _in_window(verdict, columns, positions)
            for window, positions in windows.items()
            for verdict in verdicts
        ]


def _in_window(
    verdict: Verdict, columns: Mapping[str, NDArray[Any]], positions: set[int]
) -> dict[str, Any]:
    """Return what a verdict over many windows says about the window at these rows of the frame."""
    failing = [
        {name: column[position] for name, column in columns.items()}
        for position in verdict.positions
        if position in positions
    ]
    elsewhere = verdict.positions and not failing  # it failed in other windows only
    result = "pass" if elsewhere else verdict.result
    details = [CHECKS[verdict.meta["name"]].says.format(**row) for row in failing[:_NAMED]]
    if len(failing) > _NAMED:
        details.append(f"and {len(failing) - _NAMED} more columns")
    return {
        "expectation": verdict.meta["name"],
        "severity": verdict.severity,
        "result": result,
        "columns": [row["column"] for row in failing],
        "detail": f"the check crashed: {verdict.crash}" if verdict.crash else "; ".join(details),
    }


def _verdict(result: Any) -> Verdict:  # noqa: ANN401 (a class imported lazily)
    config = result.expectation_config
    crash = _crash(result.exception_info)
    if crash is not None:
        return Verdict(config.meta, config.severity.value, "error", crash=crash)
    observed = result.result
    positions = tuple(int(position) for position in observed.get("unexpected_index_list") or ())
    outcome = "pass" if result.success else "fail"
    return Verdict(config.meta, config.severity.value, outcome, positions, observed)


def _crash(info: Mapping[str, Any]) -> str | None:
    """Return the message of an exception inside a check: on its own, or one per metric."""
    reports = [info] if "raised_exception" in info else list(info.values())
    for report in reports:
        if report["raised_exception"]:
            return str(report["exception_message"])
    return None


def _great_expectations() -> ModuleType:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # older 1.x send usage statistics
    if "great_expectations" not in sys.modules:  # changing the filters is not thread-safe: once
        with warnings.catch_warnings():
            # It imports modules of the standard library that retired in Python 3.11.
            warnings.filterwarnings("ignore", r"module 'sre_\w+' is deprecated", DeprecationWarning)
            import great_expectations  # noqa: F401 (returned below)
    return sys.modules["great_expectations"]
