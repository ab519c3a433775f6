"""Puts twelve kinds of fault into real weather: whether the sensor is named, and its fault.

Run by ``python -m benchmarks.fault_kinds``; about three minutes. Every other week of 2013 is the
reference; the faults are drawn into the weeks between. What counts is the sentence at the top of a
window's findings: it must name the sensor, and its kind must be that of the fault. The same faults
are watched by a stream without lags and by one with them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
from scipy.stats import binomtest
from threadpoolctl import threadpool_limits

from benchmarks.faults import FAULTS, UNITS, Fault, Series, draw, unit_of
from benchmarks.measure import ROOT, machine
from benchmarks.weather_replay import LEAST_HOURS, fit
from monitors.explain.conditional import conditional
from monitors.explain.diagnose import diagnose
from monitors.explain.diagnosis import Diagnosis, Kind
from monitors.explain.residual_law import spread_of
from monitors.explain.sample import Sample
from monitors.feature_shift.likelihood_ratio import RIDGE
from monitors.feature_shift.locate import Evidence
from monitors.feature_shift.reference import Reference
from monitors.gram import Profile, profile
from monitors.kept_rows import STEPS_PER_RUN, keep_rows
from monitors.reference_rows import ROWS_PER_KEY
from pipelines.demo import WEEK_SECONDS, hourly_weather, split_weeks
from schemas.stream import Column
from transforms.lags import with_lags

LEVEL = 7 / 30  # a week's share of the default budget: one false alarm in thirty days
HOUR = 3_600_000_000  # µs
NEAR = 6  # hours
AIRPORT = "LGA"  # whose σ the page gives
MOST_LAG = 24  # hours of history that a fault, or a lag, may need before its window
LAG = 1  # hours: `lags: [1h]`
FIRST = 300  # seed of the first trial: none of these was looked at before the code was final
WITHIN: tuple[Kind, ...] = ("offset", "scale", "stuck", "replay", "noise", "unit", "swapped")

HEADER = "| fault | found | right sensor | right kind | both (95 %) |"
RULE = "|---|---|---|---|---|"
TITLE = "# Twelve kinds of fault in real weather: which are found, and what is said of them"
PROTOCOL = """\
A year of hourly weather at three airports, 18 sensors. Every other week is the reference; the
faults are put into the weeks between, one fault a week. What counts is the first name of a window
and its sentence: *right sensor* says that it is the faulty one (of two that were swapped, either,
and the sentence must name the other), *right kind*, of these, that the sentence says what is
wrong with it. *Both* is a share of all faults: one that is not found counts as a failure.
{trials} faults of each kind; the intervals are exact 95 % binomial ones. The alarm budget is the
default, one false alarm in 30 days, and `feature_shift` the only monitor.

`python -m benchmarks.fault_kinds --write` writes this page, from seeds {first} to {last}. They were
run once, when the code was final; seeds below 300 served to make it.

Sensor, week and size are drawn at random. σ is what the other sensors leave unknown of this one,
and not less than the tests can see, a tenth of its standard deviation; at LGA:
{least}.

| fault | drawn |
|---|---|
| offset | ±1 to 6 σ |
| scale | a gain of 1.25 to 2.5, or one over that, about the year's median |
| stuck | at the week's first value |
| replay | half: the week's values shuffled; half: an earlier stretch, from any hour on |
| noise | white, 1.5 to 4 σ, on top |
| lag | 2 to 12 h late |
| unit | °F as °C, mph as m/s, hPa as inHg, mi as km, % as a fraction |
| swapped | exchanged with any other of the 17 |
| clipped | a tenth to half of the values cut off, at the top or at the bottom |
| missing | a tenth to six tenths of the values, here and there or in one stretch |
| drift | a straight line, ±3 to 10 σ at the end of the week |
| dependence | the week's values in another order, ρ = .4 to .8 with the true one |

What changes the values by less than 2 σ, root mean square, is drawn again, and so are gaps that
are not a tenth of the rows more than the worst week of the reference has. So is what is another
kind in truth: any fault but *stuck* that leaves one value, and an order whose correlation with the
true one is below .3 (visibility is mostly 10 miles, and values that tie are put in any order).

*That alarms anyway*: another sensor stands at the top that alarms in this week without a fault."""
WITHOUT = """\
## Without lags

The columns and the calendar of the demo's stream. {false} of the {weeks} clean weeks alarm."""
WITH = """\
## The same faults, with `lags: [1h]`

{false} of the {weeks} clean weeks alarm. The diagnosis is made as before, without lagged values."""
BEGINS = """\
Faults that begin somewhere in the middle half of the week. *Dated*: the sentence says since when,
of those with the right kind; and how many of these dates are right within six hours:"""
CHOICE = """\
Which to choose. Without lags, if a fault that lasts is to be found: an offset, a drift, a gain, a
stuck sensor. The broken sensor's own past is broken, too, and goes along with it, so that lags hide
what stays from hour to hour. With `lags: [1h]`, if false alarms are dear: fewer weeks alarm that
are merely unlike the reference, and noise, gaps and a changed dependence are found as often."""
CONFUSED = """\
## What is lost, and what is confused with what

What is lost. Most of it is not found at all, or stands below what alarms in that week anyway:
hourly weather has a long memory, and a week of it is worth some thirty independent rows. A lag of a
few hours, a gain near 1 and a change in half a week show least.

What is confused with what. Visibility is 10 miles in five hours of six: there an offset, a limit,
another unit and a stuck sensor can read the same, and nobody can tell them apart. A changed
dependence lies between noise (ρ near 1) and a replay (ρ near 0), and goes over into either. A gain
in a week that lies on one side of the median is an offset. With wind, whose neighbours know little
of it, noise and a gain look alike."""


@dataclass(slots=True)
class Tally:
    """Counts over the faults of one kind."""

    trials: int = 0
    found: int = 0
    sensor: int = 0  #: the right one at the top
    kind: int = 0  #: and the right kind
    taken: Counter[str] = field(default_factory=Counter)  #: for what, where it is not right
    late: list[float] = field(default_factory=list)  #: hours of `since` after the beginning


@dataclass(frozen=True)
class Watch:
    """The reference, and the weeks between."""

    reference: Reference
    rows: pa.Table  #: kept of the reference
    columns: dict[str, Column]
    series: Series
    windows: list[tuple[int, int]]
    lags: Mapping[str, tuple[str, int]]  #: lagged columns; see `with_lags`

    def read(self, window: pl.DataFrame) -> tuple[pa.Table, Profile, list[Evidence]]:
        """Return a window with its lagged values, its profile, and what is found in it."""
        start = window["time"][0]
        early = pl.col("time").is_between(start - timedelta(hours=MOST_LAG), start, closed="left")
        past = pl.concat([self.series.table.filter(early), window]).to_arrow()
        rows = lagged(window.to_arrow(), past, self.lags)
        part = profile(self.reference.encoder, rows)
        return rows, part, self.reference.test(part, level=LEVEL, ignore_below=0.1, seed=0)

    @cached_property
    def anyway(self) -> dict[datetime, str]:
        """Return the first names of the weeks that alarm without a fault, by their first hour."""
        names, table = self.reference.encoder.names, self.series.table
        weeks = [table.slice(first, stop - first) for first, stop in self.windows]
        found = {week["time"][0]: self.read(week)[2][0] for week in weeks}
        return {start: names[top.feature] for start, top in found.items() if top.alarm}

    def top(self, fault: Fault) -> tuple[str, Diagnosis] | None:
        """Return the first name and its diagnosis; None where nothing is found."""
        encoder = self.reference.encoder
        window, part, (first, *_) = self.read(fault.window)
        if not first.alarm:
            return None
        sample = Sample(self.rows, window, "time")
        found = diagnose(first, encoder, self.reference.total, part, self.columns, (), sample)
        return encoder.names[first.feature], found


def lagged(rows: pa.Table, past: pa.Table, lags: Mapping[str, tuple[str, int]]) -> pa.Table:
    """Append lagged values by the rows' times."""
    at, past_at = (table["time"].cast(pa.int64()).to_numpy() for table in (rows, past))
    return with_lags(rows, at, past.drop_columns("time"), past_at, lags)


def weather(*hours: int) -> Watch:
    """Fit the reference, and say how well its sensors are known from the others.

    Parameters
    ----------
    hours : the lags of the stream.
    """
    whole = hourly_weather()
    sensors = [name for name in whole.columns if name != "time"]
    lags = {f"{name} {lag}h ago": (name, lag * HOUR) for lag in hours for name in sensors}
    rows = whole.to_arrow()
    before, _ = split_weeks(pl.DataFrame(pl.from_arrow(lagged(rows, rows, lags))))
    reference, table = fit(before, lags), before.to_arrow()
    names = reference.encoder.names
    week = (before["time"].dt.epoch("s") // WEEK_SECONDS).to_numpy()
    spread, middle, gaps = {}, {}, {}
    for feature, name in enumerate(names):
        given = conditional(reference.encoder, reference.total, table, feature)
        there = np.isfinite(given.observed)
        known = spread_of((given.observed - given.expected)[there])
        # the tests do not see below the root of their ridge
        spread[name] = float(np.hypot(known, np.sqrt(RIDGE) * np.std(given.observed[there])))
        middle[name] = float(np.median(given.observed[there]))
        gaps[name] = max(float(np.mean(~there[week == number])) for number in np.unique(week))
    times = table["time"].cast(pa.int64()).to_numpy()
    kept = keep_rows(table, times, [len(times)], ROWS_PER_KEY, STEPS_PER_RUN * HOUR)[0]
    columns = {name: Column(type="number", unit=unit_of(name).name) for name in names}
    series = Series(whole, spread, middle, gaps)
    return Watch(reference, kept.table, columns, series, _watched(whole), lags)


def _watched(whole: pl.DataFrame) -> list[tuple[int, int]]:
    week = (whole["time"].dt.epoch("s") // WEEK_SECONDS).to_numpy()
    starts = np.flatnonzero(np.diff(week, prepend=week[0] - 1))
    stops = [*starts[1:].tolist(), len(week)]
    return [
        (start, stop)
        for start, stop in zip(starts.tolist(), stops, strict=True)
        if week[start] % 2 and stop - start >= LEAST_HOURS and start >= MOST_LAG
    ]


def trial(watch: Watch, kind: Kind, seed: int, tally: Tally, *, within: bool) -> None:
    """Draw one fault, and count what is said of it."""
    rng = np.random.default_rng([list(FAULTS).index(kind), seed, within])
    fault = draw(kind, watch.series, watch.windows, rng, within=within)
    tally.trials += 1
    top = watch.top(fault)
    if top is None:
        tally.taken["not found"] += 1
        return
    name, said = top
    tally.found += 1
    if name not in fault.sensors:
        same = name == watch.anyway.get(fault.window["time"][0])
        tally.taken["another that alarms anyway" if same else "another sensor"] += 1
        return
    tally.sensor += 1
    if said.kind != kind or (kind == "swapped" and said.partner not in fault.sensors):
        tally.taken[str(said.kind)] += 1
        return
    tally.kind += 1
    if said.since is not None:
        began = fault.window["time"][fault.begin]
        tally.late.append((said.since - began).total_seconds() / 3600)


def count(
    watch: Watch, kinds: tuple[Kind, ...], seeds: range, *, within: bool
) -> dict[Kind, Tally]:
    """Return the counts by kind."""
    tallies = {kind: Tally() for kind in kinds}
    for kind, tally in tallies.items():
        for seed in seeds:
            trial(watch, kind, seed, tally, within=within)
    return tallies


def _line(kind: str, tally: Tally) -> str:
    return (
        f"| {kind} | {_share(tally.found, tally.trials)} | {_share(tally.sensor, tally.trials)} | "
        f"{_share(tally.kind, tally.sensor)} | {_share(tally.kind, tally.trials)} "
        f"({_interval(tally.kind, tally.trials)}) |"
    )


def _share(count: int, of: int) -> str:
    return f"{count / max(of, 1):.2f}"


def _interval(count: int, of: int) -> str:
    ends = binomtest(count, of).proportion_ci(method="exact")
    return f"{ends.low:.2f}-{ends.high:.2f}"


def _whole_line(kind: str, tally: Tally) -> str:
    other = ", ".join(f"{name} {times}" for name, times in tally.taken.most_common())
    return f"{_line(kind, tally)} {other} |"


def _part_line(kind: str, tally: Tally) -> str:
    near = _share(sum(abs(hours) <= NEAR for hours in tally.late), len(tally.late))
    return f"{_line(kind, tally)} {_share(len(tally.late), tally.kind)} | {near} |"


def _whole_table(tallies: dict[Kind, Tally]) -> str:
    return "\n".join(
        [f"{HEADER} instead |", f"{RULE}---|", *(_whole_line(*item) for item in tallies.items())]
    )


def _part_table(tallies: dict[Kind, Tally]) -> str:
    rule = f"{RULE}---|---|"
    lines = [_part_line(*item) for item in tallies.items()]
    return "\n".join([f"{HEADER} dated | within {NEAR} h |", rule, *lines])


def page(watches: tuple[Watch, Watch], seeds: range) -> str:
    """Return the page of the documentation.

    Parameters
    ----------
    watches : without lags, and with them.
    """
    watch, _ = watches
    clean = [{"false": len(each.anyway), "weeks": len(each.windows)} for each in watches]
    plain, lagged = (count(each, tuple(FAULTS), seeds, within=False) for each in watches)
    least = ", ".join(
        f"{name} {watch.series.spread[f'{AIRPORT}.{name}']:.2g} {own.name}"
        for name, own in UNITS.items()
    )
    return "\n\n".join(
        [
            TITLE,
            PROTOCOL.format(trials=len(seeds), least=least, first=seeds[0], last=seeds[-1]),
            WITHOUT.format(**clean[0]),
            _whole_table(plain),
            BEGINS,
            _part_table(count(watch, WITHIN, seeds, within=True)),
            WITH.format(**clean[1]),
            _whole_table(lagged),
            CHOICE,
            CONFUSED,
            machine() + ".\n",
        ]
    )


def main(trials: int, first: int, *, write: bool) -> None:
    """Count, print the page, and write it if asked."""
    with threadpool_limits(1):
        text = page((weather(), weather(LAG)), range(first, first + trials))
    print(text)
    if write:
        (ROOT / "docs" / "faults.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--first", type=int, default=FIRST, help="seed of the first trial")
    parser.add_argument("--write", action="store_true", help="write docs/faults.md")
    given = parser.parse_args()
    main(given.trials, given.first, write=given.write)
