"""The pictures of a cause: what was read and what was due, how it spread, what it cost, the map."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from monitors.attribute.attribution import Attribution
from monitors.cause.quantile_shift import CONFIDENCE, QuantileShift
from monitors.cause.record import Cause
from monitors.explain.maps import ShiftMap
from pipelines.report.cause_words import move_words, terms
from pipelines.report.figure import Plot, colour, date_axis, draw
from pipelines.report.words import count, moment, number, percent, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_MOVES = 8  # arrows
_WIDE = (1040.0, 250.0)
_SMALL = (345.0, 225.0)
_GIVEN = " of what the others leave unexplained"
_LEAST_MOVE = 0.1  # standard deviations
_LONGEST_LABEL = 26  # characters beside an axis
_ROW = 30.0  # CSS pixels of a bar or an arrow


def course_plot(name: str, cause: Cause) -> Plot | None:
    """Draw what the subject read in its window, over what it should have read."""
    course = cause.course
    if course is None:
        return None
    observed, expected = course.observed, course.expected
    at: Any = np.arange(len(observed))
    if course.times is not None:
        at = course.times.astype("datetime64[us]")
    since = _inside(cause.since, at)
    low, high = expected - 2 * course.spread, expected + 2 * course.spread
    lines = _with_gaps(at, observed, expected, low, high)

    def paint(_: Figure, axes: Axes) -> None:
        x: Any = lines[0]
        if since is not None:
            ends: Any = (since, at[-1])
            axes.axvspan(*ends, facecolor=colour("shade"), linewidth=0, zorder=0)
            axes.axvline(ends[0], color=colour("alarm"), lw=1.2, ls=(0, (4, 3)))
        axes.fill_between(x, lines[3], lines[4], facecolor=colour("band"), linewidth=0)
        axes.plot(x, lines[2], color=colour("line"), ls=(0, (5, 1.5)))
        axes.plot(x, lines[1], color=colour("ink"), lw=1.3)
        if len(at) > 1:
            axes.set_xlim(at[0], at[-1])
        if course.times is None:
            axes.set_xlabel("kept row of the window")
        else:
            date_axis(axes)
        axes.grid(axis="y")
        axes.set_ylabel(_with_unit(cause.finding.subject, cause.unit))

    caption = (
        "Solid: what it read. Dashed: what the other features let expect, by the law of the "
        "reference; band: two standard deviations around it."
    )
    if not np.isfinite(observed).any():
        caption = f"It read nothing in this window. {caption.partition('. ')[2]}"
    if since is not None and cause.since is not None:
        caption += f" Shaded: since {moment(cause.since)}, when the change began."
    rows = cause.finding.rows
    if rows > len(observed):
        caption += f" {len(observed):,} of the window's {count(rows, 'row')} are kept."
    off = np.nanmean(observed - expected) if np.isfinite(observed - expected).any() else np.nan
    label = (
        f"{cause.finding.subject} over its window beside what was expected; on average "
        f"{number(float(off))}{_unit(cause.unit)} apart."
    )
    return Plot(draw(name, paint, width=_WIDE[0], height=_WIDE[1]), label, caption)


def spread_plots(name: str, cause: Cause) -> Iterator[Plot]:
    """Draw how far off the subject reads, as densities and quantile by quantile."""
    unit, subject = cause.unit, cause.finding.subject
    if cause.density is not None:
        found = cause.density

        def paint(_: Figure, axes: Axes) -> None:
            axes.fill_between(found.grid, found.before, facecolor=colour("band-inner"), linewidth=0)
            axes.plot(found.grid, found.after, color=colour("alarm"), lw=2)
            axes.axvline(0, color=colour("muted"), lw=1, ls=(0, (4, 3)))
            axes.set_ylim(bottom=0)
            axes.set_yticks([])
            axes.set_xlabel(_with_unit("read less expected", unit))

        yield Plot(
            draw(f"{name}-density", paint, width=_SMALL[0], height=_SMALL[1]),
            f"Densities of {subject} less what was expected, in the reference and here.",
            "How far it reads from what the other features let expect. Filled: in the reference; "
            f"line: {_after(cause)}.",
            wide=False,
        )
    if cause.shift is not None:
        caption = (
            "Given the other features: how far each quantile of that difference moved. Flat: an "
            "offset; rising: more spread; falling: less."
        )
        what = f"{subject} given the others"
        yield _shift_plot(f"{name}-shift", cause.shift, unit, caption, what)
    if cause.own_shift is not None:
        inside = bool(((cause.own_shift.low <= 0) & (cause.own_shift.high >= 0)).all())
        says = (
            "no quantile of this column moved beyond its limits"
            if inside
            else "how far each quantile of the column moved, for whatever reason"
        )
        yield _shift_plot(
            f"{name}-own", cause.own_shift, unit, f"By itself: {says}.", f"{subject} by itself"
        )


def _after(cause: Cause) -> str:
    return "since the change" if cause.after_since else "in this window"


def _shift_plot(name: str, found: QuantileShift, unit: str | None, caption: str, what: str) -> Plot:
    def paint(_: Figure, axes: Axes) -> None:
        levels: Any = 100 * found.levels
        axes.fill_between(levels, found.low, found.high, facecolor=colour("band"), linewidth=0)
        axes.axhline(0, color=colour("muted"), lw=1, ls=(0, (4, 3)))
        axes.plot(levels, found.shift, color=colour("line"), marker="o", ms=3.2, mew=0, lw=2)
        axes.set_xlim(0, 100)
        axes.set_xticks([5, 25, 50, 75, 95], ["5", "25", "50", "75", "95 %"])
        axes.set_xlabel("quantile")
        axes.set_ylabel(_with_unit("moved by", unit))
        axes.grid(axis="y")

    middle = len(found.levels) // 2
    label = (
        f"Shift of the quantiles of {what}: {number(found.shift[0])}{_unit(unit)} at 5 %, "
        f"{number(found.shift[middle])}{_unit(unit)} at the median, "
        f"{number(found.shift[-1])}{_unit(unit)} at 95 %."
    )
    band = f" Band: {percent(CONFIDENCE, 0)} limits at each quantile."
    svg = draw(name, paint, width=_SMALL[0], height=_SMALL[1])
    return Plot(svg, label, caption + band, wide=False)


def share_plot(name: str, cost: Attribution) -> Plot | None:
    """Draw what each mechanism contributed to the change of a forecast's loss."""
    shown = terms(cost)
    if not shown:
        return None

    def paint(_: Figure, axes: Axes) -> None:
        places = np.arange(len(shown))
        amounts = np.asarray([amount for _, amount, _ in shown])
        ends = np.asarray([limits or (np.nan, np.nan) for _, _, limits in shown])
        limits = np.stack([amounts - ends[:, 0], ends[:, 1] - amounts])
        axes.barh(places, amounts, height=0.55, color=colour("band-inner"))
        axes.errorbar(
            amounts,
            places,
            xerr=np.maximum(limits, 0.0),
            fmt="none",
            ecolor=colour("ink"),
            elinewidth=1.2,
            capsize=3,
        )
        axes.axvline(0, color=colour("muted"), lw=1)
        axes.set_yticks(places, [shorten(name, 34) for name, _, _ in shown])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel(f"change of the {cost.loss}{f' ({cost.unit})' if cost.unit else ''}")
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)

    label = f"What moved the {cost.loss} of {cost.target}: " + ", ".join(
        f"{name} {number(amount)}{_unit(cost.unit)}" for name, amount, _ in shown
    )
    caption = (
        f"Each bar: what one change adds to the {cost.loss} (Shapley value); whisker: its "
        f"{percent(cost.level, 0)} interval. “a given the others”: that a follows them otherwise "
        "than in the reference."
    )
    svg = draw(name, paint, width=_WIDE[0], height=_ROW * len(shown) + 62)
    return Plot(svg, label + ".", caption)


def map_plot(name: str, cause: Cause, found: ShiftMap) -> Plot | None:
    """Draw where a map takes the columns that it moves, as arrows."""
    moves = list(_moves(cause, found))[:MOST_MOVES]
    if max((abs(size) for _, size, _ in moves), default=0.0) < _LEAST_MOVE:
        return None  # what changed is not the mean

    def paint(_: Figure, axes: Axes) -> None:
        reach = max(abs(move[1]) for move in moves)
        axes.axvline(0, color=colour("muted"), lw=1, ls=(0, (4, 3)))
        for place, move in enumerate(moves):
            size, text = move[1:]
            axes.plot([0], [place], "o", ms=4, color=colour("muted"))
            axes.annotate(
                "",
                xy=(size, place),
                xytext=(0, place),
                arrowprops={"arrowstyle": "-|>", "color": colour("line"), "lw": 2, "shrinkB": 0},
            )
            after = max(size, 0.0) + 0.03 * reach
            axes.text(after, place, text, va="center", ha="left", size=11.5)
        axes.set_xlim(-1.15 * reach, 1.75 * reach)
        axes.set_yticks(range(len(moves)), [what for what, _, _ in moves])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(moves) - 0.5, -0.5)
        axes.set_xlabel("moved by, in standard deviations" + _GIVEN * cause.map_given_others)
        axes.spines["left"].set_visible(False)

    label = "From the reference to the window: " + "; ".join(
        f"{what} {text}" for what, _, text in moves
    )
    caption = (
        "Each arrow: how far a column reads, on average, from what the others let expect."
        if cause.map_given_others
        else "Each arrow leads from the mean in the reference to where the map puts it."
    )
    svg = draw(name, paint, width=_WIDE[0], height=_ROW * len(moves) + 62)
    return Plot(svg, label + ".", caption)


def _moves(cause: Cause, found: ShiftMap) -> Iterator[tuple[str, float, str]]:
    """Yield what a map moves: the column, how far in standard deviations, and how far in words."""
    step = found.steps[found.chosen]
    for cluster, moves in enumerate(step.moves):
        of = f" ({percent(step.sizes[cluster], 0)} of rows)" if len(step.moves) > 1 else ""
        for place, (column, move) in enumerate(zip(step.columns, moves, strict=True)):
            scale = cause.scales.get(column)
            if scale is not None:
                text = move_words(cause, found, cluster, place)
                yield f"{shorten(column, 24)}{of}", move / scale.std, text


def _inside(since: datetime | None, at: Any) -> Any:
    """Return when the change began as a time of the axis; None where it began before it."""
    if since is None or at.dtype.kind != "M":
        return None
    time = np.datetime64(since.replace(tzinfo=None), "us")
    return time if at[0] <= time <= at[-1] else None


def _with_gaps(at: Any, *lines: Any) -> list[Any]:
    """Put a NaN where rows were not kept, so that no line is drawn across."""
    if len(at) < 3:
        return [at, *lines]
    steps = np.diff(at)
    cut = np.flatnonzero(steps > 3 * np.median(steps)) + 1
    return [np.insert(at, cut, at[cut]), *(np.insert(line, cut, np.nan) for line in lines)]


def _unit(unit: str | None) -> str:
    return f" {unit}" if unit else ""


def _with_unit(text: str, unit: str | None) -> str:
    if not unit:
        return shorten(text, _LONGEST_LABEL)
    unit = shorten(unit, 8)
    return f"{shorten(text, _LONGEST_LABEL - len(unit) - 3)} ({unit})"
