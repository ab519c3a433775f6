"""Five sensors of one quantity that follow each other hour by hour, and one finding about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import signal

from monitors.encoder import Encoder, fit_encoder
from monitors.explain.diagnose import diagnose
from monitors.explain.diagnosis import Diagnosis
from monitors.explain.sample import Sample
from monitors.feature_shift.locate import Evidence
from monitors.gram import Profile, profile
from schemas.stream import Column
from transforms.lags import LAGGED, with_lags

Floats = NDArray[np.float64]
#: changes the values of a window, shape (rows, sensors), in place
Change = Callable[[Floats, np.random.Generator], None]

HOUR = 3_600_000_000  # µs
OWN = 0.3  # noise of a sensor, in standard deviations of what they share
LEVELS = np.array([50.0, 60.0, 70.0, 80.0, 90.0])  # °F
SCALE = 10.0
NAMES = [f"s{j}" for j in range(len(LEVELS))]
LAGS = {f"{name} 1h ago": (name, 1) for name in NAMES}
COLUMNS = {name: Column(type="number", unit="°F") for name in NAMES}
BEFORE, NOW = 1500, 240  # rows


@dataclass(frozen=True, slots=True)
class World:
    """A reference, fitted."""

    encoder: Encoder
    reference: Profile
    rows: pa.Table
    clean: Floats  #: values of the hours after it
    lagged: bool  #: the values of an hour ago are conditions

    def diagnose(self, values: Floats, *, rows: bool = True, times: bool = True) -> Diagnosis:
        """Return what is said of sensor s2 in a window that alarmed about it."""
        window = table(values, BEFORE, lagged=self.lagged)
        evidence = Evidence(2, "conditional", 50.0, 3.0, 1.0, alarm=True)
        sample = Sample(self.rows, window, "time" if times else None) if rows else None
        part = profile(self.encoder, window)
        return diagnose(evidence, self.encoder, self.reference, part, COLUMNS, (), sample)


def table(values: Floats, first: int, *, lagged: bool = False) -> pa.Table:
    """Return hourly rows, NaN as null, with the values of an hour ago if asked for."""
    hours = (first + np.arange(len(values))) * HOUR
    columns = {name: pa.array(values[:, j], from_pandas=True) for j, name in enumerate(NAMES)}
    at, rows = np.arange(len(values)), pa.table(columns)
    rows = with_lags(rows, at, rows, at, LAGS) if lagged else rows
    return rows.append_column("time", pa.array(hours, pa.timestamp("us", "UTC")))


def world(rng: np.random.Generator, *, lagged: bool = False, memory: float = 0.0) -> World:
    """Draw a series, and fit its first rows; a sensor's own noise may have a memory, too."""
    rows = BEFORE + NOW
    shared = signal.lfilter([np.sqrt(1 - 0.9**2)], [1, -0.9], rng.standard_normal(rows + 100))
    noise = OWN * rng.standard_normal((rows, len(LEVELS)))
    own = signal.lfilter([np.sqrt(1 - memory**2)], [1, -memory], noise, axis=0)
    values = LEVELS + SCALE * (shared[100:, None] + own)
    before = table(values[:BEFORE], 0, lagged=lagged)
    conditions = list(LAGS) if lagged else []
    columns = COLUMNS | dict.fromkeys(conditions, LAGGED)
    encoder = fit_encoder(before, columns, features=NAMES, conditions=conditions, window_rows=NOW)
    return World(encoder, profile(encoder, before), before, values[BEFORE:], lagged)
