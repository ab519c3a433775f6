"""The null sentinel: the reference's own windows, tested as if they were new. All alarms are false.

Whenever a window is tested, so is a stretch of the reference of the same length, by the same test
at the same level, against all other rows of the reference. Nothing has changed there, so that the
share of these tests that alarm is the false-alarm rate itself, measured where the test runs. A
reference holds only so many different stretches: each counts once, however often it was its turn.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from scipy.special import bdtrc

from monitors.baseline import Baseline
from monitors.budget import level_per_test
from schemas.records import WindowKey
from schemas.stream import Stream

MONITOR = "feature_shift"
SURE = 1e-3  # probability that the sentinel's alarms exceed what is allowed when the level holds


def stand_in(
    baseline: Baseline, stream: Stream, window: WindowKey, rows: int, *, seed: int
) -> dict[str, object] | None:
    """Test a stretch of the reference in the place of a window of so many rows.

    Returns
    -------
    A row of `schemas.records.SENTINEL`; None when the reference of the key holds no such stretch.
    """
    reference, options = baseline.reference_of(window.key), stream.monitors.feature_shift
    if reference is None or options is False:
        return None
    stretches = reference.stretches(rows)
    if not stretches:
        return None
    about = [stream.name, window.key, str(window.start), str(window.end), window.index]
    digest = hashlib.blake2b(json.dumps(about).encode(), digest_size=8).digest()
    own = stretches[int.from_bytes(digest) % len(stretches)]
    level = level_per_test(stream, baseline.keys)
    first = reference.test_own(own, level=level, ignore_below=options.ignore_below, seed=seed)[0]
    return {
        "stream": stream.name,
        "key": window.key,
        "window_start": window.start,
        "window_end": window.end,
        "window_index": window.index,
        "monitor": MONITOR,
        "block": int(reference.numbers[own[0]]),
        "blocks": len(own),
        "statistic": first.evidence,
        "threshold": first.threshold,
        "level": level,
        "alarm": first.alarm,
        "baseline_id": baseline.id,
    }


def alarms_allowed(tests: int, level: float) -> int:
    """Return the number of alarms that is exceeded with probability `SURE` when the level holds."""
    beyond = bdtrc(np.arange(tests + 1), tests, level)
    return int(np.argmax(beyond <= SURE))
