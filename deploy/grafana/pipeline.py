"""The dashboard of a stream's pipeline: what became of the rows, and does it keep up."""

from __future__ import annotations

from boards import STREAM, Board
from panels import Panel, Query

S = 'stream="$stream"'
LIVE = f'{S},job="tidegauge-stream"'  # the job of streams that are followed: see Prometheus's rules

QUALITY = (
    Panel(
        "number",
        "Rows lost to the monitors",
        "Share of the run's rows that could not be used, and that came too late; the former are "
        "in its rejects.",
        "percentunit",
        4,
        [
            Query(f"stream:tidegauge_records_rejected_per_read:ratio{{{S}}}", "rejected"),
            Query(
                f'max(tidegauge_records_total{{{S},outcome="late"}})'
                f" / sum(max by (outcome) (tidegauge_records_total{{{S}}}))",
                "late",
            ),
        ],
    ),
    Panel(
        "bars",
        "Rejected rows by reason",
        "Rows of the run that could not be used, by what was wrong with them.",
        "none",
        10,
        [Query(f"max by (reason) (tidegauge_dead_letters_total{{{S}}})", "{{reason}}")],
    ),
    Panel(
        "table",
        "Expectations",
        "Expectations checked on the windows of the run, by severity and result.",
        "none",
        10,
        [
            Query(
                f"max by (severity, result) (tidegauge_contract_checks_total{{{S}}})",
                "checks",
            )
        ],
    ),
)

HEALTH = (
    Panel(
        "lines",
        "Age",
        "Since the end of the latest window in event time, and since the last run and the last "
        "results.",
        "s",
        10,
        [
            Query(f"time() - max(tidegauge_watermark_timestamp_seconds{{{S}}})", "latest window"),
            Query(
                f"time() - max(tidegauge_batch_last_success_timestamp_seconds{{{S}}})",
                "last success",
            ),
            Query(
                f"time() - max(tidegauge_batch_last_completion_timestamp_seconds{{{S}}})",
                "last completion",
            ),
            Query(
                f"time() - max(tidegauge_last_commit_timestamp_seconds{{{S}}})",
                "last commit",
            ),
        ],
    ),
    Panel(
        "bars",
        "Rows of the run",
        "Rows read by the run, by what became of them.",
        "none",
        6,
        [Query(f"max by (outcome) (tidegauge_records_total{{{S}}})", "{{outcome}}")],
    ),
    Panel(
        "number",
        "Run and window",
        "How long the run took, and the length of a window.",
        "s",
        4,
        [
            Query(f"max(tidegauge_batch_duration_seconds{{{S}}})", "run"),
            Query(f"max(tidegauge_window_length_seconds{{{S}}})", "window"),
        ],
    ),
    Panel(
        "table",
        "Baseline",
        "What the run was compared with.",
        "none",
        4,
        [Query(f"max by (baseline) (tidegauge_baseline_info{{{S}}})", "in use")],
    ),
)

FOLLOWED = (
    Panel(
        "lines",
        "Rows per second",
        "Rows that became used, rejected or late. Only streams that Prometheus scrapes as the job "
        "tidegauge-stream: the counters of others begin anew with each run.",
        "rowsps",
        8,
        [
            Query(
                f"sum by (outcome) (rate(tidegauge_records_total{{{LIVE}}}[$__rate_interval]))",
                "{{outcome}}",
            )
        ],
    ),
    Panel(
        "lines",
        "Late rows",
        "Share of the rows of the last hour that came after their window was done with: later "
        "than `allowed_lateness` of the stream file.",
        "percentunit",
        5,
        [Query(f"stream:tidegauge_records_late_per_read:ratio_increase1h{{{S}}}", "late")],
    ),
    Panel(
        "lines",
        "Windows closed per hour",
        "Those of every key. It falls to 0 when the watermark stands still.",
        "none",
        5,
        [Query(f"sum(increase(tidegauge_windows_closed_total{{{LIVE}}}[1h]))", "windows")],
    ),
    Panel(
        "number",
        "Commits and revisions",
        "Micro-batches committed, and findings that late rows have revised.",
        "none",
        6,
        [
            Query(f"max(tidegauge_ticks_total{{{S}}})", "committed"),
            Query(f"max(tidegauge_findings_revised_total{{{S}}})", "revised"),
        ],
    ),
)

BOARD = Board(
    "tidegauge-pipeline",
    "tidegauge: pipeline health",
    "What became of the rows of a stream, how fresh its windows are, and whether it keeps up.",
    (STREAM,),
    (("Data quality", QUALITY), ("Runs and windows", HEALTH), ("Followed streams", FOLLOWED)),
)
