"""Forecasts meet their outcomes: in their own rows, later, revised, or never.

A forecast awaits its outcome; what comes is joined to it by key, target and valid time. It was
counted as without outcome: when there is one, the difference goes to the scores of its span of
time, as a part that adds to those of its window. So does a revision: the new score less the old.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitors.forecast_scores import ForecastScores, score
from monitors.online_intervals import Ledger, calibrate_in_time
from schemas.forecasts import ForecastSpec
from schemas.records import FORECAST, OUTCOME
from transforms.calibrate.online import OnlineCalibrator

Floats = NDArray[np.float64]
Micros = NDArray[np.int64]

_UTC = pa.timestamp("us", tz="UTC")

#: Forecasts as they are made, with the span and the baseline that their row is profiled for.
ISSUED = pa.schema([*FORECAST, pa.field("span", pa.int64()), pa.field("baseline_id", pa.string())])
#: Forecasts that await an outcome, or a later one; `outcome` is the last that became known.
AWAITING = pa.schema(
    [
        *ISSUED,
        pa.field("memo", pa.list_(pa.float64())),  # of the online calibrator
        pa.field("known_at", _UTC),
        pa.field("revision", pa.int64()),
        pa.field("learnt", pa.bool_()),  # by the online calibrator, or there is none
    ]
)
#: The path of outcomes that came in rows of the stream, for forecasts of series' own future.
FROM_ROWS = ""
#: Outcomes, one a row, that no forecast has met yet.
ARRIVED = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("target", pa.string()),
        pa.field("valid_time", _UTC),
        pa.field("outcome", pa.float64()),
        pa.field("known_at", _UTC),
        pa.field("path", pa.string()),
        pa.field("row", pa.int64()),
    ]
)
#: The state of an online calibrator.
CALIBRATORS = pa.schema(
    [pa.field(name, pa.string()) for name in ("key", "target", "baseline_id", "state")]
)


def issued(forecasts: pa.Table, span: int, baseline_id: str) -> pa.Table:
    """Return forecasts of one span with what their scores will go to, as `ISSUED`."""
    n = forecasts.num_rows
    spans, ids = pa.repeat(pa.scalar(span, pa.int64()), n), pa.repeat(pa.scalar(baseline_id), n)
    return forecasts.append_column("span", spans).append_column("baseline_id", ids).cast(ISSUED)


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of the forecasts of one key and target."""

    forecasts: pa.Table  #: schema FORECAST, those made now, with their calibrated intervals
    awaiting: pa.Table  #: schema AWAITING
    unmatched: pa.Table  #: schema ARRIVED
    outcomes: pa.Table  #: schema OUTCOME
    #: span, baseline, least time of the forecasts in µs since 1970, and what their scores gain
    scores: list[tuple[int, str, int, ForecastScores]] = field(default_factory=list)
    used: int = 0  #: outcomes that became that of a forecast
    repeated: int = 0  #: that said what was known already, or what was known to be out of date


@dataclass(slots=True)
class _Rows:
    """Forecasts as arrays of shape (n,), those awaiting first."""

    table: pa.Table  #: schema AWAITING
    fresh: NDArray[np.bool_]
    time: Micros
    quantiles: Floats  #: shape (n, levels)
    lower: Floats
    upper: Floats
    outcome: Floats  #: the last that became known; NaN where none did
    known_at: Micros
    revision: Micros
    learnt: NDArray[np.bool_]
    memo: list[list[float] | None]
    #: when it was known, and what, where the calibrator has not learnt it
    versions: list[list[tuple[int, float]]]

    @classmethod
    def of(cls, awaiting: pa.Table, fresh: pa.Table, levels: int) -> _Rows:
        old, new = awaiting.num_rows, fresh.num_rows
        known = pc.if_else(pc.is_valid(fresh["outcome"]), fresh["valid_time"], None)
        added = {
            "memo": pa.nulls(new, AWAITING.field("memo").type),
            "known_at": known,
            "revision": pa.array(np.zeros(new, np.int64)),
            "learnt": pa.array(np.zeros(new, np.bool_)),
        }
        for name, values in added.items():
            fresh = fresh.append_column(name, values)
        table = pa.concat_tables([awaiting.cast(AWAITING), fresh.cast(AWAITING)]).combine_chunks()
        quantiles = table["quantiles"].combine_chunks().flatten().to_numpy()
        outcome = _floats(table, "outcome")
        known_at = _micros(table, "known_at")
        return cls(
            table,
            np.arange(old + new) >= old,
            _micros(table, "valid_time"),
            quantiles.reshape(old + new, levels),
            _floats(table, "lower"),
            _floats(table, "upper"),
            outcome,
            known_at,
            table["revision"].to_numpy().copy(),
            table["learnt"].to_numpy().copy(),
            table["memo"].to_pylist(),
            [
                [] if np.isnan(y) else [(int(at), float(y))]
                for at, y in zip(known_at, outcome, strict=True)
            ],
        )

    def take(self, n: int, known: int, outcome: float) -> bool:
        """Let an outcome be that of a forecast, unless it is none that is new."""
        if not np.isnan(self.outcome[n]):
            if known < self.known_at[n] or outcome == self.outcome[n]:
                return False
            self.revision[n] += 1
        self.outcome[n], self.known_at[n] = outcome, known
        self.versions[n].append((known, outcome))
        return True

    def as_table(self) -> pa.Table:
        """Return them as they are now, as `AWAITING`."""
        unknown = np.isnan(self.outcome)
        now = {
            "lower": pa.array(self.lower),
            "upper": pa.array(self.upper),
            "outcome": pa.array(self.outcome, mask=unknown),
            "memo": pa.array(self.memo, AWAITING.field("memo").type),
            "known_at": pa.array(self.known_at, pa.int64(), mask=unknown).cast(_UTC),
            "revision": pa.array(self.revision),
            "learnt": pa.array(self.learnt),
        }
        table = self.table
        for name, values in now.items():
            table = table.set_column(table.schema.get_field_index(name), name, values)
        return table.cast(AWAITING)


def verify(
    spec: ForecastSpec,
    awaiting: pa.Table,
    fresh: pa.Table,
    arrived: pa.Table,
    calibrator: Callable[[str], OnlineCalibrator],
    *,
    wait: bool,
) -> Verified:
    """Calibrate the new forecasts of one key and target, and join outcomes to all of them.

    Parameters
    ----------
    awaiting, fresh, arrived : schemas AWAITING, ISSUED and ARRIVED
        An outcome is that of every forecast with its valid time. Of several for one forecast the
        one that became known last counts; a second one with the same value is none.
    calibrator : returns that of a baseline, by its id; asked only with ``calibration: online``.
    wait : outcomes may come later; otherwise they come with the row or never.

    Forecasts of a series' own future are not counted before their outcome is there: a window is one
    of rows, and of rows that never come there is none.
    """
    rows = _Rows.of(awaiting, fresh, len(spec.levels))
    before = rows.outcome.copy()
    places: dict[int, list[int]] = {}
    for n, at in enumerate(rows.time.tolist()):
        places.setdefault(at, []).append(n)
    unmatched, records = list[int](), list[tuple[int, int, float, int]]()
    used = repeated = 0
    arrived = arrived.sort_by([(name, "ascending") for name in ("known_at", "path", "row")])
    paths = arrived["path"].to_pylist()
    for k, (at, known, outcome) in enumerate(_arrivals(arrived)):
        if at not in places:
            unmatched.append(k)
            continue
        taken = [n for n in places[at] if rows.take(n, max(known, at), outcome)]
        records += [(n, max(known, at), outcome, int(rows.revision[n])) for n in taken]
        from_file = paths[k] != FROM_ROWS
        used += bool(taken) and from_file
        repeated += not taken and from_file
    if spec.calibration == "online":
        _calibrate(rows, calibrator)
    else:
        rows.learnt[:] = True
    known_now = ~np.isnan(rows.outcome)
    after = rows.as_table()
    made = after.filter(pa.array(rows.fresh)).select(FORECAST.names)
    own = fresh["outcome"]  # what came from elsewhere is told in the outcomes
    made = made.set_column(made.schema.get_field_index("outcome"), "outcome", own).cast(FORECAST)
    return Verified(
        forecasts=made,
        awaiting=after if wait else after.filter(pa.array(known_now & ~rows.learnt)),
        unmatched=arrived.take(pa.array(unmatched, pa.int64())),
        outcomes=_told(after, records),
        scores=list(_gained(rows, before, spec)),
        used=used,
        repeated=repeated,
    )


def _calibrate(rows: _Rows, calibrator: Callable[[str], OnlineCalibrator]) -> None:
    ids = np.array(rows.table["baseline_id"].to_pylist())
    for baseline_id in np.unique(ids[rows.fresh]).tolist():
        own = np.flatnonzero(ids == baseline_id)
        ledger = Ledger(
            rows.time[own],
            rows.lower[own],
            rows.upper[own],
            [rows.memo[n] for n in own],
            rows.learnt[own],
            [rows.versions[n] for n in own],
        )
        calibrate_in_time(calibrator(baseline_id), ledger)
        rows.lower[own], rows.upper[own] = ledger.lower, ledger.upper
        rows.learnt[own] = ledger.learnt
        for n, memo in zip(own.tolist(), ledger.memo, strict=True):
            rows.memo[n] = memo


def _gained(
    rows: _Rows, before: Floats, spec: ForecastSpec
) -> Iterator[tuple[int, str, int, ForecastScores]]:
    """Yield what the scores of each span and baseline gain by what is known now."""
    counted = ~rows.fresh  # so far
    if spec.ahead is not None:
        counted &= ~np.isnan(before)
    changed = (rows.outcome != before) & ~np.isnan(rows.outcome)
    if spec.ahead is None:
        changed |= rows.fresh
    groups: dict[tuple[int, str], list[int]] = {}
    spans, ids = rows.table["span"].to_pylist(), rows.table["baseline_id"].to_pylist()
    for n in np.flatnonzero(changed).tolist():
        groups.setdefault((spans[n], ids[n]), []).append(n)

    def scored(places: NDArray[np.int64], outcome: Floats) -> ForecastScores:
        ends = rows.lower[places], rows.upper[places]
        return score(rows.quantiles[places], *ends, outcome[places], spec.levels)

    for (span, baseline_id), group in groups.items():
        places = np.array(group)
        old = places[counted[places]]
        gain = scored(places, rows.outcome).minus(scored(old, before))
        yield span, baseline_id, int(rows.time[places].min()), gain


def _told(after: pa.Table, records: Sequence[tuple[int, int, float, int]]) -> pa.Table:
    """Return the outcomes that forecasts were given, as `OUTCOME`."""
    columns = list(zip(*records, strict=True)) or [(), (), (), ()]
    about = after.take(pa.array(columns[0], pa.int64()))
    new = {
        "known_at": pa.array(columns[1], pa.int64()).cast(_UTC),
        "outcome": pa.array(columns[2], pa.float64()),
        "revision": pa.array(columns[3], pa.int64()),
    }
    return pa.table({name: new.get(name, about[name]) for name in OUTCOME.names}).cast(OUTCOME)


def _arrivals(arrived: pa.Table) -> Iterator[tuple[int, int, float]]:
    columns = _micros(arrived, "valid_time"), _micros(arrived, "known_at")
    outcome = _floats(arrived, "outcome").tolist()
    return zip(*(column.tolist() for column in columns), outcome, strict=True)


def _floats(table: pa.Table, name: str) -> Floats:
    values: Floats = table[name].to_numpy().astype(np.float64)  # null is NaN
    return values


def _micros(table: pa.Table, name: str) -> Micros:
    values: Micros = pc.fill_null(table[name].cast(pa.int64()), 0).to_numpy().copy()
    return values


def calibrator_table(key: str, target: str, baseline_id: str, own: OnlineCalibrator) -> pa.Table:
    """Return the state of a calibrator as a row of `CALIBRATORS`."""
    row = {"key": key, "target": target, "baseline_id": baseline_id}
    return pa.Table.from_pylist([row | {"state": json.dumps(own.to_dict())}], CALIBRATORS)
