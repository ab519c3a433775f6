"""Tidegauge: `check` with its defaults, types guessed from the rows."""

from __future__ import annotations

import pyarrow as pa

from benchmarks.peers.decision import LEVEL, Decision
from monitors.check import check
from transforms.tables import typed_table

PACKAGES = ("tidegauge", "numpy", "scipy", "polars", "pyarrow")


def compare(reference: pa.Table, current: pa.Table) -> dict[str, Decision]:
    """Call `check`."""
    before, columns = typed_table(reference)
    now, _ = typed_table(current, columns)
    result = check(before, now, columns, false_alarm_rate=LEVEL)
    named = [finding.subject for finding in result.findings if finding.alarm]
    return {"tidegauge check": Decision.by_names(named)}
