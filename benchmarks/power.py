"""What the feature-shift monitor of a stream finds and names, kind of shift by kind of shift.

Rows come from a tree of dependent numbers, on which hang a category, a nonlinear dependence and a
column with gaps: whatever is changed has one right name. A reference is fitted as `tidegauge fit`
does it; windows are tested against it as `tidegauge run` does it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import operator
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from benchmarks.feature_shift_paper import rate
from benchmarks.measure import ROOT, Cost, machine, run
from benchmarks.shifts import CHANGES, GAPS, RHO, WINDOW_ROWS, Rng, Rows, World
from monitors.encoder import Encoder, fit_encoder
from monitors.feature_shift.reference import Reference, blocks_per_window, reference_from_blocks
from monitors.gram import Profile, profile, profile_blocks

REFERENCE_ROWS = 10_000
LEVEL, IGNORE_BELOW = 0.01, 0.1
PER_REFERENCE = 20  # windows of each kind that are tested against one reference
CLEAN = 5  # clean windows for every changed one of a kind
RAMPED = 20  # features of the worlds in which there are ramps
RAMP = 0.05  # σ from one window to the next
MANY_ROWS, TINY_SHIFT = 10_000_000, 0.001
CHUNK = 65_536
TITLE = "# What the monitor of a stream finds, and whether it names the right feature"
PROTOCOL = f"""\
A reference of {REFERENCE_ROWS:,} rows, windows of {WINDOW_ROWS:,} rows, `moments` with its defaults
at a false-alarm rate of {LEVEL:.0%} per window, all features together. *Numbers*: a tree of
Gaussian numbers, each with a correlation of {RHO} to the one that it follows; one has {GAPS:.0%}
missing values. *Mixed*: two of the columns are a number that follows another one's square, and a
category of four values. Trees are drawn at random, and a new reference is fitted for every
{PER_REFERENCE} windows of each kind. The column that changes is drawn at random. *Found*: the
window alarms. *Exact*: what changed is named, and nothing else. *Among others*: what changed is
named, and more. *Effect*: the median of what is named rightly, in conditional standard deviations
(Cohen's h for counts). Intervals are exact 95 % binomial ones.
"""
RAMPS = f"""\
A ramp: a number moves by {RAMP} σ from window to window, and others follow it. Windows until 10 %,
50 % and 90 % of the ramps are found; whether what is named then is right:"""


@dataclass
class Score:
    """What was named in the windows of one kind."""

    windows: int = 0
    found: int = 0
    exact: int = 0
    among: int = 0
    effects: list[float] = field(default_factory=list)

    def add(self, named: Mapping[str, float], truth: set[str]) -> None:
        """Count one window."""
        self.windows += 1
        self.found += bool(named)
        self.exact += named.keys() == truth
        self.among += truth < named.keys()
        self.effects += [effect for name, effect in named.items() if name in truth]

    @property
    def line(self) -> str:
        """Return its cells of the table."""
        counts = (self.found, self.exact, self.among)
        shares = " | ".join(rate(count, self.windows) for count in counts)
        effect = f"{np.median(self.effects):.2f}" if self.effects else ""
        return f"{self.windows} | {shares} | {effect} |"


@dataclass
class Setting:
    """The windows of one kind of world."""

    features: int
    mixed: bool
    clean: Score = field(default_factory=Score)
    changed: dict[str, Score] = field(default_factory=dict)
    ramp: Score = field(default_factory=Score)  #: the window in which it is found
    until: list[int] = field(default_factory=list)  #: windows of a ramp until it is found

    @property
    def name(self) -> str:
        """Return what the tables call it."""
        return f"{'mixed' if self.mixed else 'numbers'}, {self.features} features"

    def run(self, trials: int) -> None:
        """Fit references, and test windows of every kind against them."""
        own = [(name, change) for name, *where, change in CHANGES if where == self.where]
        self.changed = {name: Score() for name, _ in own}
        for group in range(-(-trials // PER_REFERENCE)):
            rng = np.random.default_rng([self.features, self.mixed, group])
            world = World.draw(self.features, rng, mixed=self.mixed)
            reference = fitted(world, rng)
            for _ in range(PER_REFERENCE):
                for _ in range(CLEAN):
                    self.clean.add(named(reference, world.rows(rng)), set())
                for name, change in own:
                    rows, truth = change(world, rng)
                    self.changed[name].add(named(reference, rows), truth)
                if self.features == RAMPED:
                    self._ramp(world, reference, rng)
            print(f"{self.name}: {self.clean.windows // CLEAN} of {trials}", flush=True)

    @property
    def where(self) -> list[object]:
        """Return its part of an entry of `CHANGES`."""
        return [self.features, self.mixed]

    def _ramp(self, world: World, reference: Reference, rng: Rng) -> None:
        own = str(rng.choice(world.numbers))
        for window in itertools.count(1):
            found = named(reference, world.rows(rng, own=own, offset=RAMP * window))
            if found:
                self.ramp.add(found, {own})
                self.until.append(window)
                return


def fitted(world: World, rng: Rng) -> Reference:
    """Fit a reference as `pipelines.fit` does."""
    table = _table(world.rows(rng, REFERENCE_ROWS))
    encoder = _encoder(world, table)
    per_window = blocks_per_window(REFERENCE_ROWS / WINDOW_ROWS)
    block = np.arange(REFERENCE_ROWS) * per_window // WINDOW_ROWS
    blocks = profile_blocks(encoder, table, block)
    return reference_from_blocks(encoder, "moments", blocks, per_window).fit_nulls(0)


def _encoder(world: World, table: pa.Table) -> Encoder:
    features = list(world.columns)
    return fit_encoder(table, world.columns, features=features, window_rows=WINDOW_ROWS)


def _table(rows: Rows) -> pa.Table:
    return pa.table({name: pa.array(own, from_pandas=True) for name, own in rows.items()})


def named(reference: Reference, rows: Rows) -> dict[str, float]:
    """Return the features that are named in a window, with their effects."""
    return _alarms(reference, profile(reference.encoder, _table(rows)), IGNORE_BELOW)


def _alarms(reference: Reference, window: Profile, ignore_below: float) -> dict[str, float]:
    found = reference.test(window, level=LEVEL, ignore_below=ignore_below, seed=0)
    names = reference.encoder.names
    return {names[item.feature]: item.effect for item in found if item.alarm}


def many_rows(seeds: int) -> list[str]:
    """Say what a tiny true difference does to windows of very many rows."""
    rng = np.random.default_rng(0)
    world = World.draw(20, rng, mixed=False)
    encoder = _encoder(world, _table(world.rows(rng, CHUNK)))

    def part(rows: int, offset: float = 0.0) -> Profile:
        """Profile rows that are never all in memory; readings of x5 are shifted."""
        parts = []
        for size in [CHUNK] * (rows // CHUNK) + [rows % CHUNK]:
            drawn = world.rows(rng, size)
            parts.append(profile(encoder, _table(drawn | {"x5": drawn["x5"] + offset})))
        return functools.reduce(operator.add, parts)

    blocks = {number: part(MANY_ROWS // 8) for number in range(2 * 8)}
    reference = reference_from_blocks(encoder, "moments", blocks, 8).fit_nulls(0)
    windows = [part(MANY_ROWS, TINY_SHIFT) for _ in range(seeds)]
    lines = []
    for ignore_below in (IGNORE_BELOW, 0.0):
        alarms = [_alarms(reference, window, ignore_below) for window in windows]
        lines.append(
            f"with `ignore_below: {ignore_below:g}`, {sum(map(bool, alarms))} of {seeds} alarm"
        )
    return lines


def profile_rows(rows: int) -> None:
    """Profile so many rows, and print the CPU time per row in µs."""
    rng = np.random.default_rng(0)
    world = World.draw(20, rng, mixed=False)
    table = _table(world.rows(rng, min(rows, CHUNK)))
    encoder = _encoder(world, table)
    whole, started = profile(encoder, table.slice(0, 1)), time.process_time()
    for start in range(0, rows, CHUNK):
        whole += profile(encoder, table.slice(0, min(CHUNK, rows - start)))
    print((time.process_time() - started) / rows * 1e6)


def main(trials: int, *, write: bool) -> None:
    """Run everything, print the tables, and write them if asked."""
    settings = [Setting(20, mixed=False), Setting(50, mixed=False), Setting(20, mixed=True)]
    with threadpool_limits(1):
        for setting in settings:
            setting.run(trials)
        tiny = many_rows(5)
    sizes = (10_000, 100_000, 1_000_000, MANY_ROWS)
    command = [sys.executable, "-m", "benchmarks.power", "--profile"]
    text = page(settings, tiny, {rows: run([*command, str(rows)]) for rows in sizes})
    print(text)
    if write:
        (ROOT / "docs" / "power.md").write_text(text, encoding="utf-8")


def page(settings: Sequence[Setting], tiny: Sequence[str], costs: Mapping[int, Cost]) -> str:
    """Return the page of the documentation."""
    changed = [
        f"| {s.name} | {name} | {own.line}" for s in settings for name, own in s.changed.items()
    ]
    clean = [
        f"| {s.name} | {s.clean.windows} | {rate(s.clean.found, s.clean.windows, 3)} |"
        for s in settings
    ]
    ramps = []
    for s in settings:
        if s.until:
            quantiles = ", ".join(f"{q:g}" for q in np.quantile(s.until, (0.1, 0.5, 0.9)))
            right = rate(s.ramp.exact, s.ramp.windows)
            ramps.append(f"| {s.name} | {s.ramp.windows} | {quantiles} | {right} |")
    profiles = [
        f"| {rows:,} | {float(cost.output):.2f} | {cost.peak:.0f} |" for rows, cost in costs.items()
    ]
    parts = [
        TITLE,
        PROTOCOL + "\n`python -m benchmarks.power --write` writes this page.",
        _markdown("rows, change, windows, found, exact, among others, effect", changed),
        "Windows in which nothing has changed:",
        _markdown("rows, clean windows, false alarms", clean),
        RAMPS,
        _markdown("rows, ramps, windows, exact", ramps),
        f"{MANY_ROWS:,} rows against twice as many, {TINY_SHIFT} σ added to one number: "
        + "; ".join(tiny)
        + ".",
        "The profile of a table of 20 numbers; the peak is that of the whole process:",
        _markdown("rows, CPU per row in µs, peak in MB", profiles),
        machine() + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _markdown(header: str, lines: Sequence[str]) -> str:
    titles = header.split(", ")
    rule = "|".join(["---"] * len(titles))
    return "\n".join([f"| {' | '.join(titles)} |", f"|{rule}|", *lines])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="windows of each kind")
    parser.add_argument("--write", action="store_true", help="write docs/power.md")
    parser.add_argument("--profile", type=int, help="only profile so many rows")
    given = parser.parse_args()
    if given.profile:
        profile_rows(given.profile)
    else:
        main(given.trials, write=given.write)
