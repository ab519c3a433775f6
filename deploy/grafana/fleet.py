"""The dashboard to begin with: all streams, which of them alarm, and whether their alarms hold."""

from __future__ import annotations

from boards import Board
from panels import Link, Panel, Query

_TO_STREAM = Link("Open the stream", "tidegauge-stream", pick="stream")
_FIRING = 'ALERTS{alertname=~"Tidegauge.+",alertstate="firing"'

STREAMS = (
    Panel(
        "number",
        "Streams",
        "Streams that report, those with an alarm in their latest window, and exporters that do "
        "not answer.",
        "none",
        6,
        [
            Query("count(count by (stream) (tidegauge_windows_closed_total))", "streams"),
            Query("count(max by (stream) (tidegauge_alarm_active) == 1) or vector(0)", "in alarm"),
            Query('count(up{job=~"tidegauge.*"} == 0) or vector(0)', "not answering"),
        ],
    ),
    Panel(
        "number",
        "Alerts firing",
        "Alerts of tidegauge, by how urgent they are.",
        "none",
        4,
        [
            Query(f'count({_FIRING},severity="page"}}) or vector(0)', "page"),
            Query(f'count({_FIRING},severity="ticket"}}) or vector(0)', "ticket"),
        ],
    ),
    Panel(
        "lines",
        "Evidence beyond the threshold",
        "Evidence of drift (-log10 of the p-value) less what it has to pass, of the strongest "
        "monitor of each stream: above 0 is an alarm.",
        "none",
        14,
        [
            Query(
                "max by (stream) (max by (stream, monitor) (tidegauge_drift_log_evidence)"
                " - max by (stream, monitor) (tidegauge_drift_log_evidence_threshold))",
                "{{stream}}",
            )
        ],
        _TO_STREAM,
    ),
)

TABLE = Panel(
    "table",
    "Every stream",
    "One row per stream: what its latest window, its run and its pipeline say.",
    "none",
    24,
    [
        Query(
            "sum by (stream) (max by (stream, monitor) (tidegauge_alarm_active))",
            "monitors in alarm",
        ),
        Query(
            "sum by (stream) (max by (stream, monitor) (tidegauge_episodes_open))", "open shifts"
        ),
        Query("max by (stream) (tidegauge_features_over_threshold)", "features over threshold"),
        Query(
            "max by (stream) (stream_target:tidegauge_interval_misses_per_scored:ratio"
            " / max by (stream, target) (tidegauge_interval_miss_target_ratio))",
            "misses per miss asked for",
        ),
        Query("stream:tidegauge_records_rejected_per_read:ratio", "rejected", "percentunit"),
        Query(
            "time() - max by (stream) (tidegauge_watermark_timestamp_seconds)",
            "age of the latest window",
            "s",
        ),
        Query(
            "time() - max by (stream) (tidegauge_batch_last_success_timestamp_seconds)",
            "since the last success",
            "s",
        ),
    ],
    _TO_STREAM,
)

TRUST = (
    Panel(
        "bars",
        "Alarms per false alarm allowed",
        "Alarms of the run, all monitors together, for each false alarm that the stream file "
        "allows over as many windows. About 1 where nothing happens; far above: real shifts, or a "
        "reference that lacks a season.",
        "none",
        8,
        [
            Query(
                "sum by (stream) (max by (stream, monitor) (tidegauge_alarms_total))"
                " / max by (stream) (tidegauge_false_alarms_allowed > 0)",
                "{{stream}}",
            )
        ],
        _TO_STREAM,
    ),
    Panel(
        "bars",
        "Null sentinel",
        "Alarms on stretches of the reference, which are false, for each that chance explains. "
        "Above 1: the false-alarm rate of the stream does not hold.",
        "none",
        8,
        [
            Query(
                "max by (stream) (tidegauge_sentinel_alarms_total)"
                " / max by (stream) (tidegauge_sentinel_alarms_allowed > 0)",
                "{{stream}}",
            )
        ],
        _TO_STREAM,
    ),
    Panel(
        "bars",
        "Keys in alarm",
        "Share of the stream's keys with an alarm in the latest window.",
        "percentunit",
        8,
        [
            Query(
                "max by (stream) (tidegauge_keys_alarming)"
                " / max by (stream) (tidegauge_keys_tested > 0)",
                "{{stream}}",
            )
        ],
        _TO_STREAM,
    ),
)

BOARD = Board(
    "tidegauge-fleet",
    "tidegauge: all streams",
    "Which streams alarm, and whether their alarms and their pipelines can be relied on.",
    (),
    (("Now", STREAMS), ("Streams", (TABLE,)), ("Do the alarms hold?", TRUST)),
)
