"""Judges one window against the baseline: profile in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from monitors.baseline import Baseline
from monitors.budget import forecast_monitors, level_per_test
from monitors.explain.diagnose import diagnose
from monitors.explain.sample import Sample
from monitors.feature_shift.reference import Reference
from monitors.forecast_scores import test_scores, threshold_for
from monitors.gram import Profile
from monitors.marginals.findings import marginal_findings
from monitors.rollup import ALL_KEYS, RollUp, count_keys
from monitors.window import WindowPart
from schemas.monitors import FeatureShift
from schemas.records import Finding, WindowKey, not_tested
from schemas.stream import Stream

SEED = 20_260_101  # of the bootstrap: the same window gives the same finding, whoever asks
REPEATED = 1.1  # rows per event time: the estimate of the times has an error of 2 %
NO_BASELINE = (
    "not tested: the reference has no rows of this key, or too few; "
    "`key_baseline: pooled` compares a key with all keys"
)


def judge(
    baseline: Baseline, stream: Stream, window: WindowKey, part: WindowPart, revision: int = 0
) -> Iterator[Finding]:
    """Yield every finding about one window of one key.

    Parameters
    ----------
    stream : the stream file as it is now; its alarm budget and monitors count, not those at the
        time of `fit`.
    revision : how often the window has been judged before.
    """
    level = level_per_test(stream, baseline.keys)
    about = _about(baseline, stream, window, revision)
    repeated = _repeated(baseline, part)
    options = stream.monitors.feature_shift
    if options is not False:
        reference = baseline.reference_of(window.key)
        yield from _feature_shift(
            baseline, stream, about, part.profile, reference, options, repeated, part.rows.table
        )
    if stream.monitors.marginals:
        reference = baseline.reference_of(window.key)
        reason = NO_BASELINE if reference is None else repeated
        yield from marginal_findings(
            baseline.encoder, reference, stream, part.profile, level, about, reason
        )
    yield from _forecasts(baseline, stream, about, part, level, repeated)
    if stream.monitors.attributions:
        from monitors.attribute.attribution_findings import attribution_findings

        yield from attribution_findings(baseline, stream, about, part, level, repeated)


def judge_all_keys(
    baseline: Baseline, stream: Stream, window: WindowKey, rolled: RollUp, revision: int = 0
) -> Iterator[Finding]:
    """Yield the findings about one window of all keys together."""
    reference, options = baseline.references.get(ALL_KEYS), stream.monitors.feature_shift
    if reference is None or options is False:
        return
    about = _about(baseline, stream, window, revision)
    found = _feature_shift(
        baseline, stream, about, rolled.profile, reference, options, None, rows=None
    )
    yield from count_keys(found, rolled, baseline.encoder.names)


def _about(baseline: Baseline, stream: Stream, window: WindowKey, revision: int) -> dict[str, Any]:
    return {
        "revision": revision,
        "stream": stream.name,
        "key": window.key,
        "window_start": window.start,
        "window_end": window.end,
        "window_index": window.index,
        "baseline_id": baseline.id,
    }


def _repeated(baseline: Baseline, part: WindowPart) -> str | None:
    """Say that rows stand in the window more than once; None when they do not.

    Twice the same rows are not twice the evidence. Only a reference with one row a time tells.
    """
    rows, times = part.profile.rows, part.times.count
    if not baseline.span.get("unique_times") or rows <= REPEATED * times:
        return None
    return (
        f"not tested: {rows:,} rows have only about {times:,.0f} different event times, where the "
        f"reference has one row a time; remove the repeated rows"
    )


def _feature_shift(
    baseline: Baseline,
    stream: Stream,
    about: dict[str, Any],
    window: Profile,
    reference: Reference | None,
    options: FeatureShift,
    repeated: str | None,
    rows: pa.Table | None,
) -> Iterator[Finding]:
    shared = about | {
        "monitor": "feature_shift",
        "method": options.method,
        "rows": window.rows,
    }
    reason = NO_BASELINE if reference is None else reference.too_few(window.rows) or repeated
    if reference is None or reason is not None:
        for name in baseline.encoder.names:
            yield not_tested(shared, name, str(reason))
        return
    level = level_per_test(stream, baseline.keys)
    found = reference.test(window, level=level, ignore_below=options.ignore_below, seed=SEED)
    adjusted = reference.adjusted(found, window.rows)
    named = [item.feature for item in found if item.alarm]
    sample = None
    if named and rows is not None:
        time = None if stream.time is None else stream.time.column
        sample = Sample(baseline.rows_of(about["key"]), rows, time)
    for rank, item in enumerate(found, start=1):
        change = diagnose(
            item,
            baseline.encoder,
            reference.total,
            window,
            stream.columns,
            named[: rank - 1],
            sample,
        )
        yield Finding(
            **shared,
            subject=baseline.encoder.names[item.feature],
            status="tested",
            statistic=item.evidence,
            threshold=item.threshold,
            p_value=max(10.0**-item.evidence, 5e-324),
            effect=item.effect,
            alarm=item.alarm,
            rank=rank,
            explanation=change.sentence,
            p_adjusted=adjusted[rank - 1],
            kind=change.kind,
            since=change.since,
        )


def _forecasts(
    baseline: Baseline,
    stream: Stream,
    about: dict[str, Any],
    part: WindowPart,
    level: float,
    repeated: str | None,
) -> Iterator[Finding]:
    for target, scores in part.scores.items():
        results = test_scores(scores, baseline.null_of(target, about["key"]))
        for monitor in forecast_monitors(stream):
            result = results[monitor]
            shared = about | {
                "monitor": monitor,
                "method": "reference_windows",
                "rows": scores.scored,
            }
            if result.statistic is None or repeated is not None:
                yield not_tested(shared, target, repeated or result.explanation)
                continue
            threshold = threshold_for(level)
            yield Finding(
                **shared,
                subject=target,
                status="tested",
                statistic=result.statistic,
                threshold=threshold,
                p_value=result.p_value,
                effect=result.effect,
                alarm=result.statistic > threshold,
                rank=1,
                explanation=result.explanation,
                p_adjusted=result.p_value,
            )
