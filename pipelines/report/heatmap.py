"""The heat map of evidence, features by windows; alarms carry a sign, not a colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitors.rollup import ALL_KEYS
from pipelines.report.cause_words import MONITORS
from pipelines.report.figure import Plot, colour, draw
from pipelines.report.findings import Alarm
from pipelines.report.timeline import COLUMNS, Timeline
from pipelines.report.words import count, key_label, listed, number, shorten
from schemas.stream import Stream

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

#: Upper ends of the classes, in thresholds; the last class has none. Below 1 nothing can alarm.
CLASSES = (0.25, 0.5, 0.75, 1.0, 2.0)
MOST_KEYS = 6
MOST_ROWS = 40
MOST_COLUMNS = 120  # windows; more share a column, which then shows the strongest of them
_MARGIN = 0.06  # of a cell, left free on each side
_WIDTH = 1040.0
_ROW_HEIGHT = 21.0


@dataclass(frozen=True, slots=True)
class _Grid:
    labels: list[str]
    ratio: NDArray[np.float64]  #: shape (rows, columns); NaN: nothing there
    untested: NDArray[np.bool_]
    alarm: NDArray[np.bool_]


def keys_shown(findings: pl.DataFrame, alarms: Sequence[Alarm]) -> tuple[list[str], int]:
    """Return the keys that get figures, all keys together first, and how many keys there are.

    All keys up to six; of more, those with alarms, the strongest six of them (or of all keys, when
    there is no alarm).
    """
    strongest = (
        findings.group_by("key")
        .agg(alarm=pl.col("alarm").any(), ratio=pl.col("ratio").max())
        .sort("alarm", "ratio", "key", descending=[True, True, False], nulls_last=True)
    )
    together = [ALL_KEYS] if ALL_KEYS in strongest["key"] else []
    names = [key for key in strongest["key"] if key != ALL_KEYS]
    total = len(names)
    if total > MOST_KEYS:
        with_alarm = {alarm.key for alarm in alarms}
        names = [key for key in names if key in with_alarm] or names
    return together + sorted(names[:MOST_KEYS]), total


def heat_map(
    ordinal: int, key: str, findings: pl.DataFrame, windows: Timeline, stream: Stream
) -> Plot:
    """Draw the evidence of one key."""
    mine = findings.filter(pl.col("key") == key)
    stride = -(-len(windows) // MOST_COLUMNS)
    grid, left_out = _grid(mine, windows, stride, stream)
    height = _ROW_HEIGHT * len(grid.labels) + 58

    def paint(_: Figure, axes: Axes) -> None:
        _paint(axes, grid, windows, stride)

    of = key_label(key)
    alarmed = [grid.labels[row] for row in np.flatnonzero(grid.alarm.any(axis=1))]
    caption = (
        "Each cell is the evidence against one feature in one window, as a multiple of what it "
        "takes to alarm: blue is below the threshold, orange and red above (in print, light grey "
        "and dark). A diamond marks an alarm, a stroke a test that could not be made."
    )
    if stride > 1:
        caption += f" Each column is the strongest of {stride} windows."
    if left_out:
        caption += f" Left out: the {count(left_out, 'quietest row')}."
    label = (
        f"Heat map of evidence{f' for {of}' if of else ''}: {count(len(grid.labels), 'row')} by "
        f"{count(len(windows), 'window')}; "
        + (f"alarms for {listed(alarmed)}" if alarmed else "no alarm")
        + f"; strongest evidence {number(_strongest(mine))} times the threshold."
    )
    svg = draw(f"heat-{ordinal}", paint, width=_WIDTH, height=height)
    return Plot(svg, label, caption)


def legend() -> list[tuple[str, str]]:
    """Return (CSS class, words) for each class of evidence."""
    ends = [number(end) for end in CLASSES]
    words = [
        f"below {ends[0]}",
        *(f"{a}–{b}" for a, b in pairwise(ends)),
        f"over {ends[-1]}",
    ]
    return [(f"heat-{place}", text) for place, text in enumerate(words)]


def _strongest(findings: pl.DataFrame) -> float | None:
    value = findings["ratio"].max()
    return value if isinstance(value, float) else None


def _grid(
    findings: pl.DataFrame, windows: Timeline, stride: int, stream: Stream
) -> tuple[_Grid, int]:
    order = {name: place for place, name in enumerate(stream.columns)}
    monitors = list(MONITORS)
    subjects = findings.select("monitor", "subject").unique().rows()
    rows = sorted(
        subjects,
        key=lambda row: (
            monitors.index(row[0]) if row[0] in monitors else len(monitors),
            order.get(row[1], len(order)),
            row[1],
        ),
    )
    place = {row: number for number, row in enumerate(rows)}
    shape = (len(rows), -(-len(windows) // stride))
    ratio = np.full(shape, np.nan)
    untested = np.zeros(shape, dtype=np.bool_)
    alarm = np.zeros(shape, dtype=np.bool_)
    positions = windows.positions()
    columns = ("monitor", "subject", *COLUMNS, "ratio", "status", "alarm")
    for monitor, subject, start, end, index, value, status, alarmed in findings.select(
        columns
    ).iter_rows():
        cell = place[monitor, subject], positions[start, end, index] // stride
        if value is not None:
            ratio[cell] = np.fmax(ratio[cell], value)
        untested[cell] |= status != "tested"
        alarm[cell] |= alarmed
    untested &= np.isnan(ratio)
    keep = np.arange(len(rows))
    if len(rows) > MOST_ROWS:
        strength = np.where(np.isnan(ratio), -1.0, ratio).max(axis=1) + 1e6 * alarm.any(axis=1)
        keep = np.sort(np.argsort(-strength, kind="stable")[:MOST_ROWS])
    labels = [
        shorten(subject) if monitor == "feature_shift" else f"{shorten(subject, 20)} · {monitor}"
        for monitor, subject in (rows[i] for i in keep)
    ]
    return _Grid(labels, ratio[keep], untested[keep], alarm[keep]), len(rows) - len(keep)


def _paint(axes: Axes, grid: _Grid, windows: Timeline, stride: int) -> None:
    from matplotlib.patches import PathPatch

    height, width = grid.ratio.shape
    classes = np.digitize(grid.ratio, CLASSES)
    for ordinal in range(len(CLASSES) + 1):
        cells = np.argwhere((classes == ordinal) & ~np.isnan(grid.ratio))
        if len(cells):
            fill = colour(f"heat-{ordinal}")
            axes.add_patch(PathPatch(_squares(cells), facecolor=fill, linewidth=0))
    size = min(8.0, 0.55 * 800.0 / width)
    rows, columns = np.nonzero(grid.untested)
    stroke = (2, 0, -45)  # a polygon of two corners
    axes.plot(columns, rows, marker=stroke, ms=size, mec=colour("muted"), mew=1, ls="none")
    rows, columns = np.nonzero(grid.alarm)
    look: dict[str, Any] = {
        "markerfacecolor": colour("page"),
        "markeredgecolor": colour("ink"),
        "mew": 1.2,
    }
    axes.plot(columns, rows, "D", ms=size, ls="none", **look)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_xticks(*windows.ticks(12, stride))
    axes.set_xlabel(windows.noun)
    axes.set_yticks(range(height), grid.labels)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    labels = axes.get_yticklabels()
    for row in np.flatnonzero(grid.alarm.any(axis=1)):
        labels[row].set_color(colour("alarm"))
        labels[row].set_fontweight("bold")


def _squares(cells: NDArray[np.intp]) -> Path:
    """Return one path of all cells of a class: a path per cell would be ten times the bytes."""
    from matplotlib.path import Path

    half = 0.5 - _MARGIN
    corners = np.asarray(
        [[-half, -half], [half, -half], [half, half], [-half, half], [-half, -half]]
    )
    vertices = cells[:, None, ::-1] + corners
    codes = np.tile(
        [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(cells)
    )
    return Path(vertices.reshape(-1, 2), codes)
