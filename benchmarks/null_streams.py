"""How often a quiet stream alarms, and what is still found at that price.

Each stream is one reference and thousands of windows of 1,000 rows after it, without a break. The
false alarms are those that a user of that one reference would see, at a budget of one in a hundred
windows. *Found*: among windows in which the rows of one feature are shuffled, so that its own
distribution is what it was.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import signal, stats
from threadpoolctl import threadpool_limits

from benchmarks.measure import ROOT, machine
from monitors.encoder import fit_encoder
from monitors.feature_shift.reference import (
    Reference,
    blocks_per_window,
    reference_from_blocks,
)
from monitors.gram import profile, profile_blocks
from schemas.stream import CalendarTerm, Column

ROWS, LEVEL = 1000, 0.01
SAMPLE_ROWS = 100_000  # of the reference, that the basis is fixed on
START = datetime(2024, 1, 1, tzinfo=UTC)
TITLE = "# False alarms on streams in which nothing happens"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """A stream's law: from some rows of its noise to the rows."""

    name: str
    columns: int
    phi: float = 0.0  #: of the noise, an AR(1)
    shape: Callable[[Floats, NDArray[np.int64], np.random.Generator], Floats] | None = None
    calendar: tuple[CalendarTerm, ...] = ()  #: of rows that are minutes
    reference: int = 20  #: windows


def _season(noise: Floats, row: NDArray[np.int64], _: np.random.Generator) -> Floats:
    """Add a daily wave with an amplitude of 3σ, each column with a phase of its own."""
    phase = np.linspace(0, 2 * np.pi, noise.shape[1], endpoint=False)
    return noise + 3.0 * np.sin(2 * np.pi * row[:, None] / 1440 + phase)


def _heavy(noise: Floats, _: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Divide, so that the rows are of Student's t law with 3 degrees of freedom."""
    return noise / np.sqrt(rng.chisquare(3, (len(noise), 1)) / 3)


def _missing(noise: Floats, _: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Lose 30 % of the values."""
    return np.where(rng.random(noise.shape) < 0.3, np.nan, noise)


SETTINGS = (
    Setting("independent rows", 50),
    Setting("AR(1), φ = .8", 20, phi=0.8),
    Setting("AR(1), φ = .95", 20, phi=0.95),
    Setting("AR(1), φ = .95, long reference", 20, phi=0.95, reference=60),
    Setting("daily season, 3σ, with hour_of_day", 20, shape=_season, calendar=("hour_of_day",)),
    Setting("daily season, 3σ, not told", 20, shape=_season),
    Setting("heavy tails (t₃)", 20, shape=_heavy),
    Setting("30 % missing", 20, shape=_missing),
    Setting("200 correlated features", 200),
)


@dataclass
class Tally:
    """What became of the windows of one stream."""

    windows: int = 0
    false: int = 0
    shuffled: int = 0
    found: int = 0
    exact: int = 0  #: the shuffled feature is named, and nothing else
    cpu: float = 0.0


def stream(setting: Setting, rng: np.random.Generator) -> Iterator[Callable[[int], pa.Table]]:
    """Yield, again and again, what gives the stream's next rows: a Gaussian chain, ρ = .7."""
    at, state, d = 0, np.zeros((1, setting.columns)), setting.columns

    def rows(count: int) -> pa.Table:
        nonlocal at, state
        noise = rng.standard_normal((count, d))
        chain = signal.lfilter([1.0], [1.0, -0.7], noise * np.r_[1.0, np.full(d - 1, 0.51**0.5)])
        x, state = signal.lfilter(
            [np.sqrt(1 - setting.phi**2)], [1, -setting.phi], chain, axis=0, zi=state
        )
        number = np.arange(at, at + count)
        at += count
        if setting.shape is not None:
            x = setting.shape(x, number, rng)
        columns = {f"x{j}": pa.array(x[:, j], from_pandas=True) for j in range(d)}
        minutes = np.datetime64(START.replace(tzinfo=None), "us") + number * np.timedelta64(1, "m")
        return pa.table({**columns, "time": pa.array(minutes).cast(pa.timestamp("us", "UTC"))})

    while True:
        yield rows


def fit(setting: Setting, rows: pa.Table) -> Reference:
    """Fit a reference to rows, as `tidegauge fit` does."""
    names = [f"x{j}" for j in range(setting.columns)]
    pick = np.linspace(0, rows.num_rows - 1, min(SAMPLE_ROWS, rows.num_rows)).astype(np.int64)
    encoder = fit_encoder(
        rows.take(pick),
        {name: Column(type="number") for name in names},
        features=names,
        calendar=setting.calendar,
        time_column="time" if setting.calendar else None,
        window_rows=ROWS,
    )
    per_window = blocks_per_window(setting.reference)
    block = np.arange(rows.num_rows) * per_window // ROWS
    blocks = profile_blocks(encoder, rows, block)
    return reference_from_blocks(encoder, "moments", blocks, per_window).fit_nulls(0)


def watch(setting: Setting, windows: int, shuffled: int, seed: int) -> Tally:
    """Watch one stream; in a few more windows, one feature is shuffled."""
    rng = np.random.default_rng([seed, *setting.name.encode()])
    rows = next(stream(setting, rng))
    rows(ROWS)  # the noise has to settle
    reference = fit(setting, rows(setting.reference * ROWS))
    tally, started = Tally(windows, shuffled=shuffled), time.process_time()
    for _ in range(windows):
        tally.false += bool(named(reference, rows(ROWS)))
    tally.cpu = time.process_time() - started
    for _ in range(shuffled):
        window, j = rows(ROWS), int(rng.integers(setting.columns))
        values = pa.array(rng.permutation(window[f"x{j}"].to_numpy()), from_pandas=True)
        found = named(reference, window.set_column(j, f"x{j}", values))
        tally.found += bool(found)
        tally.exact += found == [f"x{j}"]
    return tally


def named(reference: Reference, window: pa.Table) -> list[str]:
    """Return the features that a window's test names."""
    part = profile(reference.encoder, window)
    found = reference.test(part, level=LEVEL, ignore_below=0.1, seed=0)
    return [reference.encoder.names[item.feature] for item in found if item.alarm]


def main(windows: int, streams: int, only: str, *, write: bool) -> None:
    """Print a line per setting, and write the page if asked."""
    titles = ("stream", "features", "reference", "windows", "false alarms (budget .01)")
    titles += ("worst stream", "found", "exact")
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    print("\n".join(lines), flush=True)
    for setting in SETTINGS:
        if only not in setting.name:
            continue
        tallies = [watch(setting, windows // streams, 200 // streams, s) for s in range(streams)]
        count, false = (sum(getattr(t, what) for t in tallies) for what in ("windows", "false"))
        shuffled, found, exact = (
            sum(getattr(t, what) for t in tallies) for what in ("shuffled", "found", "exact")
        )
        interval = stats.binomtest(false, count).proportion_ci(method="exact")
        worst = max(t.false / t.windows for t in tallies)
        lines.append(
            f"| {setting.name} | {setting.columns} | {setting.reference} | {count:,} | "
            f"{false / count:.4f} ({interval.low:.4f}-{interval.high:.4f}) | {worst:.3f} | "
            f"{found / shuffled:.2f} | {exact / shuffled:.2f} |"
        )
        print(lines[-1], f"{sum(t.cpu for t in tallies) / count * 1e3:.1f} ms", flush=True)
    if write:
        command = (
            f"`python -m benchmarks.null_streams --streams {streams} --write` writes this page."
        )
        page = [TITLE, (__doc__ or "").strip(), command, "\n".join(lines), machine() + "."]
        text = "\n\n".join(page)
        (ROOT / "docs" / "null-streams.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=5000)
    parser.add_argument("--streams", type=int, default=5, help="references they are spread over")
    parser.add_argument("--only", default="", help="settings whose name holds this")
    parser.add_argument("--write", action="store_true", help="write docs/null-streams.md")
    given = parser.parse_args()
    with threadpool_limits(1):
        main(given.windows, given.streams, given.only, write=given.write)
