"""Every metric of the project: the exporter, the dashboards, the alert rules and the docs read it.

All of them describe one run: the counters count from its start and begin again with the next run,
so a query reads their value or a ratio of two, not a rate across runs. A stream that is followed is
one run that goes on: its counters never go down, and what late rows revise counts anew. Keys of a
stream are added up, or their strongest evidence is taken: a metric has no key label, and so the
number of series does not grow with the data. Only the top features of the latest window have a
series of their own, and its strongest alarms one each that names key and feature; it goes with its
window.

What is read from a topic of findings has no forecasts, rows, expectations, episodes, sentinel or
batch: those metrics are absent. Its counters begin at the oldest finding that the topic still has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "tidegauge_"
Kind = Literal["counter", "gauge", "histogram", "summary"]

TOP_FEATURES = 20  # features with a series of their own; the findings hold all of them
TOP_ALARMS = 5  # alarms that are told in words


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str  #: as a query writes it, without the suffixes of a histogram or a summary
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str

    @property
    def series(self) -> tuple[str, ...]:
        """Return the names of its series."""
        suffixes = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
        return tuple(self.name + suffix for suffix in suffixes.get(self.kind, ("",)))


def _metric(name: str, kind: Kind, unit: str, labels: str, text: str) -> Metric:
    return Metric(PREFIX + name, kind, unit, tuple(f"stream {labels}".split()), text)


CATALOGUE: tuple[Metric, ...] = (
    # the state of the stream
    _metric(
        "alarms_total",
        "counter",
        "windows",
        "monitor",
        "Windows (of one key) of this run in which the monitor raised an alarm, "
        "revised later or not.",
    ),
    _metric(
        "alarm_active",
        "gauge",
        "0 or 1",
        "monitor",
        "1 if the monitor raised an alarm, for any key, in its latest window.",
    ),
    _metric(
        "alarm_info",
        "gauge",
        "always 1",
        "monitor rank key subject kind since finding explanation page",
        f"An alarm of the latest window in words: the strongest {TOP_ALARMS}, the first of each "
        "monitor first. `rank` counts within a monitor; `page` is the address of the finding's "
        "page, where one is served.",
    ),
    _metric(
        "episodes_total",
        "counter",
        "episodes",
        "monitor",
        "Shifts of one subject that began in this run, however many windows each lasted.",
    ),
    _metric(
        "episodes_open",
        "gauge",
        "episodes",
        "monitor",
        "Shifts of this run that have not ended.",
    ),
    _metric(
        "false_alarms_allowed",
        "gauge",
        "alarms",
        "",
        "False alarms that the stream file allows over the windows of this run.",
    ),
    _metric(
        "drift_log_evidence",
        "gauge",
        "log10",
        "monitor",
        "Evidence of drift (-log10 of the p-value) of the strongest subject of the latest window.",
    ),
    _metric(
        "drift_log_evidence_threshold",
        "gauge",
        "log10",
        "monitor",
        "Evidence that this subject has to pass to raise an alarm.",
    ),
    # does the false-alarm rate hold?
    _metric(
        "sentinel_tests_total",
        "counter",
        "tests",
        "",
        "Stretches of the reference, each counted once, that this run tested like windows.",
    ),
    _metric(
        "sentinel_alarms_total",
        "counter",
        "tests",
        "",
        "Those of them that alarmed: false alarms, since nothing changed.",
    ),
    _metric(
        "sentinel_alarms_allowed",
        "gauge",
        "tests",
        "",
        "What these exceed with a probability of 0.001 when the false-alarm rate is as asked for.",
    ),
    # which features
    _metric(
        "feature_drift_score",
        "histogram",
        "log10",
        "",
        "Evidence of drift (-log10 of the p-value) of every tested feature in every window, "
        "revisions included.",
    ),
    _metric(
        "feature_drift_top_score",
        "gauge",
        "log10",
        "feature",
        "Evidence of drift of a feature in the latest window: "
        f"the {TOP_FEATURES} strongest, and those asked for by name.",
    ),
    _metric(
        "keys_tested",
        "gauge",
        "keys",
        "",
        "Keys with a feature tested for drift in the latest window.",
    ),
    _metric(
        "keys_alarming",
        "gauge",
        "keys",
        "",
        "Keys of the latest window in which a feature alarmed.",
    ),
    _metric(
        "features_tested",
        "gauge",
        "features",
        "",
        "Features tested for drift in the latest window.",
    ),
    _metric(
        "features_over_threshold",
        "gauge",
        "features",
        "",
        "Features of the latest window whose evidence passes its threshold.",
    ),
    _metric(
        "feature_series_dropped",
        "gauge",
        "features",
        "",
        "Tested features of the latest window that have no series of their own.",
    ),
    # forecast calibration
    _metric(
        "intervals_scored_total",
        "counter",
        "forecasts",
        "target",
        "Forecasts of this run whose outcome is known.",
    ),
    _metric(
        "interval_misses_total",
        "counter",
        "forecasts",
        "target side",
        "Scored forecasts whose outcome lies below or above the calibrated interval.",
    ),
    _metric(
        "interval_miss_target_ratio",
        "gauge",
        "ratio",
        "target",
        "Share of misses that the stream file asks for: 1 minus the interval's nominal coverage.",
    ),
    _metric(
        "interval_width",
        "summary",
        "the target's unit",
        "target",
        "Width of the calibrated interval of every scored forecast.",
    ),
    # data quality
    _metric(
        "records_total",
        "counter",
        "rows",
        "outcome",
        "Rows read by this run, by what became of them: used, rejected or late.",
    ),
    _metric(
        "dead_letters_total",
        "counter",
        "rows",
        "reason",
        "Rejected rows of this run, by reason.",
    ),
    _metric(
        "contract_checks_total",
        "counter",
        "checks",
        "severity result",
        "Expectations checked on the windows of this run, revised ones anew: pass, fail or error.",
    ),
    # pipeline health
    _metric(
        "windows_closed_total",
        "counter",
        "windows",
        "",
        "Windows that this run closed, those of every key.",
    ),
    _metric(
        "watermark_timestamp_seconds",
        "gauge",
        "seconds since 1970, event time",
        "",
        "Event time up to which a followed stream has come; else the end of the latest closed "
        "window, and none for windows counted in rows.",
    ),
    _metric(
        "window_length_seconds",
        "gauge",
        "seconds",
        "",
        "Length of a window; none for windows counted in rows.",
    ),
    _metric(
        "findings_revised_total",
        "counter",
        "findings",
        "",
        "Findings of this run that revise an earlier one, because late rows came in.",
    ),
    _metric(
        "ticks_total",
        "counter",
        "micro-batches",
        "",
        "Micro-batches that this run has committed; 1 for a run of one go.",
    ),
    _metric(
        "last_commit_timestamp_seconds",
        "gauge",
        "seconds since 1970",
        "",
        "When results were last committed: to the run folder, or to the topic of findings.",
    ),
    _metric(
        "batch_last_success_timestamp_seconds",
        "gauge",
        "seconds since 1970",
        "",
        "When the last successful run finished.",
    ),
    _metric(
        "batch_last_completion_timestamp_seconds",
        "gauge",
        "seconds since 1970",
        "",
        "When the last run finished, successful or not.",
    ),
    _metric(
        "batch_duration_seconds",
        "gauge",
        "seconds",
        "",
        "How long the last successful run took.",
    ),
    _metric(
        "baseline_info",
        "gauge",
        "always 1",
        "baseline",
        "The baseline that the run compared with.",
    ),
)


def to_markdown() -> str:
    """Return the page docs/metrics.md."""
    about = (__doc__ or "").split("\n\n", 1)[1].strip()
    lines = [
        "# Metrics",
        "",
        "<!-- Generated by `python -m monitors.catalogue > docs/metrics.md`. -->",
        "",
        about,
        "",
        "| metric | type | unit | labels | meaning |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{metric.name}` | {metric.kind} | {metric.unit} "
        f"| {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        for metric in CATALOGUE
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(to_markdown(), end="")  # noqa: T201 (that is its result)
