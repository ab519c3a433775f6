"""Writes the Grafana dashboard of a stream: `python deploy/grafana/build.py`.

The JSON is generated, so that a query is written once and every panel has its title, description,
unit and legend. A test compares the committed file with what this script writes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import VariableRefresh, VariableSort
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TARGET = Path(__file__).parent / "dashboards" / "tidegauge.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT = 8  # grid rows of a panel; the grid is 24 columns wide


_Drawn = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel
_KINDS: dict[str, type[_Drawn]] = {
    "lines": timeseries.Panel,
    "number": stat.Panel,
    "bars": bargauge.Panel,
    "buckets": bargauge.Panel,
    "table": table.Panel,
}
# As a heatmap, buckets come in the order of their edges and not cumulative.
_FORMATS = {"table": PromQueryFormat.TABLE, "buckets": PromQueryFormat.HEATMAP}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: how it is drawn, what it says, and its queries with their legends."""

    kind: str  #: lines, number, bars, buckets (of a histogram) or table
    title: str
    description: str
    unit: str  #: in Grafana's spelling
    width: int
    queries: Sequence[tuple[str, str]]  #: PromQL and legend

    def build(self, number: int) -> _Drawn:
        """Return the panel as Grafana's SDK builds it."""
        panel = (
            _KINDS[self.kind]()
            .id(number)
            .title(self.title)
            .description(self.description)
            .unit(self.unit)
            .datasource(SOURCE)
            .height(HEIGHT)
            .span(self.width)
        )
        if isinstance(panel, timeseries.Panel):
            panel.legend(
                common.VizLegendOptions()
                .display_mode(LegendDisplayMode.TABLE)
                .placement(LegendPlacement.BOTTOM)
                .show_legend(True)
                .calcs(["lastNotNull", "max"])
            )
        if isinstance(panel, stat.Panel | bargauge.Panel):
            panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        if isinstance(panel, bargauge.Panel):
            panel.orientation(VizOrientation.HORIZONTAL).min(0)
        for letter, (expression, legend) in zip("ABCDEFGH", self.queries, strict=False):
            query = (
                prometheus.Dataquery()
                .ref_id(letter)
                .datasource(SOURCE)
                .expr(expression)
                .legend_format(legend)
            )
            query = query.range() if self.kind == "lines" else query.instant()
            panel.with_target(query.format(_FORMATS.get(self.kind, PromQueryFormat.TIME_SERIES)))
        return panel


S = 'stream="$stream"'

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "State of the stream",
        (
            Panel(
                "number",
                "Alarms now",
                "Monitors whose latest window raised an alarm: 1 is an alarm.",
                "none",
                6,
                [(f"max by (monitor) (tidegauge_alarm_active{{{S}}})", "{{monitor}}")],
            ),
            Panel(
                "lines",
                "Evidence and threshold",
                "Evidence of drift (-log10 of the p-value) of the strongest subject of the latest "
                "window, by monitor, and what it has to pass to raise an alarm.",
                "none",
                12,
                [
                    (f"max by (monitor) (tidegauge_drift_log_evidence{{{S}}})", "{{monitor}}"),
                    (
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
                    (f"sum(max by (monitor) (tidegauge_alarms_total{{{S}}}))", "alarms"),
                    (
                        f"max(tidegauge_false_alarms_allowed{{{S}}})",
                        "false alarms allowed",
                    ),
                    (f"max(tidegauge_windows_closed_total{{{S}}})", "windows"),
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
                    (f"sum(max by (monitor) (tidegauge_episodes_total{{{S}}}))", "of this run"),
                    (f"sum(max by (monitor) (tidegauge_episodes_open{{{S}}}))", "open"),
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
                    (f"max(tidegauge_sentinel_tests_total{{{S}}})", "tested"),
                    (f"max(tidegauge_sentinel_alarms_total{{{S}}})", "alarms"),
                    (f"max(tidegauge_sentinel_alarms_allowed{{{S}}})", "allowed"),
                ],
            ),
            Panel(
                "number",
                "Keys",
                "Keys of the latest window with a feature tested for drift, and with an alarm.",
                "none",
                8,
                [
                    (f"max(tidegauge_keys_tested{{{S}}})", "tested"),
                    (f"max(tidegauge_keys_alarming{{{S}}})", "alarming"),
                ],
            ),
        ),
    ),
    (
        "Which features",
        (
            Panel(
                "bars",
                "Strongest features",
                "Evidence of drift of the strongest features of the latest window. All features "
                "are in the findings of the run folder.",
                "none",
                8,
                [
                    (
                        (
                            f"sort_desc(topk(10, max by (feature) "
                            f"(tidegauge_feature_drift_top_score{{{S}}})))"
                        ),
                        "{{feature}}",
                    )
                ],
            ),
            Panel(
                "lines",
                "Evidence by feature",
                "The same over time: a feature that leaves the strongest leaves the plot.",
                "none",
                8,
                [
                    (
                        f"max by (feature) (tidegauge_feature_drift_top_score{{{S}}})",
                        "{{feature}}",
                    )
                ],
            ),
            Panel(
                "buckets",
                "Scores of all features",
                "Tested features, over all windows of the run, by their evidence up to each value.",
                "none",
                4,
                [(f"max by (le) (tidegauge_feature_drift_score_bucket{{{S}}})", "{{le}}")],
            ),
            Panel(
                "number",
                "Features of the latest window",
                "Tested, over their threshold, and tested but without a series here.",
                "none",
                4,
                [
                    (f"max(tidegauge_features_tested{{{S}}})", "tested"),
                    (f"max(tidegauge_features_over_threshold{{{S}}})", "over threshold"),
                    (f"max(tidegauge_feature_series_dropped{{{S}}})", "not shown"),
                ],
            ),
        ),
    ),
    (
        "Forecast calibration",
        (
            Panel(
                "lines",
                "Misses per scored forecast",
                "Share of outcomes outside the calibrated interval, over the run, and the share "
                "that the stream file asks for. Above it: intervals too narrow. Below: too wide.",
                "percentunit",
                10,
                [
                    (
                        (
                            "sum by (target) (max by (target, side) "
                            f"(tidegauge_interval_misses_total{{{S}}}))"
                            f" / max by (target) (tidegauge_intervals_scored_total{{{S}}})"
                        ),
                        "{{target}}",
                    ),
                    (
                        f"max by (target) (tidegauge_interval_miss_target_ratio{{{S}}})",
                        "{{target}} asked for",
                    ),
                ],
            ),
            Panel(
                "bars",
                "Misses by side",
                "Outcomes below and above the interval; about as many of each when calibrated.",
                "none",
                6,
                [
                    (
                        f"max by (target, side) (tidegauge_interval_misses_total{{{S}}})",
                        "{{target}} {{side}}",
                    )
                ],
            ),
            Panel(
                "lines",
                "Mean interval width",
                "In the target's unit: calibration bought by width shows here.",
                "none",
                8,
                [
                    (
                        (
                            f"max by (target) (tidegauge_interval_width_sum{{{S}}})"
                            f" / max by (target) (tidegauge_interval_width_count{{{S}}})"
                        ),
                        "{{target}}",
                    )
                ],
            ),
        ),
    ),
    (
        "Data quality",
        (
            Panel(
                "number",
                "Rows rejected",
                "Share of the run's rows that could not be used; they are in its rejects.",
                "percentunit",
                4,
                [
                    (
                        (
                            f'max(tidegauge_records_total{{{S},outcome="rejected"}})'
                            f" / sum(max by (outcome) (tidegauge_records_total{{{S}}}))"
                        ),
                        "rejected",
                    )
                ],
            ),
            Panel(
                "bars",
                "Rejected rows by reason",
                "Rows of the run that could not be used, by what was wrong with them.",
                "none",
                10,
                [(f"max by (reason) (tidegauge_dead_letters_total{{{S}}})", "{{reason}}")],
            ),
            Panel(
                "table",
                "Expectations",
                "Expectations checked on the windows of the run, by severity and result.",
                "none",
                10,
                [
                    (
                        f"max by (severity, result) (tidegauge_contract_checks_total{{{S}}})",
                        "{{severity}} {{result}}",
                    )
                ],
            ),
        ),
    ),
    (
        "Pipeline health",
        (
            Panel(
                "lines",
                "Age",
                "Since the end of the latest window in event time, and since the last run.",
                "s",
                10,
                [
                    (
                        f"time() - max(tidegauge_watermark_timestamp_seconds{{{S}}})",
                        "latest window",
                    ),
                    (
                        f"time() - max(tidegauge_batch_last_success_timestamp_seconds{{{S}}})",
                        "last success",
                    ),
                    (
                        f"time() - max(tidegauge_batch_last_completion_timestamp_seconds{{{S}}})",
                        "last completion",
                    ),
                ],
            ),
            Panel(
                "bars",
                "Rows of the run",
                "Rows read by the run, by what became of them.",
                "none",
                6,
                [(f"max by (outcome) (tidegauge_records_total{{{S}}})", "{{outcome}}")],
            ),
            Panel(
                "number",
                "Run and window",
                "How long the run took, and the length of a window.",
                "s",
                4,
                [
                    (f"max(tidegauge_batch_duration_seconds{{{S}}})", "run"),
                    (f"max(tidegauge_window_length_seconds{{{S}}})", "window"),
                ],
            ),
            Panel(
                "table",
                "Baseline",
                "What the run was compared with.",
                "none",
                4,
                [(f"max by (baseline) (tidegauge_baseline_info{{{S}}})", "{{baseline}}")],
            ),
        ),
    ),
)


def build() -> str:
    """Return the dashboard as JSON text."""
    board = (
        dashboard.Dashboard("tidegauge: one stream")
        .uid("tidegauge-stream")
        .description("Drift, forecast calibration, data quality and health of one stream.")
        .tags(["tidegauge"])
        .time("now-24h", "now")
        .refresh("1m")
        .timezone("utc")
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(
            dashboard.QueryVariable("stream")
            .label("Stream")
            .datasource(SOURCE)
            .query("label_values(tidegauge_windows_closed_total, stream)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
        )
    )
    number = 0
    for title, panels in ROWS:
        number += 1
        board.with_row(dashboard.Row(title).id(number))
        for panel in panels:
            number += 1
            board.with_panel(panel.build(number))
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write the dashboard."""
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(build(), encoding="utf-8")
    print(TARGET, file=sys.stderr)


if __name__ == "__main__":
    main()
