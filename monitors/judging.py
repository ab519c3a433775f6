"""Merged windows in; findings, and all that is told beside them, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from monitors.alarms import sentinel
from monitors.baseline import Baseline
from monitors.baseline_folder import Baselines, Version
from monitors.budget import is_rolled_up
from monitors.due import Due
from monitors.expectations import Validator, suite
from monitors.judge import SEED, judge, judge_all_keys
from monitors.pooling import is_pooled
from monitors.rollup import RollUp, mean_of, named_features, roll_up
from monitors.window import WindowPart
from monitors.window_codec import encode_part
from schemas.records import EVIDENCE, EXPECTATION, FINDING, SENTINEL, SUMMARY, Finding, WindowKey
from schemas.stream import Stream

MAY_ALARM = 0.05  # greatest `p_adjusted` that `fdr` may reject: E-LOND stays far below it


@dataclass(frozen=True, slots=True)
class Judged:
    """What is told of one window."""

    findings: Sequence[Finding]
    summaries: Sequence[dict[str, Any]]  #: rows of SUMMARY
    sentinels: Sequence[dict[str, Any]]  #: rows of SENTINEL
    rolled: RollUp | None  #: what it adds to the test of all keys
    evidence: Sequence[dict[str, Any]] = ()  #: rows of EVIDENCE

    def tables(self) -> dict[str, pa.Table]:
        """Return what is told as tables, by name."""
        return {
            "findings": finding_table(self.findings),
            "summaries": pa.Table.from_pylist(list(self.summaries), SUMMARY),
            "sentinels": pa.Table.from_pylist(list(self.sentinels), SENTINEL),
            "evidence": pa.Table.from_pylist(list(self.evidence), EVIDENCE),
        }


class WindowJudge:
    """Judges windows against the baselines of a folder."""

    def __init__(
        self, stream: Stream, baselines: Path, versions: Sequence[Version] | None = None
    ) -> None:
        """Read which baselines there are, unless that is given."""
        self.stream, self.baselines = stream, Baselines(baselines, versions)
        self._validators: dict[str, Validator] = {}

    def is_of(self, window: WindowKey, baseline_id: str) -> bool:
        """Say whether a window is judged by a baseline.

        Rows near a change of baselines are profiled for both.
        """
        return baseline_id == self.baselines.id_at(micros(window))

    def judge(self, window: WindowKey, baseline_id: str, part: WindowPart, due: Due) -> Judged:
        """Judge one window, or take what was said of it into the test of all keys."""
        baseline = self.baselines.load(baseline_id)
        if not due.judge:
            rolled = self._roll_up(window, part, baseline, due.named, fresh=False)
            return Judged([], [], [], rolled)
        findings = list(judge(baseline, self.stream, window, part, due.revision))
        tested = any(f.status == "tested" and f.monitor == sentinel.MONITOR for f in findings)
        row = None
        if tested and due.named is None:
            row = sentinel.stand_in(baseline, self.stream, window, part.profile.rows, seed=SEED)
        rolled = self._roll_up(window, part, baseline, named_features(findings), fresh=True)
        summaries = part.summary.rows(self.stream.name, window, due.revision)
        evidence = []
        if any(self._may_alarm(finding) for finding in findings):
            evidence = [self._evidence(window, baseline_id, part, due.revision)]
        return Judged(findings, summaries, [] if row is None else [row], rolled, evidence)

    def _may_alarm(self, finding: Finding) -> bool:
        """Say whether a finding alarms, or may do so once it is seen among others."""
        control = self.stream.alarms.control
        if control == "window" or finding.p_adjusted is None:
            return finding.alarm
        # an e-detector adds up windows of which none says much; a revision keeps what was decided
        anything = control == "e-detector" or finding.revision > 0
        return anything or finding.p_adjusted <= MAY_ALARM

    def _evidence(
        self, window: WindowKey, baseline_id: str, part: WindowPart, revision: int
    ) -> dict[str, Any]:
        return {
            "stream": self.stream.name,
            "key": window.key,
            "window_start": window.start,
            "window_end": window.end,
            "window_index": window.index,
            "baseline_id": baseline_id,
            "revision": revision,
            "part": encode_part(part),
        }

    def _roll_up(
        self,
        window: WindowKey,
        part: WindowPart,
        baseline: Baseline,
        named: tuple[str, ...] | None,
        *,
        fresh: bool,
    ) -> RollUp | None:
        """Return what a window adds to all keys together, if it was tested."""
        reference = baseline.reference_of(window.key)
        if named is None or reference is None or not is_rolled_up(self.stream, baseline.keys):
            return None
        mean = None if is_pooled(self.stream) else mean_of(reference.total.gram)
        return roll_up(part.profile, mean, named, baseline.encoder.names, fresh=fresh)

    def judge_all_keys(
        self, window: WindowKey, baseline_id: str, rolled: RollUp, revision: int
    ) -> list[Finding]:
        """Judge one window of all keys together."""
        baseline = self.baselines.load(baseline_id)
        return list(judge_all_keys(baseline, self.stream, window, rolled, revision))

    def expectations(self, baseline_id: str, summaries: Sequence[dict[str, Any]]) -> pa.Table:
        """Check what is expected of windows; of fifty together it costs little more than of one.

        Parameters
        ----------
        summaries : rows of SUMMARY, of windows that are judged by the baseline.
        """
        if baseline_id not in self._validators:
            expected = suite(self.stream, self.baselines.load(baseline_id).summary)
            self._validators[baseline_id] = Validator(expected)
        results = self._validators[baseline_id].validate(summaries)
        return pa.Table.from_pylist(results, EXPECTATION)


def finding_table(findings: Sequence[Finding]) -> pa.Table:
    """Return findings as a table."""
    return pa.Table.from_pylist([finding.as_row() for finding in findings], FINDING)


def micros(window: WindowKey) -> int | None:
    """Return the start of a window in µs since 1970; None where it has none."""
    return None if window.start is None else round(window.start.timestamp() * 1e6)
