"""Puts the chosen explanation into words: its sentence, its size and the unit of that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from monitors.explain import sentences
from monitors.explain.by_profiles import Fit
from monitors.explain.diagnosis import Diagnosis
from monitors.explain.residual_law import ResidualLaw
from monitors.explain.series import Explanation


def put_into_words(
    found: Explanation,
    fit: Fit,
    law: ResidualLaw,
    unit: str | None,
    since: datetime | None,
    partner: str | None,
) -> Diagnosis:
    """Return the diagnosis of an explanation.

    Parameters
    ----------
    fit : of the Gram matrices, for how much the other features explain.
    unit : of the feature, if it is known.
    since : when within the window it began, if it did.
    partner : name of the feature it was swapped with.
    """
    diagnosis = _in_unit(found, unit) or _other(found, fit, law, unit, partner)
    if since is None:
        return diagnosis
    return replace(diagnosis, sentence=diagnosis.sentence + sentences.beginning(since), since=since)


def _in_unit(found: Explanation, unit: str | None) -> Diagnosis | None:
    """Word the kinds whose size is in the feature's unit."""
    if found.size is None:
        return None
    match found.kind:
        case "offset":
            said = sentences.offset(found.size, unit, found.size)
        case "drift":
            said = sentences.drift(found.size, unit)
        case "clipped":
            said = sentences.clipped(found.size, unit, above=found.above)
        case "stuck":
            said = sentences.stuck(found.size, unit)
        case _:
            return None
    return Diagnosis(found.kind, said, found.size, unit)


def _other(
    found: Explanation, fit: Fit, law: ResidualLaw, unit: str | None, partner: str | None
) -> Diagnosis:
    """Word the kinds whose size is a factor, a time, or none."""
    size = found.size or 0.0
    if found.kind == "lag":
        return _late(size, law.step)
    if found.conversion is not None:
        before, now = found.conversion.before, found.conversion.now
        return Diagnosis("unit", sentences.unit(before, now, given=before == unit), unit=now)
    if partner is not None:
        return Diagnosis("swapped", sentences.swapped(partner), partner=partner)
    if found.kind in ("scale", "noise"):
        said = sentences.scale(size) if found.kind == "scale" else sentences.noise(size)
        return Diagnosis(found.kind, said, size)
    share = sentences.dependence if found.kind == "dependence" else sentences.replay
    return Diagnosis(found.kind, share(fit.follows_before, fit.follows_now))


def _late(steps: float, step: float | None) -> Diagnosis:
    """Word a lag in time, or in rows where they have none."""
    if step is None:
        rows = f"{abs(steps):.0f} {'row' if abs(steps) == 1 else 'rows'}"
        return Diagnosis("lag", sentences.lag(rows, ahead=steps < 0), steps, "rows")
    seconds = steps * step / 1e6
    said = sentences.lag(sentences.duration(abs(seconds)), ahead=steps < 0)
    return Diagnosis("lag", said, seconds, "s")
