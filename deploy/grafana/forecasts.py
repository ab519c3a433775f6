"""The dashboard of a stream's forecasts: do the intervals hold what they promise, at what width."""

from __future__ import annotations

from boards import STREAM, Board, Variable
from panels import Panel, Query

S = 'stream="$stream"'
T = f'{S},target=~"$target"'
LIVE = f'{T},job="tidegauge-stream"'  # the job of streams that are followed: see Prometheus's rules

COVERAGE = (
    Panel(
        "lines",
        "Misses per scored forecast",
        "Share of outcomes outside the calibrated interval, over the run, and the share "
        "that the stream file asks for. Above it: intervals too narrow. Below: too wide.",
        "percentunit",
        12,
        [
            Query(
                "max by (target) "
                f"(stream_target:tidegauge_interval_misses_per_scored:ratio{{{T}}})",
                "{{target}}",
            ),
            Query(
                f"max by (target) (tidegauge_interval_miss_target_ratio{{{T}}})",
                "{{target}} asked for",
            ),
        ],
    ),
    Panel(
        "lines",
        "Misses in the last 6 hours, of a followed stream",
        "The same over the outcomes that became known in the last 6 hours. Only streams that "
        "Prometheus scrapes as the job tidegauge-stream: the counters of others begin anew.",
        "percentunit",
        12,
        [
            Query(
                f"sum by (target) (increase(tidegauge_interval_misses_total{{{LIVE}}}[6h]))"
                " / sum by (target) "
                f"(increase(tidegauge_intervals_scored_total{{{LIVE}}}[6h]) > 0)",
                "{{target}}",
            )
        ],
    ),
    Panel(
        "bars",
        "Misses by side",
        "Outcomes below and above the interval; about as many of each when calibrated.",
        "none",
        12,
        [
            Query(
                f"max by (target, side) (tidegauge_interval_misses_total{{{T}}})",
                "{{target}} {{side}}",
            )
        ],
    ),
    Panel(
        "bars",
        "Outcomes",
        "Forecasts of the run whose outcome is known. Shares of few of them say little.",
        "none",
        12,
        [Query(f"max by (target) (tidegauge_intervals_scored_total{{{T}}})", "{{target}}")],
    ),
)

SHARPNESS = (
    Panel(
        "lines",
        "Mean interval width",
        "In the target's unit: calibration bought by width shows here.",
        "none",
        12,
        [
            Query(
                f"max by (target) (tidegauge_interval_width_sum{{{T}}})"
                f" / max by (target) (tidegauge_interval_width_count{{{T}}} > 0)",
                "{{target}}",
            )
        ],
    ),
    Panel(
        "lines",
        "Evidence of the forecast monitors",
        "Evidence that the forecasts of the latest window no longer fit their outcomes, or that a "
        "feature adds something else to them (attributions), and what it has to pass to raise an "
        "alarm.",
        "none",
        12,
        [
            Query(
                "max by (monitor) (tidegauge_drift_log_evidence"
                f'{{{S},monitor=~"coverage|pinball|pit|attributions"}})',
                "{{monitor}}",
            ),
            Query(
                "max by (monitor) (tidegauge_drift_log_evidence_threshold"
                f'{{{S},monitor=~"coverage|pinball|pit|attributions"}})',
                "{{monitor}} threshold",
            ),
        ],
    ),
)

BOARD = Board(
    "tidegauge-forecasts",
    "tidegauge: forecast calibration",
    "Whether the intervals of a stream's forecasts hold what they promise, and at what width.",
    (STREAM, Variable("target", 'tidegauge_intervals_scored_total{stream="$stream"}', True)),
    (("Coverage", COVERAGE), ("Sharpness and evidence", SHARPNESS)),
)
