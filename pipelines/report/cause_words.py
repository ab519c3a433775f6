"""A cause in words: which sensor, since when, how, and how bad."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np

from monitors.attribute.attribution import Attribution
from monitors.budget import FORECAST_MONITORS
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


MOST_TERMS = 6  # shares of a loss that are named
_FEW = 3  # columns of a map that says what moved
_ONE_SIDED = 0.25  # of the span of nine rows in ten: a median nearer to 0 is no offset

LONGEST_NAME = 60  # characters of a column or key in a heading

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
    if finding.window_start is not None:
        window = f"the window {window}"
    if first is None or (first.start, first.index) == (finding.window_start, finding.window_index):
        return f"{began} (in {window})" if began else f"in {window}, or before"
    if began is None:
        began = f"the window that began {moment(first.start)}" if first.start else ""
        began = began or window_label(None, None, first.index)
    return f"{began}; still so in {window}"


def badness(cause: Cause) -> Iterator[str]:
    """Say how far off it reads, what that cost, how large it is, and what it explains."""
    off = "" if cause.course is None else readings(cause, cause.course)
    costs = [loss(cost, cause) for cost in cause.attributions]
    told = [*costs, off] if cause.finding.monitor in FORECAST_MONITORS else [off, *costs]
    yield from filter(None, told)
    yield _size(cause.finding)
    if _map_confirms(cause):
        yield map_words(cause)


def _map_confirms(cause: Cause) -> bool:
    """Say whether a map that a sentence can hold tells the subject from everything else."""
    if not cause.maps or not cause.map_given_others:
        return False
    columns = cause.maps[0].steps[cause.maps[0].chosen].columns
    return len(columns) <= _FEW and cause.finding.subject in columns


def _size(finding: Finding) -> str:
    if finding.effect is None:
        return "of unknown size"
    if finding.monitor == "feature_shift":
        much = number(finding.effect)
        return f"the change is {much} times the spread that the other features leave unexplained"
    return f"an effect of {effect(finding)}"


def readings(cause: Cause, course: Conditional) -> str:
    """Say in the unit how far off the subject reads since the change; nothing where no row is."""
    off = course.observed - course.expected
    if cause.since is not None and course.times is not None:
        off = off[course.times >= cause.since.timestamp() * 1e6]
    off = off[np.isfinite(off)]
    if not len(off):
        return ""
    low, middle, high = (float(value) for value in np.quantile(off, [0.05, 0.5, 0.95]))
    unit = f" {cause.unit}" if cause.unit else ""
    then = "since then" if cause.since is not None else "in this window"
    ends = f"{signed(low)} to {signed(high)}{unit}"
    if abs(middle) < _ONE_SIDED * (high - low):
        text = f"it reads {ends} off {then}, in nine rows of ten"
    else:
        way = "high" if middle > 0 else "low"
        text = f"it reads {number(abs(middle))}{unit} too {way} {then}"
        text += f" (median; {ends} in nine rows of ten)"
    return f"given the other features {text}"


def subject_of(other: Finding, cause: Cause) -> str:
    """Return the subject of an alarm beside a finding, with its key where that is another."""
    of = "" if other.key == cause.finding.key else key_label(other.key)
    return f"{other.subject}, {of}" if of else other.subject


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


def loss(cost: Attribution, cause: Cause) -> str:
    """Say what happened to the loss of a forecast, and what most of it is due to."""
    unit = f" {cost.unit}" if cost.unit else ""
    forecast = f"the {cost.loss} of the forecast of {cost.target}"
    if cause.kept_rows is not None:  # the monitors of the forecast count all rows
        forecast = f"in the {cause.kept_rows:,} rows kept of {cause.finding.rows:,}, {forecast}"
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
    text = f"{text}: {signed(change)}"
    if change <= 0:
        return f"{text}, no worse than before"
    most = max(cost.shares, key=lambda share: share.amount)
    if cost.unexplained > max(most.amount, change / 2):
        return f"{text}, mostly not explained ({signed(cost.unexplained)})"
    if most.low <= 0:  # no share is known to have raised it
        return text
    much = "mostly" if most.amount > change / 2 else "in part"
    return f"{text}, {much} by {most.mechanism} ({signed(most.amount)})"


def terms(cost: Attribution) -> list[tuple[str, float, tuple[float, float] | None]]:
    """Return what a change of loss is the sum of, the largest first: name, amount, limits.

    What is left unexplained comes last; it is there once outcomes are known.
    """
    shares = sorted(cost.shares, key=lambda share: -abs(share.amount))
    told: list[tuple[str, float, tuple[float, float] | None]] = [
        (share.mechanism, share.amount, (share.low, share.high)) for share in shares[:MOST_TERMS]
    ]
    if len(shares) > MOST_TERMS:
        rest = sum(share.amount for share in shares[MOST_TERMS:])
        told.append((count(len(shares) - MOST_TERMS, "smaller share"), rest, None))
    if shares and cost.after is not None:
        told.append(("not explained", cost.unexplained, None))
    return told


def map_words(cause: Cause) -> str:
    """Say which map explains how much, without a full stop."""
    given = "given the other features, " if cause.map_given_others else "season and load included, "
    return _joined(given + (cause.map_sentence or "").removesuffix("."))


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
    return _joined(text) or "changed"


def _joined(text: str) -> str:
    """Keep a number and its % in one line."""
    return text.replace(" %", f"{NBSP}%")


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
