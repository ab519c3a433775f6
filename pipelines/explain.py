"""`tidegauge explain`: one finding and its cause, as text for a terminal of 80 columns."""

from __future__ import annotations

import math
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from monitors.attribute.attribution import Attribution
from monitors.cause.quantile_shift import QuantileShift
from monitors.cause.record import Cause, Similar
from monitors.explain.conditional import Conditional
from monitors.explain.maps import ShiftMap
from pipelines.causes import Causes
from pipelines.report.cause_words import (
    MONITORS,
    answers,
    clause,
    map_words,
    move_words,
    signed,
    similar_words,
    subject_of,
    terms,
)
from pipelines.report.words import NBSP, moment, number, shorten
from pipelines.run_folder import Run
from schemas.records import Finding

WIDTH = 80
MOST_ROWS = 14  # of the course over time
LEAST_P = 1e-300  # what is smaller is beyond the numbers of the machine
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # a terminal obeys them; data hold any
_BAR = 24  # columns of the longest bar
_SHOWN = (0, 4, 9, 14, 18)  # of the levels: 5, 25, 50, 75 and 95 %

#: What a statistic is, by `alarms.control`.
_SCALES = {
    "window": "−log10 p",
    "fdr": "−log10 of the adjusted p",
    "e-detector": "log10 of the e-detector",
}


def explain_finding(run: Run, finding_id: str, baseline: Path | None = None) -> str:
    """Return what is known of a finding and its cause, as text.

    Parameters
    ----------
    finding_id : the whole of it, or a beginning that no other has.
    baseline : folder of the run's baselines; None: where it was when the run was made.

    Raises
    ------
    OutputError
        When the run has no such finding, or a part of it is damaged.
    """
    causes = Causes(run, baseline)
    finding = causes.find(finding_id)
    cause = causes.cause(finding)
    parts = [
        _head(cause, run),
        *_tables(cause),
        _listed("What to check", (_sentence(text) for text in cause.checks)),
        _listed("Also alarmed in this window", (_beside(other, cause) for other in cause.beside)),
        _listed("Similar shifts before", (_similar(found) for found in cause.similar)),
        _listed("Not shown", (_sentence(text) for text in cause.notes)),
        [f"Pictures of it: tidegauge report {shlex.quote(str(run.folder))}"],
    ]
    text = "\n\n".join("\n".join(part) for part in parts if part)
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def _head(cause: Cause, run: Run) -> list[str]:
    finding = cause.finding
    unit = f" [{cause.unit}]" if cause.unit else ""
    lines = [
        *_wrapped(f"{finding.subject}{unit}: {clause(finding.subject, finding.explanation)}", ""),
        f"  {'ALARM' if finding.alarm else 'no alarm'} of {finding.monitor} ({finding.method})",
        "",
    ]
    for question, sentences in answers(cause):
        lines += _field(question, " ".join(sentences))
    if finding.statistic is not None:
        scale = _SCALES[run.stream.alarms.control]
        lines += [
            "",
            f"  evidence   {finding.statistic:.2f} ({scale}), alarm above {finding.threshold:.2f}",
            f"  p-value    {_p_value(finding)} for this subject alone",
            f"  effect     {finding.effect:.2f}, rank {finding.rank}",
        ]
    return [
        *lines,
        f"  rows       {finding.rows:,}",
        f"  baseline   {finding.baseline_id}",
        f"  id         {finding.id}",
    ]


def _tables(cause: Cause) -> Iterator[list[str]]:
    unit = f", {cause.unit}" if cause.unit else ""
    course = () if cause.course is None else tuple(_course(cause.course))
    if course:
        yield [f"Read and expected{unit}", *course]
    if cause.shift is not None:
        yield [f"Quantiles of what it read less what was expected{unit}", *_shift(cause.shift)]
    if cause.own_shift is not None:
        yield [f"Its own quantiles{unit}", *_shift(cause.own_shift)]
    for cost in cause.attributions:
        if cost.shares:
            yield [_cost_title(cost), *_shares(cost)]
    if cause.targets:
        yield [
            "Did the target itself move?",
            *(line for found in cause.targets for line in _wrapped(found.sentence, "  ")),
        ]
    if cause.maps:
        yield ["What tells this window from the reference", *_map(cause, cause.maps[0])]


def _course(course: Conditional) -> Iterator[str]:
    """Yield a line per stretch of the window: mean read, mean expected, and the difference.

    Nothing without times, and of a sensor that read nothing.
    """
    off = course.observed - course.expected
    known = np.flatnonzero(np.isfinite(off))
    if course.times is None or not len(known):
        return
    stretches = [part for part in np.array_split(known, min(MOST_ROWS, len(known))) if len(part)]
    means = [
        (int(part[0]), course.observed[part].mean(), course.expected[part].mean())
        for part in stretches
    ]
    most = max((abs(read - due) for _, read, due in means), default=0.0)
    places = _places(most)
    yield f"  {'from':20}{'read':>9}{'expected':>10}{'off':>9}"
    for first, read, due in means:
        at = np.datetime64(int(course.times[first]), "us").item()
        bar = _bar(read - due, most)
        both = f"{_plain(read, places):>9} {_plain(due, places):>9}"
        yield f"  {moment(at):20}{both} {_fixed(read - due, places):>8}  {bar}".rstrip()


def _shift(found: QuantileShift) -> Iterator[str]:
    yield f"  {'quantile':>8}{'before':>11}{'after':>11}{'moved by':>11}   95 % limits"
    for place in _SHOWN:
        limits = f"{signed(found.low[place])} to {signed(found.high[place])}"
        yield (
            f"  {100 * found.levels[place]:>6.0f} %{number(found.before[place]):>11}"
            f"{number(found.after[place]):>11}{signed(found.shift[place]):>11}   {limits}"
        )


def _cost_title(cost: Attribution) -> str:
    unit = f", {cost.unit}" if cost.unit else ""
    return f"What moved the {cost.loss} of the forecast of {cost.target}{unit}"


def _shares(cost: Attribution) -> Iterator[str]:
    shown = terms(cost)
    most = max(abs(amount) for _, amount, _ in shown)
    places = _places(most)
    for what, amount, ends in shown:
        limits = "" if ends is None else f"({_fixed(ends[0], places)} to {_fixed(ends[1], places)})"
        bar = _bar(amount, most, 12)
        yield f"  {shorten(what, 28):28}{_fixed(amount, places):>9} {limits:22} {bar}".rstrip()
    if cost.note:
        yield from _wrapped(_sentence(cost.note), "  ")


def _map(cause: Cause, found: ShiftMap) -> Iterator[str]:
    yield from _wrapped(_sentence(map_words(cause)), "  ")
    step = found.steps[found.chosen]
    for cluster in range(len(step.moves)):
        if len(step.moves) > 1:
            yield f"  {step.sizes[cluster]:.0%} of the rows".replace("%", " %")
        for place, column in enumerate(step.columns):
            if column in cause.scales:
                yield f"  {shorten(column, 28):28} {move_words(cause, found, cluster, place)}"


def _listed(title: str, texts: Iterator[str]) -> list[str]:
    lines = [line for text in texts for line in _wrapped(text, "  - ", "    ")]
    return [title, *lines] if lines else []


def _beside(other: Finding, cause: Cause) -> str:
    monitor = MONITORS.get(other.monitor, other.monitor)
    says = clause(other.subject, other.explanation)
    return f"{subject_of(other, cause)} ({monitor}): {says}; {other.id}"


def _similar(found: Similar) -> str:
    return f"{similar_words(found)}; {found.finding_id}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _field(name: str, text: str) -> list[str]:
    return _wrapped(text, f"  {name:11}", " " * 13)


def _wrapped(text: str, first: str, then: str | None = None) -> list[str]:
    indent = first if then is None else then
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(NBSP, " ") for line in lines]


def _p_value(finding: Finding) -> str:
    p = finding.p_value
    return "none" if p is None else f"{p:.2g}" if p > LEAST_P else f"below {LEAST_P:.0g}"


def _places(most: float) -> int:
    """Return the decimals that give the largest of some numbers three digits."""
    return min(6, max(0, 2 - math.floor(math.log10(most)))) if most > 0 else 0


def _plain(value: float, places: int) -> str:
    if abs(value) >= 1e7:
        return number(value)
    return f"{value:,.{places}f}".replace("-", "−")


def _fixed(value: float, places: int) -> str:
    """Return a number with its sign, and as many decimals as those that it stands above."""
    return f"+{_plain(value, places)}" if value > 0 else _plain(value, places)


def _bar(value: float, most: float, width: int = _BAR) -> str:
    """Return a bar of eighths of a column; one with a minus before it where it is negative."""
    if not most > 0 or not np.isfinite(value):
        return ""
    eighths = round(8 * width * abs(value) / most)
    full, rest = divmod(eighths, 8)
    bar = "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")
    return f"−{bar}" if value < 0 and bar else bar
