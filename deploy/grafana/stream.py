"""The dashboard of one stream: does it alarm, is that more than the budget, and where to look."""

from __future__ import annotations

from boards import STREAM, Board
from panels import Link, Page, Panel, Query

S = 'stream="$stream"'

STATE = (
    Panel(
        "number",
        "Alarms now",
        "Monitors whose latest window raised an alarm: 1 is an alarm.",
        "none",
        6,
        [Query(f"max by (monitor) (tidegauge_alarm_active{{{S}}})", "{{monitor}}")],
    ),
    Panel(
        "lines",
        "Evidence and threshold",
        "Evidence of drift (-log10 of the p-value) of the strongest subject of the latest "
        "window, by monitor, and what it has to pass to raise an alarm.",
        "none",
        12,
        [
            Query(f"max by (monitor) (tidegauge_drift_log_evidence{{{S}}})", "{{monitor}}"),
            Query(
                f"max by (monitor) (tidegauge_drift_log_evidence_threshold{{{S}}})",
                "{{monitor}} threshold",
            ),
        ],
    ),
    Panel(
        "number",
        "Alarms of this run, and the budget",
        "Windows of the run with an alarm, all monitors together, beside the false alarms "
        "that the stream file allows over as many windows.",
        "none",
        6,
        [
            Query(f"sum(max by (monitor) (tidegauge_alarms_total{{{S}}}))", "alarms"),
            Query(f"max(tidegauge_false_alarms_allowed{{{S}}})", "false alarms allowed"),
            Query(f"max(tidegauge_windows_closed_total{{{S}}})", "windows"),
        ],
    ),
    Panel(
        "number",
        "Shifts",
        "Episodes: shifts of one subject, however many windows each lasted; those that "
        "began in the run, and those that have not ended.",
        "none",
        8,
        [
            Query(f"sum(max by (monitor) (tidegauge_episodes_total{{{S}}}))", "of this run"),
            Query(f"sum(max by (monitor) (tidegauge_episodes_open{{{S}}}))", "open"),
        ],
    ),
    Panel(
        "number",
        "Null sentinel",
        "Stretches of the reference tested as if they were windows: every alarm there is "
        "false. More than allowed: the false-alarm rate does not hold.",
        "none",
        8,
        [
            Query(f"max(tidegauge_sentinel_tests_total{{{S}}})", "tested"),
            Query(f"max(tidegauge_sentinel_alarms_total{{{S}}})", "alarms"),
            Query(f"max(tidegauge_sentinel_alarms_allowed{{{S}}})", "allowed"),
        ],
    ),
    Panel(
        "number",
        "Keys",
        "Keys of the latest window with a feature tested for drift, and with an alarm.",
        "none",
        8,
        [
            Query(f"max(tidegauge_keys_tested{{{S}}})", "tested"),
            Query(f"max(tidegauge_keys_alarming{{{S}}})", "alarming"),
        ],
    ),
)

WHERE = (
    Panel(
        "table",
        "Alarms in words",
        "The strongest alarms of the latest window: which sensor, how, since when. A click opens "
        "the finding's page, where one is served: what it read and should have read, what it "
        "cost, and what to check.",
        "none",
        24,
        [
            Query(
                "max by (monitor, subject, key, explanation, since, page) "
                f"(tidegauge_alarm_info{{{S}}})",
                "alarms",
            )
        ],
        Page("Open the finding", "page"),
    ),
    Panel(
        "bars",
        "Strongest features",
        "Evidence of drift of the strongest features of the latest window. All features "
        "are in the findings of the run folder.",
        "none",
        10,
        [
            Query(
                f"sort_desc(topk(10, max by (feature) (tidegauge_feature_drift_top_score{{{S}}})))",
                "{{feature}}",
            )
        ],
        Link("Open the feature", "tidegauge-features", ("stream",), "feature"),
    ),
    Panel(
        "bars",
        "Misses per miss asked for",
        "Outcomes outside their interval, for each that the stream file asks for. Above 1: "
        "intervals too narrow. Below: too wide.",
        "none",
        8,
        [
            Query(
                "max by (target) (stream_target:tidegauge_interval_misses_per_scored:ratio"
                f"{{{S}}}) / max by (target) (tidegauge_interval_miss_target_ratio{{{S}}})",
                "{{target}}",
            )
        ],
        Link("Open the forecasts", "tidegauge-forecasts", ("stream",), "target"),
    ),
    Panel(
        "number",
        "Data and pipeline",
        "Share of the rows rejected, and how old the end of the latest window is.",
        "none",
        6,
        [
            Query(f"100 * stream:tidegauge_records_rejected_per_read:ratio{{{S}}}", "rejected (%)"),
            Query(
                f"(time() - max(tidegauge_watermark_timestamp_seconds{{{S}}})) / 3600",
                "age (hours)",
            ),
        ],
        Link("Open the pipeline", "tidegauge-pipeline", ("stream",)),
    ),
)

BOARD = Board(
    "tidegauge-stream",
    "tidegauge: one stream",
    "Whether a stream alarms, whether that is more than its budget, and where to look.",
    (STREAM,),
    (("State of the stream", STATE), ("Where to look", WHERE)),
)
