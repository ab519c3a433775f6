"""The findings of the marginal monitors about one window of one key."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from monitors.encoder import Encoder
from monitors.feature_shift.reference import Reference
from monitors.gram import Profile
from monitors.marginals.counted import count_events
from monitors.marginals.reference import IGNORE_BELOW, LEAST_SHARE
from monitors.marginals.sentences import counted_sentence, distance_sentence
from monitors.marginals.statistics import DISTANCES
from schemas.monitors import OF_CATEGORIES, OF_NUMBERS, Marginal
from schemas.records import Finding, not_tested
from schemas.stream import Stream

_LEAST_P = 5e-324


def marginal_findings(
    encoder: Encoder,
    reference: Reference | None,
    stream: Stream,
    window: Profile,
    level: float,
    about: Mapping[str, Any],
    reason: str | None,
) -> Iterator[Finding]:
    """Yield the findings of every marginal monitor that is on.

    Parameters
    ----------
    level : probability of any alarm of one monitor when nothing changed.
    about : what all findings of the window have in common.
    reason : why nothing can be tested; None when it can. There is one where there is no reference.
    """
    for monitor in stream.monitors.marginals:
        shared = dict(about) | {"monitor": monitor, "rows": window.rows}
        shared["method"] = "histogram" if monitor in DISTANCES else "beta_binomial"
        features = _watched(monitor, encoder)
        if reference is None or reason is not None:
            yield from _not_tested(shared, features, encoder, str(reason))
        elif monitor not in DISTANCES:
            yield from _counted(
                monitor, features, encoder, reference, stream, window, level, shared
            )
        elif (few := _too_few(reference, window.rows)) is not None:
            yield from _not_tested(shared, features, encoder, few)
        else:
            yield from _distances(
                monitor, features, encoder, reference, stream, window, level, shared
            )


def _watched(monitor: Marginal, encoder: Encoder) -> list[int]:
    codings = list(enumerate(encoder.features))
    if monitor in OF_NUMBERS:
        return [j for j, coding in codings if coding.knots]
    if monitor in OF_CATEGORIES:
        return [j for j, coding in codings if not coding.knots]
    return [j for j, _ in codings]


def _too_few(reference: Reference, rows: int) -> str | None:
    needed = LEAST_SHARE * reference.window_rows
    if rows >= needed:
        return None
    return (
        f"not tested: the window has {rows:,} rows, and a comparison needs {needed:,.0f} "
        f"(a window of the reference has about {reference.window_rows:,.0f})"
    )


def _distances(
    monitor: Marginal,
    features: list[int],
    encoder: Encoder,
    reference: Reference,
    stream: Stream,
    window: Profile,
    level: float,
    shared: dict[str, Any],
) -> Iterator[Finding]:
    known = reference.marginals
    assert known is not None  # noqa: S101 (`check_fits` saw to it)
    found, adjusted = known.test(monitor, window.histograms, window.rows, level=level)
    for rank, (item, least) in enumerate(zip(found, adjusted, strict=True), start=1):
        name = encoder.names[item.feature]
        says = distance_sentence(
            monitor, item, known.bins, known.total, window.histograms, _unit(stream, name)
        )
        yield Finding(
            **shared,
            subject=name,
            status="tested",
            statistic=item.evidence,
            threshold=item.threshold,
            p_value=max(10.0**-item.evidence, _LEAST_P),
            effect=item.effect,
            alarm=item.alarm,
            rank=rank,
            explanation=says,
            p_adjusted=least,
        )
    left = set(features) - {item.feature for item in found}
    reason = "not tested: no value here, or but one in the reference"
    yield from _not_tested(shared, sorted(left), encoder, reason)


def _counted(
    monitor: Marginal,
    features: list[int],
    encoder: Encoder,
    reference: Reference,
    stream: Stream,
    window: Profile,
    level: float,
    shared: dict[str, Any],
) -> Iterator[Finding]:
    threshold = -math.log10(level / len(features))
    for rank, item in enumerate(count_events(monitor, features, reference, window), start=1):
        coding = encoder.features[item.feature]
        p_value = max(10.0**-item.evidence, _LEAST_P)
        yield Finding(
            **shared,
            subject=coding.name,
            status="tested",
            statistic=item.evidence,
            threshold=threshold,
            p_value=p_value,
            effect=item.effect,
            alarm=item.evidence > threshold and item.effect >= IGNORE_BELOW,
            rank=rank,
            explanation=counted_sentence(monitor, item, coding, _unit(stream, coding.name)),
            p_adjusted=min(1.0, p_value * len(features)),
        )


def _not_tested(
    shared: dict[str, Any], features: list[int], encoder: Encoder, reason: str
) -> Iterator[Finding]:
    return (not_tested(shared, encoder.names[j], reason) for j in features)


def _unit(stream: Stream, name: str) -> str:
    column = stream.columns.get(name)
    return f" {column.unit}" if column is not None and column.unit else ""
