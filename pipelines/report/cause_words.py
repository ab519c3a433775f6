"""A cause in words: which sensor, since when, how, and how bad."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np

from monitors.attribute.attribution import Attribution
from monitors.cause.record import Cause, Similar
from monitors.explain.conditional import Conditional
from monitors.explain.maps import ShiftMap
from monitors.explain.sentences import beginning
from pipelines.report.words import (
    NBSP,
    count,
    key_label,
    moment,
    number,
    window_label,
)
from schemas.records import Finding

MONITORS = {
    "feature_shift": "feature shift",
    "ks": "Kolmogorov-Smirnov distance",
    "wasserstein": "Wasserstein distance",
    "energy": "energy distance",
    "jensen_shannon": "Jensen-Shannon distance",
    "psi": "population stability index",
    "chi_square": "chi-square of the shares",
    "missing_rate": "missing values",
    "new_category": "new categories",
    "range": "values outside the range",
    "coverage": "coverage of the forecast interval",
    "pinball": "pinball loss of the forecast",
    "pit": "calibration of the forecast quantiles",
    "attributions": "feature attributions of the forecast",
}


_EFFECTS = {
    "feature_shift": " conditional standard deviations",
    "wasserstein": " standard deviations of the reference",
    "attributions": " in the forecast, on average",
}


def answers(cause: Cause) -> list[tuple[str, tuple[str, ...]]]:
    """Return the four questions of who is on call, with the sentences that answer each."""
    finding = cause.finding
    unit = f" ({cause.unit})" if cause.unit else ""
    of = key_label(finding.key)
    return [
        ("Which", (f"{finding.subject}{unit}{f', {of}' if of else ''}",)),
        ("Since", (since(cause),)),
        ("How", (sentence(finding.subject, finding.explanation, finding.since),)),
        ("How bad", tuple(f"{text[0].upper()}{text[1:]}." for text in badness(cause))),
    ]


def since(cause: Cause) -> str:
    """Say when the change began, as exactly as that is known, and which window tells it."""
    finding = cause.finding
    window = window_label(finding.window_start, finding.window_end, finding.window_index)
    first = cause.first_window
    began = moment(cause.since) if cause.since is not None else None
    if first is None or (first.start, first.index) == (finding.window_start, finding.window_index):
        return f"{began} (window {window})" if began else f"in the window {window}, or before"
    if began is None:
        began = f"the window that began {moment(first.start)}" if first.start else ""
        began = began or window_label(None, None, first.index)
    return f"{began}; still so in the window {window}"


def badness(cause: Cause) -> Iterator[str]:
    """Say how large the change is, what it cost, and how much of the shift it explains."""
    size = effect(cause.finding)
    if cause.course is not None:
        off = readings(cause, cause.course)
        if off:
            yield off
    yield f"an effect of {size}" if cause.finding.effect is not None else "of unknown size"
    for cost in cause.attributions:
        text = loss(cost)
        if text:
            yield text
    if cause.map_sentence:
        yield map_words(cause)


def readings(cause: Cause, course: Conditional) -> str:
    """Say in the unit how far off the subject reads since the change; nothing where no row is."""
    off = course.observed - course.expected
    if cause.since is not None and course.times is not None:
        off = off[course.times >= cause.since.timestamp() * 1e6]
    off = off[np.isfinite(off)]
    if not len(off):
        return ""
    low, middle, high = (signed(float(value)) for value in np.quantile(off, [0.05, 0.5, 0.95]))
    unit = f" {cause.unit}" if cause.unit else ""
    then = "since then" if cause.since is not None else "in this window"
    return (
        f"given the other features it reads {middle}{unit} off at the median {then}, and "
        f"{low} to {high}{unit} in nine rows of ten"
    )


def effect(finding: Finding) -> str:
    """Return an effect in the words of its monitor."""
    size = finding.effect
    if size is None:
        return "not known"
    if finding.monitor == "coverage":
        return f"{100 * size:+.1f} points of coverage".replace("-", "−")
    if finding.monitor == "pinball":
        return f"{100 * size:+.0f}{NBSP}% of loss".replace("-", "−")
    return f"{number(size)}{_EFFECTS.get(finding.monitor, '')}"


def loss(cost: Attribution) -> str:
    """Say what happened to the loss of a forecast, and what most of it is due to."""
    unit = f" {cost.unit}" if cost.unit else ""
    forecast = f"the {cost.loss} of the forecast of {cost.target}"
    change = (
        sum(share.amount for share in cost.shares)
        if cost.after is None
        else cost.after - cost.before
    )
    if cost.after is None:
        text = f"{forecast} is likely to go from {number(cost.before)} to "
        text += f"{number(cost.before + change)}{unit}, though no outcome is known yet"
    else:
        text = f"{forecast} went from {number(cost.before)} to {number(cost.after)}{unit}"
    if not cost.shares:
        return "" if cost.after is None else text
    way = 1 if change >= 0 else -1
    most = max(cost.shares, key=lambda share: way * share.amount)
    if min(way * most.low, way * most.high) <= 0:  # no share is known to have this sign
        return f"{text}: {signed(change)}"
    return f"{text}: {signed(change)}, of which {most.mechanism} makes {signed(most.amount)}"


def map_words(cause: Cause) -> str:
    """Say which map explains how much, without a full stop."""
    given = "given the other features, " if cause.map_given_others else ""
    return given + (cause.map_sentence or "").removesuffix(".")


def move_words(cause: Cause, found: ShiftMap, cluster: int, place: int) -> str:
    """Say how far a map moves one of its columns: from where to where, or from the expected."""
    step = found.steps[found.chosen]
    column, move = step.columns[place], step.moves[cluster][place]
    scale = cause.scales[column]
    unit = f" {scale.unit}" if scale.unit else ""
    if cause.map_given_others:
        return f"{signed(move)}{unit}"
    start = step.starts[cluster][place] if step.starts else scale.mean
    return f"{number(start)} → {number(start + move)}{unit}"


def signed(value: float) -> str:
    """Return a number with its sign."""
    return f"+{number(value)}" if value > 0 else number(value)


def command(cause_of: str, folder: str) -> str:
    """Return the command that tells a finding in the terminal."""
    return f"tidegauge explain {cause_of} --run {folder}"


def clause(subject: str, explanation: str, since: datetime | None = None) -> str:
    """Return an explanation without its subject, so that it can follow the subject's name.

    Parameters
    ----------
    since : when the change began, where that is said beside it and need not be said in it.
    """
    text = explanation.strip().removeprefix(f"{subject} ").removesuffix(".")
    if since is not None:
        text = text.removesuffix(beginning(since))
    return text or "changed"


def sentence(subject: str, explanation: str, since: datetime | None = None) -> str:
    """Return an explanation as a sentence that stands under its subject's name."""
    text = clause(subject, explanation, since)
    return f"{text[0].upper()}{text[1:]}."


def similar_words(found: Similar) -> str:
    """Say when an earlier shift was, how long it lasted, and how it was told."""
    when = window_label(found.start, found.end, found.start_index)
    return f"{found.subject}, {when}, {count(found.windows, 'window')}: " + clause(
        found.subject, found.explanation
    )
