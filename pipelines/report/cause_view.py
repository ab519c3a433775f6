"""A cause as the templates take it: sentences, pictures, tables."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from monitors.cause.record import Cause
from pipelines.report.cause_figures import course_plot, map_plot, share_plot, spread_plots
from pipelines.report.cause_words import answers, loss, map_words, similar_words
from pipelines.report.figure import Plot


@dataclass(frozen=True, slots=True)
class Cost:
    """What a shift cost one forecast."""

    sentence: str
    plot: Plot | None
    note: str


@dataclass(frozen=True, slots=True)
class CauseView:
    """One cause."""

    id: str
    subject: str
    answers: list[tuple[str, tuple[str, ...]]]  #: question, sentences
    course: Plot | None
    spreads: list[Plot]
    costs: list[Cost]
    targets: list[tuple[str, str]]  #: target, whether it moved itself
    map_sentence: str
    map_plot: Plot | None
    similar: list[tuple[str, str]]  #: id, words
    checks: tuple[str, ...]
    notes: tuple[str, ...]
    commands: tuple[str, ...]


def view(name: str, cause: Cause, folder: Path) -> CauseView:
    """Draw a cause.

    Parameters
    ----------
    name : unique on the page; it begins the ids of the figures.
    folder : of the run, for the commands.
    """
    best = cause.maps[0] if cause.maps else None
    where = shlex.quote(str(folder))
    return CauseView(
        id=cause.finding.id,
        subject=cause.finding.subject,
        answers=answers(cause),
        course=course_plot(f"{name}-course", cause),
        spreads=list(spread_plots(name, cause)),
        costs=[
            Cost(loss(cost, cause), share_plot(f"{name}-cost-{place}", cost), cost.note or "")
            for place, cost in enumerate(cause.attributions)
        ],
        targets=[(moved.target, moved.sentence) for moved in cause.targets],
        map_sentence=map_words(cause) if cause.maps else "",
        map_plot=None if best is None else map_plot(f"{name}-map", cause, best),
        similar=[(found.finding_id, similar_words(found)) for found in cause.similar],
        checks=tuple(cause.checks),
        notes=tuple(cause.notes),
        commands=(f"tidegauge explain {cause.finding.id} --run {where}",),
    )
