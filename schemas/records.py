"""The records that cross folder borders, as Arrow schemas with versions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

RECORDS_VERSION = 1

_UTC = pa.timestamp("us", tz="UTC")


def _schema(name: str, fields: list[pa.Field]) -> pa.Schema:
    return pa.schema(
        fields, metadata={"tidegauge.record": name, "tidegauge.version": str(RECORDS_VERSION)}
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one source file, as they travel through the pipeline."""

    table: pa.Table
    path: str
    first_row: int  #: position in the file of the first row, counting from 0
    #: newest event time of a topic's partition before these rows, in µs since 1970
    latest: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows one file gave, how many of them were rejected or came too late."""

    path: str
    rows: int
    rejected: int
    late: int = 0
    latest: int | None = None  #: largest event time of the rows used, in µs since 1970

    def __add__(self, other: Tally) -> Tally:
        """Add up two tallies of one file."""
        known = [at for at in (self.latest, other.latest) if at is not None]
        return Tally(
            self.path,
            self.rows + other.rows,
            self.rejected + other.rejected,
            self.late + other.late,
            max(known, default=None),
        )


@dataclass(frozen=True, slots=True)
class WindowKey:
    """One window of one key: what a finding, a summary or a profile is about."""

    key: str  #: JSON object of the key columns, "{}" when the stream has no key
    start: datetime | None  #: event time (UTC); None for windows counted in rows
    end: datetime | None
    index: int | None = None  #: ordinal of a window counted in rows


@dataclass(frozen=True, slots=True)
class Finding:
    """What one monitor says about one subject in one window."""

    stream: str
    key: str
    window_start: datetime | None
    window_end: datetime | None
    window_index: int | None
    monitor: str  #: feature_shift, coverage, pinball, pit, or a marginal monitor
    method: str
    subject: str  #: a feature, or the target of a forecast
    status: str  #: tested, or not_tested (then the explanation says why)
    statistic: float | None
    threshold: float | None
    p_value: float | None  #: of this subject alone; the threshold accounts for all of them
    effect: float | None
    alarm: bool
    rank: int | None  #: in its window and monitor; 1 = moved most
    explanation: str
    rows: int  #: rows of the window that the monitor used
    baseline_id: str
    revision: int = 0
    p_adjusted: float | None = None  #: least level of the whole test at which this subject alarms
    kind: str | None = None  #: of change: a `monitors.explain.diagnosis.Kind`
    since: datetime | None = None  #: when within the window it began (UTC), where that can be told

    @property
    def id(self) -> str:
        """Twenty hex digits of the hash of what the finding is about, not of what it says."""
        about = [
            self.stream,
            self.key,
            None if self.window_start is None else self.window_start.isoformat(),
            None if self.window_end is None else self.window_end.isoformat(),
            self.window_index,
            self.monitor,
            self.subject,
        ]
        return hashlib.blake2b(json.dumps(about).encode(), digest_size=10).hexdigest()

    def as_row(self) -> dict[str, object]:
        """Return the finding as a row of `FINDING`."""
        return {"id": self.id} | {field.name: getattr(self, field.name) for field in fields(self)}


def not_tested(shared: dict[str, Any], subject: str, reason: str) -> Finding:
    """Return the finding that a subject was not tested, and why; `shared` are its other fields."""
    return Finding(
        **shared,
        subject=subject,
        status="not_tested",
        statistic=None,
        threshold=None,
        p_value=None,
        effect=None,
        alarm=False,
        rank=None,
        explanation=reason,
    )


FINDING = _schema(
    "finding",
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("stream", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("window_start", _UTC),
        pa.field("window_end", _UTC),
        pa.field("window_index", pa.int64()),
        pa.field("monitor", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("statistic", pa.float64()),
        pa.field("threshold", pa.float64()),
        pa.field("p_value", pa.float64()),
        pa.field("effect", pa.float64()),
        pa.field("alarm", pa.bool_(), nullable=False),
        pa.field("rank", pa.int64()),
        pa.field("explanation", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("baseline_id", pa.string(), nullable=False),
        pa.field("revision", pa.int64(), nullable=False),
        pa.field("p_adjusted", pa.float64()),
        pa.field("kind", pa.string()),
        pa.field("since", _UTC),
    ],
)

#: One row per shift: the windows in a row in which one monitor alarmed about one subject.
EPISODE = _schema(
    "episode",
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("stream", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("monitor", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("start", _UTC),  # of the first alarm's window; null for windows counted in rows
        pa.field("end", _UTC),  # of the last window above the release threshold
        pa.field("start_index", pa.int64()),
        pa.field("end_index", pa.int64()),
        pa.field("open", pa.bool_(), nullable=False),
        pa.field("windows", pa.int64(), nullable=False),  # above the release threshold
        pa.field("alarms", pa.int64(), nullable=False),  # windows among them with an alarm
        pa.field("peak", pa.float64(), nullable=False),  # largest statistic
        pa.field("effect", pa.float64()),  # mean so far, weighted by the statistic
        pa.field("latest_effect", pa.float64()),
        pa.field("finding_id", pa.string(), nullable=False),  # of the peak
        pa.field("explanation", pa.string(), nullable=False),  # of the peak
        pa.field("baseline_id", pa.string(), nullable=False),
        pa.field("kind", pa.string()),  # of the first alarm
        pa.field("since", _UTC),  # of the first alarm
    ],
)

#: One row per tested window: a stretch of the reference tested as if it were that window.
SENTINEL = _schema(
    "sentinel",
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("window_start", _UTC),  # of the window whose turn it was
        pa.field("window_end", _UTC),
        pa.field("window_index", pa.int64()),
        pa.field("monitor", pa.string(), nullable=False),
        pa.field("block", pa.int64(), nullable=False),  # where the stretch begins
        pa.field("blocks", pa.int64(), nullable=False),  # how long it is
        pa.field("statistic", pa.float64(), nullable=False),
        pa.field("threshold", pa.float64(), nullable=False),
        pa.field("level", pa.float64(), nullable=False),  # probability of an alarm
        pa.field("alarm", pa.bool_(), nullable=False),  # a false one: nothing changed
        pa.field("baseline_id", pa.string(), nullable=False),
    ],
)

#: One row per (stream, key, target, valid time): calibrated quantiles and, once known, the outcome.
FORECAST = _schema(
    "forecast",
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("issue_time", _UTC),
        pa.field("valid_time", _UTC),
        pa.field("levels", pa.list_(pa.float64()), nullable=False),
        pa.field("quantiles", pa.list_(pa.float64()), nullable=False),
        pa.field("lower", pa.float64(), nullable=False),  # ends of the calibrated interval
        pa.field("upper", pa.float64(), nullable=False),
        pa.field("outcome", pa.float64()),
        pa.field("model_id", pa.string(), nullable=False),
        pa.field("calibration", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ],
)

#: One row per (forecast, outcome that came after its row): nothing that was written is rewritten.
OUTCOME = _schema(
    "outcome",
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("issue_time", _UTC),
        pa.field("valid_time", _UTC),
        pa.field("outcome", pa.float64(), nullable=False),
        pa.field("known_at", _UTC, nullable=False),
        pa.field("revision", pa.int64(), nullable=False),  # 0: the first outcome of the forecast
        pa.field("lower", pa.float64(), nullable=False),  # as the forecast said
        pa.field("upper", pa.float64(), nullable=False),
        pa.field("model_id", pa.string(), nullable=False),  # with path and row: which forecast
        pa.field("path", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ],
)

#: One row per row that could not be used.
REJECT = _schema(
    "reject",
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("row", pa.int64()),  # position in the file, counting from 0, where it is known
        pa.field("reason", pa.string(), nullable=False),  # a code such as `type`, `range`, `ragged`
        pa.field("column", pa.string()),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("raw", pa.string(), nullable=False),  # the row as JSON, or the raw line
    ],
)

#: One row per (window, column): what a window's rows look like, and the input of the expectations.
SUMMARY = _schema(
    "summary",
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("window_start", _UTC),
        pa.field("window_end", _UTC),
        pa.field("window_index", pa.int64()),
        pa.field("column", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("nulls", pa.int64(), nullable=False),
        pa.field("null_rate", pa.float64(), nullable=False),
        pa.field("min", pa.float64()),
        pa.field("max", pa.float64()),
        pa.field("mean", pa.float64()),
        pa.field("std", pa.float64()),
        pa.field("new_values", pa.int64()),  # categories: rows with a value the reference never had
        pa.field("revision", pa.int64(), nullable=False),
    ],
)

#: One row per expectation checked by Great Expectations.
EXPECTATION = _schema(
    "expectation",
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("window_start", _UTC),
        pa.field("window_end", _UTC),
        pa.field("window_index", pa.int64()),
        pa.field("expectation", pa.string(), nullable=False),
        pa.field("severity", pa.string(), nullable=False),
        pa.field("result", pa.string(), nullable=False),  # pass, fail or error
        pa.field("columns", pa.list_(pa.string()), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("revision", pa.int64(), nullable=False),
    ],
)

#: One row per window in which something alarmed: what its findings can be explained with.
EVIDENCE = _schema(
    "evidence",
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("window_start", _UTC),
        pa.field("window_end", _UTC),
        pa.field("window_index", pa.int64()),
        pa.field("baseline_id", pa.string(), nullable=False),
        pa.field("revision", pa.int64(), nullable=False),
        pa.field("part", pa.large_binary(), nullable=False),  # see `monitors.window_codec`
    ],
)

#: Everything a run may write, by the name of its folder.
RECORDS: dict[str, pa.Schema] = {
    "findings": FINDING,
    "forecasts": FORECAST,
    "outcomes": OUTCOME,
    "rejects": REJECT,
    "summaries": SUMMARY,
    "expectations": EXPECTATION,
    "episodes": EPISODE,
    "sentinels": SENTINEL,
    "evidence": EVIDENCE,
}
