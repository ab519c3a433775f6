"""What a dashboard is: its rows of panels, its variables, and its links to the other dashboards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    VariableRefresh,
    VariableSort,
)
from panels import SOURCE, Panel

TAG = "tidegauge"  # of every dashboard: what is linked at the top of each


@dataclass(frozen=True, slots=True)
class Variable:
    """What is chosen above a dashboard: values of a label."""

    name: str  #: of the label, too
    metric: str  #: with the matchers that narrow it
    several: bool = False  #: or all of them; queries then match it with =~

    def build(self) -> dashboard.QueryVariable:
        """Return the variable as Grafana's SDK builds it."""
        variable = (
            dashboard.QueryVariable(self.name)
            .label(self.name.capitalize())
            .datasource(SOURCE)
            .query(f"label_values({self.metric}, {self.name})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
        )
        return variable.multi(True).include_all(True).all_value(".*") if self.several else variable


STREAM = Variable("stream", "tidegauge_windows_closed_total")


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    uid: str  #: also the name of its file
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[tuple[str, Sequence[Panel]]]

    def to_json(self) -> str:
        """Return the dashboard as JSON text."""
        board = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags([TAG])
            .time("now-24h", "now")
            .refresh("1m")
            .timezone("utc")
            .link(
                dashboard.DashboardLink(TAG)
                .type(DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .include_vars(True)
                .keep_time(True)
            )
            .with_variable(
                dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
            )
        )
        for variable in self.variables:
            board.with_variable(variable.build())
        number = 0
        for title, panels in self.rows:
            number += 1
            board.with_row(dashboard.Row(title).id(number))
            for panel in panels:
                number += 1
                board.with_panel(panel.build(number))
        return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
