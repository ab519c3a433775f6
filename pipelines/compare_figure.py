"""The figure of `compare-at`: quantiles before and after, and the jump of each with its band."""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.files import write_text
from schemas.errors import OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from monitors.jump.columns import ColumnJump
    from pipelines.compare_at import BeforeAfter

MOST_COLUMNS = 12  # that are drawn, the surest jumps first
SUFFIXES = (".svg", ".png", ".html")
_BEFORE, _AFTER, _BAND, _RULE = "#59636e", "#0067a8", "#dbe9f4", "#8a949e"
_STYLE: Any = {  # matplotlib types the names of its settings one by one
    "svg.fonttype": "none",
    "svg.hashsalt": "tidegauge",
    "text.parse_math": False,  # a column may be called $a$
    "axes.formatter.use_mathtext": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
}


def check_suffix(path: Path) -> None:
    """Check that a figure can be written by that name.

    Raises
    ------
    OutputError
        When it cannot.
    """
    if path.suffix.lower() not in SUFFIXES:
        message = f"--out {path}: give a name that ends in {', '.join(SUFFIXES)}"
        raise OutputError(message)


def write_figure(result: BeforeAfter, path: Path) -> None:
    """Write the figure; an HTML page also has the sentences.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    check_suffix(path)
    shown = result.columns[:MOST_COLUMNS]
    if path.suffix.lower() == ".png":
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_drawn(result, shown, "png"))
        except OSError as error:
            message = f"{path}: cannot be written: {error.strerror or error}"
            raise OutputError(message) from error
        return
    svg = _drawn(result, shown, "svg").decode()
    write_text(path, svg if path.suffix.lower() == ".svg" else _page(result, svg))


def _drawn(result: BeforeAfter, shown: Any, kind: str) -> bytes:
    import warnings

    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # whatever the user's matplotlibrc says
        mpl.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.* missing from")
        figure = Figure(figsize=(9.0, 0.4 + 2.7 * len(shown)), layout="constrained")
        axes = figure.subplots(len(shown), 2, squeeze=False)
        for row, one in zip(axes, shown, strict=True):
            _paint(row, one, f"{result.at:%Y-%m-%d %H:%M} UTC")
        return _saved(figure, kind)


def _saved(figure: Figure, kind: str) -> bytes:
    file = io.BytesIO()
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    figure.savefig(file, format=kind, dpi=120, metadata=metadata)
    return file.getvalue()


def _paint(axes: Any, one: ColumnJump, when: str) -> None:
    left, right = axes
    found, unit = one.quantiles, "" if one.unit is None else f" ({one.unit})"
    left.plot(found.levels, found.before, color=_BEFORE, linestyle="--", label="just before")
    left.plot(found.levels, found.after, color=_AFTER, label="just after")
    left.set_ylabel(f"{one.column}{unit}")
    left.legend(edgecolor="none", framealpha=0.9)
    left.set_title(f"quantiles at {when}", loc="left", fontsize=10)
    low, high = found.jump - found.half_width, found.jump + found.half_width
    right.fill_between(found.levels, low, high, color=_BAND, label="band of all quantiles")
    right.plot(found.levels, found.jump, color=_AFTER)
    right.axhline(0.0, color=_RULE, linewidth=0.8)
    if len(one.moved):
        jumped = [
            jump for at, jump in zip(found.levels, found.jump, strict=True) if at in one.moved
        ]
        right.plot(one.moved, jumped, "o", color=_AFTER, markersize=4, label="not 0")
    right.legend(edgecolor="none", framealpha=0.9)
    verdict = "jumped" if one.jumped else "no jump shown"
    right.set_title(f"jump{unit}: {verdict}", loc="left", fontsize=10)
    for panel in axes:
        panel.set_xlabel("quantile")


def _page(result: BeforeAfter, svg: str) -> str:
    says = "".join(f"<li>{html.escape(one.sentence)}</li>" for one in result.columns)
    title = f"Before and after {result.at:%Y-%m-%d %H:%M} UTC"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem}svg{max-width:100%;height:auto}</style>"
        f"<h1>{title}</h1><ul>{says}</ul>{svg[svg.index('<svg') :]}</html>\n"
    )
