"""What `tidegauge backtest` prints: tables of a target, and what they say in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.backtest import PanelReport, StreamReport, TargetReport
from transforms.calibration_tests import CalibrationTest
from transforms.forecast.evaluation import ForecastSummary
from transforms.slices import Slice

#: a p-value that is worth a look; the slices' is of all of them together
LEVEL = 0.05
_WORST = 5  # slices that are printed, at most

#: what the components of the level test say when they are above 0, and below
_MEANINGS = {
    "location": ("outcomes lie higher than forecast", "outcomes lie lower than forecast"),
    "dispersion": ("intervals are too narrow", "intervals are too wide"),
    "skewness": ("forecasts lean too little upwards", "forecasts lean too little downwards"),
    "tails": ("outer levels are too near to the inner ones", "outer levels are too far out"),
}


def print_backtest(report: StreamReport, out: Console) -> None:
    """Print each target: its origins, its forecasters side by side, and where intervals fail."""
    if report.rejected:
        used = report.rows - report.rejected
        out.print(
            Text(f"rows: {report.rows:,} in = {used:,} used + {report.rejected:,} rejected\n")
        )
    for place, target in enumerate(report.targets):
        if place:
            out.print()
        for part in _panel(target) if isinstance(target, PanelReport) else _target(target):
            out.print(part)


def _target(report: TargetReport) -> Iterator[Table | Text]:
    spec = report.spec
    origins = _table(
        f"{spec.target}: {_percent(spec.interval)} interval, calibrated at each origin",
        ("origin", "train", "test", "forecaster", "pinball", "skill", "coverage", "Winkler"),
    )
    for row in report.origins:
        origins.add_row(
            str(row.origin),
            f"{row.train_rows:,}",
            f"{row.test_rows:,}",
            row.kind,
            f"{row.pinball:.4g}",
            f"{row.skill:.0%}",
            f"{row.coverage:.1%}",
            f"{row.winkler:.4g}",
        )
    yield origins
    yield Text()
    yield _summary(report.summary)
    yield Text()
    yield Text(_levels(report.levels))
    yield from _slices(report.slices, spec.interval)


def _summary(rows: Sequence[ForecastSummary]) -> Table:
    costs = ["cost"] if rows[0].cost is not None else []
    table = _table(None, ("forecaster", "pinball", "CRPS", "coverage", "width", "Winkler", *costs))
    for row in rows:
        table.add_row(
            row.forecaster,
            f"{row.pinball:.4g}",
            f"{row.crps:.4g}",
            f"{row.coverage:.1%}",
            f"{row.width:.4g}",
            f"{row.winkler:.4g}",
            *([] if row.cost is None else [f"{row.cost:.4g}"]),
        )
    return table


def _levels(test: CalibrationTest) -> str:
    if test.p_value is None:
        return f"levels: not tested: {test.reason}"
    if test.p_value >= LEVEL:
        return f"levels: outcomes are spread over them as they should be (p = {test.p_value:.2g})"
    name = max(test.components, key=lambda name: abs(test.components[name]))
    meaning = _MEANINGS[name][test.components[name] < 0]
    return f"levels: {meaning} ({name} {test.components[name]:+.2f}, p = {test.p_value:.2g})"


def _slices(slices: Sequence[Slice], interval: float) -> Iterator[Table | Text]:
    if not slices:
        return
    failing, due = [one for one in slices if one.p_value < LEVEL], _percent(interval)
    if not failing:
        low = min(slices, key=lambda one: one.coverage)
        yield Text(
            f"slices: none of {len(slices)} falls short of {due} by more than chance; "
            f"lowest {low.coverage:.1%}: {low.column} {low.value}"
        )
        return
    yield Text(f"slices: {len(failing)} of {len(slices)} fall short of {due} by more than chance")
    table = _table(None, ("slice", "value", "rows", "coverage", "width", "p"))
    for one in failing[:_WORST]:
        table.add_row(
            Text(one.column),
            Text(one.value),
            f"{one.rows:,}",
            f"{one.coverage:.1%}",
            f"{one.width:.4g}",
            f"{one.p_value:.1g}",
        )
    yield table


def _panel(report: PanelReport) -> Iterator[Table | Text]:
    spec, panel = report.spec, report.panel
    origins = _table(
        f"{spec.target}: {_percent(spec.interval)} interval, calibrated at each origin",
        ("origin", "fitted on rows until", "forecasts issued", "forecaster"),
    )
    for number, one in enumerate(panel.origins, start=1):
        issued = f"{one.issues:,} time{'s' * (one.issues > 1)}"
        origins.add_row(str(number), f"{one.issue_time:%Y-%m-%d %H:%M}", issued, one.kind)
    yield origins
    yield Text()
    table = _table(
        None,
        ("steps ahead", "forecaster", "pinball", "scaled", "coverage", "width", "Winkler"),
    )
    steps = max(row.last_step for row in panel.rows)
    whole = (1, steps)  # the whole horizon comes last
    for row in sorted(
        panel.rows,
        key=lambda row: ((row.first_step, row.last_step) == whole, row.first_step),
    ):
        table.add_row(
            f"{row.first_step}–{row.last_step}",
            row.forecaster,
            f"{row.pinball:.4g}",
            f"{row.scaled_pinball:.4g}",
            f"{row.coverage:.1%}",
            f"{row.width:.4g}",
            f"{row.winkler:.4g}",
        )
    yield table
    if report.not_done:
        yield Text()
        yield Text(f"not done with `ahead`: {', '.join(report.not_done)}")


def _table(title: str | None, names: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    words = ("forecaster", "slice", "value", "steps ahead")
    for name in names:
        table.add_column(name, justify="left" if name in words else "right")
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"
