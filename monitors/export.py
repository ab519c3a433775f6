"""Turns a run into Prometheus metrics: families, a text file, a push. Nothing but the run is read.

The numbers are a view of the run's tables. Reading a run twice gives the same numbers, so that an
exporter may be killed and started again without counting anything twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import polars as pl
from prometheus_client import Metric as Family
from prometheus_client import generate_latest, push_to_gateway, pushadd_to_gateway
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from monitors.alarm_series import alarm_series
from monitors.alarms.sentinel import alarms_allowed
from monitors.budget import false_alarms_allowed, forecast_monitors
from monitors.catalogue import CATALOGUE, PREFIX, TOP_FEATURES, Metric
from monitors.findings_tally import SCORE_BUCKETS, FindingsView
from monitors.rollup import ALL_KEYS
from monitors.snapshot import RunSnapshot
from schemas.errors import OutputError
from schemas.stream import Stream

_TIMEOUT = 10.0  # seconds for the Pushgateway to answer: a run waits for it
_SEVERITIES = ("critical", "warning", "info")
_RESULTS = ("pass", "fail", "error")
_FAMILY_OF_KIND = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
    "summary": SummaryMetricFamily,
}

#: A number; buckets and sum of a histogram; count and sum of a summary.
Value = float | tuple[list[tuple[str, float]], float] | tuple[int, float]


def collect(snapshot: RunSnapshot, allow: Collection[str] = (), *, pages: str = "") -> list[Family]:
    """Return the metric families of a run, in the catalogue's order.

    Parameters
    ----------
    allow : features that have a series of their own whatever their score.
    pages : address of the pages of findings, up to their id; empty where none are served.
    """
    stream = Stream.model_validate(snapshot.manifest["stream"])
    series = chain(
        _findings(snapshot.found, stream, allow),
        alarm_series(snapshot.found, _monitors_on(stream), pages),
        _episodes(snapshot, stream),
        _sentinel(snapshot, stream),
        _forecasts(snapshot, stream),
        _quality(snapshot, stream),
        _health(snapshot),
        _time("watermark_timestamp_seconds", snapshot.watermark),
    )
    return _families(stream, series)


def collect_findings(
    found: FindingsView,
    stream: Stream,
    allow: Collection[str] = (),
    *,
    closed: int,
    committed: datetime | None,
) -> list[Family]:
    """Return the metric families that findings carry by themselves, in the catalogue's order.

    Parameters
    ----------
    allow : features that have a series of their own whatever their score.
    closed : windows with findings, those of every key.
    committed : when the newest finding was written; None where there is none.
    """
    series = chain(
        _findings(found, stream, allow),
        alarm_series(found, _monitors_on(stream), ""),
        [("windows_closed_total", (), closed)],
        _time("last_commit_timestamp_seconds", committed),
        _time("watermark_timestamp_seconds", found.watermark),
    )
    return _families(stream, series)


def write_textfile(snapshot: RunSnapshot, path: Path, allow: Collection[str] = ()) -> None:
    """Write a .prom file for node_exporter's textfile collector: whole, or not at all.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    text = generate_latest(_Fixed(collect(snapshot, allow)))
    temporary = path.with_name(f".{path.name}-{os.getpid()}")  # not .prom: never collected half
    try:
        try:
            with temporary.open("wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        message = f"{path}: the metrics cannot be written: {error.strerror or error}"
        raise OutputError(message) from error


def push(snapshot: RunSnapshot, url: str, allow: Collection[str] = ()) -> None:
    """Replace what a Pushgateway holds of the stream: for a run that succeeded.

    Raises
    ------
    OutputError
        When the gateway does not answer or refuses.
    """
    name = snapshot.manifest["stream"]["name"]
    _send(push_to_gateway, collect(snapshot, allow), name, url)


def push_completion(stream: str, finished: datetime, url: str) -> None:
    """Tell a Pushgateway that a run ended, leaving all else as it was: for a run that failed.

    Raises
    ------
    OutputError
        When the gateway does not answer or refuses.
    """
    name = PREFIX + "batch_last_completion_timestamp_seconds"
    metric = next(metric for metric in CATALOGUE if metric.name == name)
    family = _family(metric, {(stream,): finished.timestamp()})
    _send(pushadd_to_gateway, [family], stream, url)


@dataclass(frozen=True, slots=True)
class _Fixed(Collector):
    """Families as what prometheus_client collects from."""

    families: list[Family]

    def collect(self) -> Iterable[Family]:
        return self.families


def _send(send: Callable[..., None], families: list[Family], stream: str, url: str) -> None:
    # The group is the stream, not the machine: the gateway never forgets, and machines come and go.
    try:
        send(url, "tidegauge", _Fixed(families), grouping_key={"stream": stream}, timeout=_TIMEOUT)
    except HTTPError as error:
        with error:
            says = error.read(200).decode(errors="replace").strip().partition("\n")[0]
        message = f"{url}: the Pushgateway refused the metrics: {error.code} {says or error.reason}"
        raise OutputError(message) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        message = (
            f"{url}: no Pushgateway answers: {reason}; check `pushgateway:` of the stream file"
        )
        raise OutputError(message) from error


Series = tuple[str, tuple[str, ...], Value]  #: name without prefix, labels but the stream, value


def _families(stream: Stream, series: Iterable[Series]) -> list[Family]:
    found: dict[str, dict[tuple[str, ...], Value]] = {metric.name: {} for metric in CATALOGUE}
    for name, labels, value in series:
        found[PREFIX + name][(stream.name, *labels)] = value
    return [_family(metric, found[metric.name]) for metric in CATALOGUE]


def _family(metric: Metric, series: Mapping[tuple[str, ...], Value]) -> Family:
    family: Any = _FAMILY_OF_KIND[metric.kind](metric.name, metric.help, labels=metric.labels)
    for labels, value in sorted(series.items()):
        family.add_metric(labels, *(value if isinstance(value, tuple) else (value,)))
    return family  # type: ignore[no-any-return]


def _monitors_on(stream: Stream) -> list[str]:
    on: list[str] = [*forecast_monitors(stream)] if stream.forecasts else []
    if stream.monitors.feature_shift:
        on = ["feature_shift", *on]
    return [*on, *stream.monitors.marginals]


def _findings(found: FindingsView, stream: Stream, allow: Collection[str]) -> Iterator[Series]:
    allowed = false_alarms_allowed(stream, found.windows, sum(found.alarms.values()))
    yield "false_alarms_allowed", (), allowed
    yield "findings_revised_total", (), found.revised
    for monitor in {*_monitors_on(stream), *found.latest["monitor"]}:  # those on start at 0
        latest = found.latest.filter(pl.col("monitor") == monitor)
        yield "alarms_total", (monitor,), found.alarms.get(monitor, 0)
        yield "alarm_active", (monitor,), float(latest["alarm"].any())
        strongest = (
            latest.drop_nulls(["statistic", "threshold"])
            .with_columns(margin=pl.col("statistic") - pl.col("threshold"))
            .sort("alarm", "margin", "statistic", descending=True)
            .head(1)
        )
        for statistic, threshold in strongest.select("statistic", "threshold").iter_rows():
            yield "drift_log_evidence", (monitor,), statistic
            yield "drift_log_evidence_threshold", (monitor,), threshold
    if stream.monitors.feature_shift is not False:
        yield from _features(found, allow)
    if stream.window.length_seconds is not None:
        yield "window_length_seconds", (), stream.window.length_seconds


def _episodes(snapshot: RunSnapshot, stream: Stream) -> Iterator[Series]:
    shifts = {monitor: counts for monitor, *counts in snapshot.episodes.iter_rows()}
    for monitor in {*_monitors_on(stream), *snapshot.found.latest["monitor"]}:
        opened, still_open = shifts.get(monitor, (0, 0))
        yield "episodes_total", (monitor,), opened
        yield "episodes_open", (monitor,), still_open


def _sentinel(snapshot: RunSnapshot, stream: Stream) -> Iterator[Series]:
    if stream.monitors.feature_shift is False:
        return
    ((tests, alarms, level),) = snapshot.sentinel.iter_rows()
    yield "sentinel_tests_total", (), tests
    yield "sentinel_alarms_total", (), alarms
    yield "sentinel_alarms_allowed", (), alarms_allowed(tests, level) if tests else 0


def _features(found: FindingsView, allow: Collection[str]) -> Iterator[Series]:
    buckets = [(str(le), float(n)) for le, n in zip(SCORE_BUCKETS, found.scores, strict=True)]
    whole = ("+Inf", float(found.scores_count))
    yield "feature_drift_score", (), ([*buckets, whole], found.scores_sum)
    features = (
        found.latest.filter(pl.col("monitor") == "feature_shift", pl.col("statistic").is_not_null())
        .group_by("subject")
        .agg(pl.col("statistic").max(), over=(pl.col("statistic") > pl.col("threshold")).any())
        .sort(["statistic", "subject"], descending=[True, False])
    )
    shown = features.with_row_index("place").filter(
        (pl.col("place") < TOP_FEATURES) | pl.col("subject").is_in(list(allow))
    )
    single = found.latest.filter(pl.col("monitor") == "feature_shift", pl.col("key") != ALL_KEYS)
    for name, which in (("keys_tested", pl.col("status") == "tested"), ("keys_alarming", "alarm")):
        yield name, (), single.filter(which)["key"].n_unique()
    yield "features_tested", (), features.height
    yield "features_over_threshold", (), int(features["over"].sum())
    yield "feature_series_dropped", (), features.height - shown.height
    for feature, score in shown.select("subject", "statistic").iter_rows():
        yield "feature_drift_top_score", (feature,), score


def _forecasts(snapshot: RunSnapshot, stream: Stream) -> Iterator[Series]:
    scored = {row["target"]: row for row in snapshot.forecasts.iter_rows(named=True)}
    for forecast in stream.forecasts:
        target, row = forecast.target, scored.get(forecast.target, {})
        yield "interval_miss_target_ratio", (target,), round(1 - forecast.interval, 12)
        yield "intervals_scored_total", (target,), row.get("scored", 0)
        for side in ("below", "above"):
            yield "interval_misses_total", (target, side), row.get(side, 0)
        yield "interval_width", (target,), (row.get("scored", 0), row.get("width", 0.0))


def _quality(snapshot: RunSnapshot, stream: Stream) -> Iterator[Series]:
    for outcome in ("used", "rejected", "late"):
        yield "records_total", (outcome,), snapshot.manifest["rows"][outcome]
    for reason, rows in snapshot.rejects.iter_rows():
        yield "dead_letters_total", (reason,), rows
    if stream.monitors.expectations:
        for severity in _SEVERITIES:
            for result in _RESULTS:
                yield "contract_checks_total", (severity, result), 0
    for severity, result, checks in snapshot.expectations.iter_rows():
        yield "contract_checks_total", (severity, result), checks


def _health(snapshot: RunSnapshot) -> Iterator[Series]:
    manifest = snapshot.manifest
    finished = datetime.fromisoformat(manifest["finished"]).timestamp()
    yield "windows_closed_total", (), manifest["windows"]
    yield "ticks_total", (), manifest.get("ticks", 1)
    yield "last_commit_timestamp_seconds", (), finished
    # A run folder exists only of a run that succeeded.
    yield "batch_last_success_timestamp_seconds", (), finished
    yield "batch_last_completion_timestamp_seconds", (), finished
    yield "batch_duration_seconds", (), manifest["duration_seconds"]
    yield "baseline_info", (manifest["baseline_id"],), 1


def _time(name: str, time: datetime | None) -> Iterator[Series]:
    if time is not None:
        yield name, (), time.timestamp()
