"""What a panel is, and how Grafana's SDK builds it: its kind, its queries, where a click leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

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
class Link:
    """Where a click on a value leads: another dashboard, with the same data source and time."""

    title: str
    board: str  #: uid of the dashboard
    carry: Sequence[str] = ()  #: variables of this dashboard that go along
    pick: str = ""  #: the variable that is set to the label of the same name of what is clicked

    def build(self, kind: str) -> dashboard.DashboardLink:
        """Return the link as a panel of a kind needs it."""
        parts = ["${__url_time_range}", *(f"${{{name}:queryparam}}" for name in self._variables())]
        if self.pick:
            label = "__data.fields" if kind == "table" else "__field.labels"
            parts.append(f"var-{self.pick}=${{{label}.{self.pick}:percentencode}}")
        return dashboard.DashboardLink(self.title).url(f"/d/{quote(self.board)}?{'&'.join(parts)}")

    def _variables(self) -> Sequence[str]:
        return ("datasource", *self.carry)


@dataclass(frozen=True, slots=True)
class Page:
    """Where a click on a row of a table leads: the address that is in one of its columns."""

    title: str
    column: str

    def build(self, kind: str) -> dashboard.DashboardLink:
        """Return the link; only tables have rows."""
        assert kind == "table"  # noqa: S101 (a mistake in a board)
        return dashboard.DashboardLink(self.title).url(f"${{__data.fields.{self.column}}}")


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and the legend of its series; in a table, the title and unit of its column."""

    expression: str
    legend: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: how it is drawn, what it says, its queries, and where a click leads."""

    kind: str  #: lines, number, bars, buckets (of a histogram) or table
    title: str
    description: str
    unit: str  #: in Grafana's spelling
    width: int
    queries: Sequence[Query]
    link: Link | Page | None = None

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
        if isinstance(panel, table.Panel):
            self._join_columns(panel)
        if self.link:
            panel.data_links([self.link.build(self.kind)])
        for letter, query in zip("ABCDEFGHIJ", self.queries, strict=False):
            built = (
                prometheus.Dataquery()
                .ref_id(letter)
                .datasource(SOURCE)
                .expr(query.expression)
                .legend_format(query.legend)
            )
            built = built.range() if self.kind == "lines" else built.instant()
            panel.with_target(built.format(_FORMATS.get(self.kind, PromQueryFormat.TIME_SERIES)))
        return panel

    def _join_columns(self, panel: table.Panel) -> None:
        # One row for each set of labels. Grafana names a column after its query, if there are more.
        names = (
            {
                f"Value #{letter}": query.legend
                for letter, query in zip("ABCDEFGHIJ", self.queries, strict=False)
            }
            if len(self.queries) > 1
            else {"Value": self.queries[0].legend}
        )
        panel.with_transformation(DataTransformerConfig("merge", options={}))
        panel.with_transformation(
            DataTransformerConfig(
                "organize",
                options={"excludeByName": {"Time": True}, "renameByName": names},
            )
        )
        for query in self.queries:
            if query.unit:
                panel.override_by_name(query.legend, [DynamicConfigValue("unit", query.unit)])
