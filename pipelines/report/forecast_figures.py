"""Fan charts of forecasts with their outcomes; coverage and pinball loss over the windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipelines.report.figure import Plot, colour, date_axis, draw
from pipelines.report.findings import Alarm
from pipelines.report.forecasts import FloatArray, Series
from pipelines.report.timeline import Timeline
from pipelines.report.words import count, key_label, number, percent, shorten, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LATEST = 336  # forecasts in the fan chart of the end of the run: two weeks of hours
MOST_POINTS = 500  # of one fan chart; a longer stretch is thinned
MOST_ALARMED = 2  # fan charts of alarmed windows per series
MOST_FANS = 12
_FAN = (1040.0, 270.0)
_SMALL = (510.0, 240.0)
_TWO_SIDED = 1.96  # 95 % of a normal law


@dataclass(frozen=True, slots=True)
class SeriesPlots:
    """The figures of one target of one key."""

    title: str
    summary: str
    fans: list[Plot]
    scores: list[Plot]


def forecast_plots(
    series: Sequence[Series], windows: Timeline, alarms: Sequence[Alarm]
) -> list[SeriesPlots]:
    """Draw the figures of each series."""
    plots: list[SeriesPlots] = []
    room = MOST_FANS
    for ordinal, item in enumerate(series):
        mine = [alarm for alarm in alarms if alarm.key == item.key]
        marked = {
            monitor: [
                alarm.place
                for alarm in mine
                if any(
                    (n.finding.monitor, n.finding.subject) == (monitor, item.target)
                    for n in alarm.named
                )
            ]
            for monitor in ("coverage", "pinball")
        }
        fans = list(_fans(f"fan-{ordinal}", item, mine))[:room]
        room -= len(fans)
        scores = []
        if item.scored.any():
            scores = [
                _coverage(f"coverage-{ordinal}", item, windows, marked["coverage"]),
                _pinball(f"pinball-{ordinal}", item, windows, marked["pinball"]),
            ]
        of = key_label(item.key)
        title = f"{item.target}{f' · {of}' if of else ''}"
        plots.append(SeriesPlots(title, _summary(item), fans, scores))
    return plots


def _summary(item: Series) -> str:
    known = item.known
    text = f"{count(len(item.frame), 'forecast')}, {count(len(known), 'outcome')} known."
    if known.is_empty():
        return text + " Coverage and loss need outcomes, so there is nothing to score yet."
    covered = known.select(pl.col("outcome").is_between("lower", "upper").mean()).item()
    loss = known.select(pl.col("loss").mean()).item()
    unit = f" {item.unit}" if item.unit else ""
    return (
        f"{text} {percent(covered)} of them lie inside the calibrated {percent(item.nominal, 0)} "
        f"interval; mean pinball loss {number(loss)}{unit}."
    )


def _fans(name: str, item: Series, alarms: Sequence[Alarm]) -> Iterator[Plot]:
    places = [alarm.place for alarm in alarms]
    strongest = sorted(alarms, key=lambda alarm: -alarm.strength)[:MOST_ALARMED]
    for alarm in sorted(strongest, key=lambda alarm: alarm.place):
        if item.last[alarm.place] > item.first[alarm.place]:
            start, end = (edge[alarm.place] for edge in item.edges)
            half = (end - start) // 2  # a window's, of context on each side
            first, last = np.searchsorted(item.frame["x"].to_numpy(), [start - half, end + half])
            part = item.frame.slice(int(first), int(last - first))
            lead = f"Around the alarm of {alarm.when} ({shorten(alarm.title, 60)})"
            yield _fan(f"{name}-{alarm.place}", item, part, places, lead)
    part = item.frame.tail(LATEST)
    yield _fan(f"{name}-end", item, part, places, f"The last {count(len(part), 'forecast')}")


def _fan(
    name: str,
    item: Series,
    part: pl.DataFrame,
    alarmed: Sequence[int],
    lead: str,
) -> Plot:
    stride = -(-len(part) // MOST_POINTS)
    frame = part.gather_every(stride)
    outside = frame.filter(
        (pl.col("outcome") < pl.col("lower")) | (pl.col("outcome") > pl.col("upper"))
    )
    x = frame["x"].to_numpy()
    starts, ends = item.edges
    shown = [place for place in alarmed if starts[place] <= x[-1] and ends[place] > x[0]]

    def paint(_: Figure, axes: Axes) -> None:
        _paint_fan(axes, item, frame, outside, shown)

    if item.in_time:
        when = span(part["x"][0], part["x"][-1])
    else:
        when = f"rows {part['x'][0]:,} to {part['x'][-1]:,}"
    known = frame["outcome"].count()
    caption = f"{lead}: {when}."
    if stride > 1:
        caption += f" One forecast in {stride} is drawn."
    if known:
        caption += (
            f" Triangles are the {count(len(outside), 'outcome')} of {known:,} outside the "
            f"{percent(item.nominal, 0)} interval; about {(1 - item.nominal) * known:.0f} are "
            "expected there."
        )
    else:
        caption += " No outcome is known yet."
    if shown:
        caption += " The shaded span is an alarmed window."
    label = (
        f"Fan chart of {item.target}, {when}: calibrated interval, median and "
        f"{count(known, 'outcome')}, {len(outside):,} of them outside the interval."
    )
    return Plot(draw(name, paint, width=_FAN[0], height=_FAN[1]), label, caption)


def _paint_fan(
    axes: Axes,
    item: Series,
    frame: pl.DataFrame,
    outside: pl.DataFrame,
    shown: Sequence[int],
) -> None:
    x: Any = frame["x"].to_numpy()
    for place in shown:
        ends: Any = (max(item.edges[0][place], x[0]), min(item.edges[1][place], x[-1]))
        axes.axvspan(*ends, facecolor=colour("shade"), linewidth=0, zorder=0)
    line = _with_gaps(frame)
    at: Any = line["x"].to_numpy()
    axes.fill_between(at, *_bounds(line, "lower", "upper"), facecolor=colour("band"), linewidth=0)
    if frame["q25"].count() and frame["q75"].count():
        bounds = _bounds(line, "q25", "q75")
        axes.fill_between(at, *bounds, facecolor=colour("band-inner"), linewidth=0)
    if frame["median"].count():
        axes.plot(at, line["median"].to_numpy(), color=colour("line"))
    inside = frame.filter(pl.col("outcome").is_between("lower", "upper"))
    for part, marker, role, size in ((inside, ".", "ink", 3.4), (outside, "^", "alarm", 5)):
        dots: Any = part["x"].to_numpy(), part["outcome"].to_numpy()
        axes.plot(*dots, marker, color=colour(role), ms=size, mew=0, clip_on=False)
    if len(x) > 1:
        axes.set_xlim(x[0], x[-1])
    if item.in_time:
        date_axis(axes)
    else:
        axes.set_xlabel("position in the source (rows)")
    axes.grid(axis="y")
    axes.set_ylabel(_with_unit(item.target, item))


def _with_gaps(frame: pl.DataFrame) -> pl.DataFrame:
    """Put an empty row where forecasts are missing, so that no line is drawn across."""
    step: Any = frame["x"].diff().median()
    if not step:
        return frame
    gaps = frame.filter(pl.col("x").diff().shift(-1) > 3 * step).select(pl.col("x") + step)
    same_type = gaps.with_columns(pl.col("x").cast(frame.schema["x"]))
    return pl.concat([frame, same_type], how="diagonal").sort("x")


def _bounds(frame: pl.DataFrame, lower: str, upper: str) -> tuple[Any, Any]:
    finite = frame.select(
        pl.when(pl.col(name).is_finite()).then(pl.col(name)) for name in (lower, upper)
    )
    return finite[lower].to_numpy(), finite[upper].to_numpy()


def _with_unit(text: str, item: Series) -> str:
    return f"{shorten(text, 24)} ({item.unit})" if item.unit else shorten(text, 24)


def _coverage(name: str, item: Series, windows: Timeline, alarmed: Sequence[int]) -> Plot:
    known = np.maximum(item.scored, 1.0)
    spread = _TWO_SIDED * np.sqrt(item.nominal * (1 - item.nominal) / known)
    spread = np.where(item.scored > 0, spread, np.nan)
    lower, upper = np.maximum(item.nominal - spread, 0.0), np.minimum(item.nominal + spread, 1.0)

    def paint(_: Figure, axes: Axes) -> None:
        places = np.arange(len(windows))
        axes.fill_between(
            places, 100 * lower, 100 * upper, facecolor=colour("band"), linewidth=0, step="mid"
        )
        axes.axhline(100 * item.nominal, color=colour("muted"), lw=1, ls=(0, (4, 3)))
        _paint_scores(axes, 100 * item.coverage, windows, alarmed)
        axes.set_ylim(top=min(102.0, axes.get_ylim()[1]))
        axes.set_ylabel(f"inside the interval ({percent(1, 0)[-1]})")

    scored = item.scored > 0
    off = scored & ((item.coverage < lower) | (item.coverage > upper))
    least = int(np.nanargmin(item.coverage))
    caption = (
        f"Coverage of the interval by window. Dashed: the {percent(item.nominal, 0)} asked for; "
        "band: where 95 of 100 windows would lie if outcomes were independent; "
        f"{off.sum():,} of {scored.sum():,} lie outside it. Lowest: "
        f"{percent(item.coverage[least])} in {windows.label(least)}."
    )
    label = (
        f"Coverage of {item.target} by window, between {percent(float(np.nanmin(item.coverage)))} "
        f"and {percent(float(np.nanmax(item.coverage)))}, against {percent(item.nominal, 0)}."
    )
    return Plot(draw(name, paint, width=_SMALL[0], height=_SMALL[1]), label, caption, wide=False)


def _pinball(name: str, item: Series, windows: Timeline, alarmed: Sequence[int]) -> Plot:
    mean = item.known.select(pl.col("loss").mean()).item()
    worst = int(np.nanargmax(item.pinball))
    most = number(item.pinball[worst])

    def paint(_: Figure, axes: Axes) -> None:
        axes.axhline(mean, color=colour("muted"), lw=1, ls=(0, (4, 3)))
        _paint_scores(axes, item.pinball, windows, alarmed)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(_with_unit("pinball loss", item))

    caption = (
        "Pinball loss, the error of the whole forecast distribution, by window; lower is better. "
        f"Dashed: the mean of the run. Worst: {most} in {windows.label(worst)}."
    )
    label = f"Pinball loss of {item.target} by window, mean {number(mean)}, worst {most}."
    return Plot(draw(name, paint, width=_SMALL[0], height=_SMALL[1]), label, caption, wide=False)


def _paint_scores(
    axes: Axes, values: FloatArray, windows: Timeline, alarmed: Sequence[int]
) -> None:
    places = np.arange(len(windows))
    dots = "o" if len(windows) <= 60 else ""
    axes.plot(places, values, color=colour("line"), marker=dots, ms=3.2, mew=0)
    axes.plot(
        alarmed,
        values[list(alarmed)],
        "D",
        ms=8,
        markerfacecolor=colour("page"),
        markeredgecolor=colour("ink"),
        mew=1.2,
    )
    axes.set_xlim(-0.5, len(windows) - 0.5)
    axes.set_xticks(*windows.ticks(6))
    axes.set_xlabel(windows.noun)
    axes.grid(axis="y")
