"""Matplotlib figures as inline SVG whose colours are the page's CSS variables.

A figure is drawn with one placeholder colour per role; each placeholder becomes ``var(--role)``, so
that the page's style sheet decides how it looks in light, in dark and in print.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pipelines.report.words import tick

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = (
    "ink",
    "muted",
    "rule",
    "page",
    "line",
    "band",
    "band-inner",
    "alarm",
    "shade",
    "heat-0",
    "heat-1",
    "heat-2",
    "heat-3",
    "heat-4",
    "heat-5",
)
_PLACEHOLDER = {role: f"#01{number:02x}fe" for number, role in enumerate(_ROLES)}
_ROLE_OF = {placeholder: role for role, placeholder in _PLACEHOLDER.items()}

_POINTS = 72  # SVG units per inch: with it, sizes here are CSS pixels at full width
_STYLE: Any = {  # matplotlib types the names of its settings one by one
    "svg.fonttype": "none",
    "svg.hashsalt": "tidegauge",
    "text.parse_math": False,  # a column may be called $a$
    "axes.formatter.use_mathtext": False,
    "figure.dpi": _POINTS,
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": f"cycler('color', ['{_PLACEHOLDER['ink']}'])",
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.edgecolor": _PLACEHOLDER["rule"],
    "axes.labelcolor": _PLACEHOLDER["muted"],
    "xtick.color": _PLACEHOLDER["rule"],
    "ytick.color": _PLACEHOLDER["rule"],
    "xtick.labelcolor": _PLACEHOLDER["muted"],
    "ytick.labelcolor": _PLACEHOLDER["muted"],
    "grid.color": _PLACEHOLDER["rule"],
    "grid.linewidth": 0.6,
    "text.color": _PLACEHOLDER["ink"],
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "date.epoch": "1970-01-01T00:00:00",
}
_NO_METADATA: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure of the page."""

    svg: Markup
    label: str  #: what it is, for those who do not see it
    caption: str
    wide: bool = True  #: scrolls sideways on a narrow screen instead of shrinking


def colour(role: str) -> str:
    """Return the placeholder that becomes the CSS variable of a role."""
    return _PLACEHOLDER[role]


def draw(
    name: str, paint: Callable[[Figure, Axes], None], *, width: float, height: float
) -> Markup:
    """Draw one figure as an inline SVG element.

    Parameters
    ----------
    name : unique on the page; it begins the ids inside the SVG.
    paint : draws on the axes.
    width, height : CSS pixels.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # whatever the user's matplotlibrc says
        mpl.rcParams.update(_STYLE)
        # The browser has the glyphs that the font used for measuring lacks.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.* missing from")
        figure = Figure(figsize=(width / _POINTS, height / _POINTS), layout="constrained")
        paint(figure, figure.add_subplot())
        file = io.StringIO()
        # `savefig` would draw twice: once for nothing, to know what a bounding box needs.
        FigureCanvasSVG(figure).print_svg(file, metadata=_NO_METADATA)
    return Markup(_inline(file.getvalue(), name))  # noqa: S704 (matplotlib escapes its texts)


def date_axis(axes: Axes) -> None:
    """Label round times in the words of the page; to be called when the limits are set."""
    from matplotlib.dates import AutoDateLocator, num2date

    axes.xaxis.set_major_locator(AutoDateLocator(minticks=5, maxticks=10))
    low, high = axes.get_xlim()
    shown = [place for place in axes.get_xticks() if low <= place <= high]
    times = [num2date(place) for place in shown]
    previous = [None, *times[:-1]]
    axes.set_xticks(shown, [tick(*pair) for pair in zip(times, previous, strict=True)])


def _inline(svg: str, name: str) -> str:
    """Turn matplotlib's SVG document into an element of the page."""
    body = svg[svg.index("<svg") : svg.rindex("</svg>")]
    body = body[body.index(">") + 1 :]
    body = re.sub(
        r"<!--.*?-->|<style.*?</style>|<metadata>.*?</metadata>", "", body, flags=re.DOTALL
    )
    body = re.sub(r"<[^>]*>", lambda tag: _compact(tag[0], name), body)
    body = re.sub(r">\s+<", "><", body.replace("<defs></defs>", ""))
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None  # noqa: S101 (matplotlib always writes one)
    return f'<svg viewBox="{box[1]}" aria-hidden="true" focusable="false">{body.strip()}</svg>'


def _compact(tag: str, name: str) -> str:
    """Shorten one tag, make its ids the page's own, and its colours CSS variables."""
    if tag.startswith("<g "):
        tag = re.sub(r' id="[^"]*"', "", tag)  # nothing points at groups
    tag = re.sub(r' id="([^"]*)"', rf' id="{name}-\1"', tag)
    tag = re.sub(r'xlink:href="#([^"]*)"', rf'href="#{name}-\1"', tag)
    tag = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", tag)
    tag = re.sub(r"font-family:[^;\"]*;? ?", "", tag)
    tag = re.sub(r" transform=\"rotate\(-0 [^\"]*\)\"", "", tag)
    tag = re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
    tag = re.sub(r"#01[0-9a-f]{2}fe", lambda found: f"var(--{_ROLE_OF[found[0]]})", tag)
    return re.sub(r"\s+", " ", tag).replace(' "', '"')
