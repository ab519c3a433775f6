"""The time-series scenario of the paper: windows slide over a stream, a fifth of it attacked.

Kulinski, Bagchi and Inouye (Feature Shift Detection, NeurIPS 2020): windows of W rows slide over
10,000 rows of 25 sensors in steps of 50 and are compared with one fixed clean window; in the last
fifth the rows of one or more sensors are permuted together.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import operator
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from benchmarks.feature_shift_paper import COLUMNS, NAMES, SENSORS, covariance
from benchmarks.measure import ROOT, machine
from monitors.basis import Basis
from monitors.encoder import fit_encoder
from monitors.feature_shift import likelihood_ratio
from monitors.feature_shift.gram_methods import GRAM_METHODS, draws
from monitors.feature_shift.locate import Evidence, locate
from monitors.gram import Profile, profile_blocks
from monitors.null import Null, fit_null

LENGTH, ATTACK, STEP, INFORMATION, LEVEL = 10_000, 8_000, 50, 0.5, 0.05
BLOCK = 10  # rows that the null exchanges together; the rows are independent
TOUCHED = 0.2  # share of attacked rows from which on a window should alarm
METHODS = ("moments", "fisher")
GRAPHS = ("complete", "cycle")
WIDTHS = (200, 400, 600, 800, 1000)
ATTACKED = (1, 2, 3)
#: The closed form of the paper's Fisher score on raw values with the authors' thresholds, by their
#: labels; k = 1, 3 streams: recall, precision, delay in steps.
CLOSED_FORM = {
    ("complete", 200): (0.23, 0.74, 8.0),
    ("complete", 400): (0.77, 0.84, 5.3),
    ("complete", 600): (1.0, 0.76, 4.3),
    ("complete", 1000): (1.0, 0.62, 7.0),
    ("cycle", 200): (0.90, 0.89, 2.3),
    ("cycle", 400): (1.0, 0.77, 2.0),
    ("cycle", 600): (1.0, 0.71, 2.0),
    ("cycle", 1000): (1.0, 0.55, 1.7),
}

Floats = NDArray[np.float64]


@dataclass
class Score:
    """What one method did on the streams of one setting."""

    streams: int = 0
    windows: list[tuple[int, bool, int, int]] = field(
        default_factory=list
    )  #: attacked rows, alarm, names, right names
    delays: list[float] = field(default_factory=list)  #: in steps; NaN where it is never found
    starts: list[int] = field(default_factory=list)  #: estimated less true start, in rows
    cpu: float = 0.0


def simulate(graph: str, attacked: int, seed: int) -> tuple[Floats, list[int]]:
    """Return a fixed clean window's rows followed by the stream, and the attacked sensors."""
    rng = np.random.default_rng([GRAPHS.index(graph), attacked, seed])
    spread = covariance(graph, INFORMATION)
    root, deviation = np.linalg.cholesky(spread), np.sqrt(np.diagonal(spread))
    normal = rng.standard_normal((max(WIDTHS) + LENGTH, SENSORS)) @ root.T / deviation
    rows = np.sin(0.5 * np.pi * ndtr(normal)) ** 2
    sensors = sorted(rng.choice(SENSORS, attacked, replace=False).tolist())
    first = max(WIDTHS) + ATTACK
    rows[first:, sensors] = rng.permutation(rows[first:, sensors])
    return rows, sensors


def watch(rows: Floats, sensors: Sequence[int], width: int, method: str, score: Score) -> None:
    """Slide windows of `width` rows over a stream, and add what was found to the score."""
    started = time.process_time()
    table = pa.table(dict(zip(NAMES, rows.T.copy(), strict=True)))
    clean, stream = table.slice(0, width), table.slice(max(WIDTHS))
    encoder = fit_encoder(clean, COLUMNS, features=NAMES, window_rows=width)
    own = profile_blocks(encoder, clean, np.arange(width) // BLOCK)
    steps = list(profile_blocks(encoder, stream, np.arange(LENGTH) // STEP).values())
    first = profile_blocks(encoder, stream.slice(0, width), np.arange(width) // BLOCK)
    pool = np.stack([part.gram for part in (*own.values(), *first.values())])
    reference = functools.reduce(operator.add, own.values())
    chosen = GRAM_METHODS[method]

    @functools.cache
    def null_without(removed: tuple[int, ...]) -> Null:
        bases = chosen.bases(encoder.bases(np.inf), removed)
        return fit_null(
            pool,
            chosen.within(bases),
            width // BLOCK,
            np.random.default_rng(removed),
            rows=float(width),
            shares=chosen.parts(bases),
            draws=draws(pool.shape[-1]),
        )

    def test(window: Profile) -> list[Evidence]:
        laws = [None] * SENSORS
        found = locate(
            reference,
            window,
            chosen,
            encoder.bases(np.inf),
            laws,
            null_without,
            level=LEVEL,
            ignore_below=0.1,
        )
        return [item for item in found if item.alarm]

    each = width // STEP
    delay, touching = float("nan"), 0
    for at in range(len(steps) - each + 1):
        named = test(functools.reduce(operator.add, steps[at : at + each]))
        inside = max(0, at * STEP + width - ATTACK)
        right = sum(item.feature in sensors for item in named)
        score.windows.append((min(inside, width), bool(named), len(named), right))
        touching += inside > 0
        if named and inside > 0 and np.isnan(delay):
            delay = touching - 1.0
            split = change_point(steps, at + each, each, [named[0].feature], encoder.bases(0.0))
            score.starts.append(split * STEP - ATTACK)
    score.streams += 1
    score.delays.append(delay)
    score.cpu += time.process_time() - started


def change_point(
    steps: Sequence[Profile], end: int, each: int, features: Sequence[int], bases: Sequence[Basis]
) -> int:
    """Return the step at which the likelihood of one change of the named features is largest.

    It looks one window back and forth from the end of the first window that alarmed.
    """
    begin, stop = max(0, end - 2 * each), min(len(steps), end + each)
    parts = np.stack([part.gram for part in steps[begin:stop]])
    later = np.cumsum(parts[::-1], axis=0)[::-1]
    margin = max(1, each // 8)  # a fit of fewer rows says nothing
    cuts = np.arange(margin, len(parts) - margin + 1)
    ratio = likelihood_ratio.statistic(later[0], later[cuts[cuts < len(parts)]], bases)
    return begin + int(cuts[int(np.argmax(ratio[:, 0, list(features)].sum(axis=-1)))])


def table_line(setting: tuple[str, int, int], method: str, score: Score) -> str:
    """Return one line of the table."""
    graph, attacked, width = setting
    inside, alarm, names, right = np.array(score.windows, dtype=float).T
    positive = inside >= TOUCHED * width
    paper = inside == width
    found, clean = alarm[positive], alarm[inside == 0]
    loud = (alarm > 0) & positive
    starts = np.abs(score.starts) if score.starts else np.array([np.nan])
    return (
        f"| {graph} | {attacked} | {width} | {method} | {found.mean():.2f} | "
        f"{_share(found.sum(), alarm[positive | (inside == 0)].sum())} | {clean.mean():.3f} | "
        f"{np.nanmean(score.delays):.1f} | {_share(right[loud].sum(), names[loud].sum())} | "
        f"{_share(right[loud].sum(), attacked * loud.sum())} | {np.median(starts):.0f} | "
        f"{alarm[paper].mean():.2f} | {_share(alarm[paper].sum(), alarm.sum())} |"
    )


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.2f}" if whole else "-"


HEAD = """\
| graph | k | W | method | recall | precision | false | delay | right | named | start | recall' | \
precision' |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""
TITLE = "# Windows that slide over a stream"
PROTOCOL = f"""\
The time-series scenario of Kulinski, Bagchi and Inouye (*Feature Shift Detection*, NeurIPS 2020):
{SENSORS} sensors, {LENGTH:,} independent rows, the mutual information between a sensor and the
others {INFORMATION} nats. From row {ATTACK:,} on the rows of k sensors, drawn at random, are
permuted together. Windows of W rows slide in steps of {STEP} and are compared with one fixed clean
window of as many rows. The null is fitted once per stream, by exchanging rows between that window
and the stream's first, in blocks of {BLOCK}; every window is tested alone, at a false-alarm rate of
{LEVEL:.0%} for all features together.

*Recall*: the share of the attacked windows that alarm, where a window is attacked if at least
{TOUCHED:.0%} of its rows are. *Precision*: the share of the alarms that are in attacked windows;
windows with fewer attacked rows count as neither. *False*: the share of the clean windows that
alarm; neighbours share most of their rows, all windows of a stream share one reference, and all W
share the streams, so that false alarms come in runs and a few streams say little of their rate.
*Delay*: steps from the first window that holds an attacked row to the first alarm. *Right*: the
share of the names that are attacked sensors; *named*: the share of the attacked sensors that are
named, in attacked windows that alarm. *Start*: the median distance, in rows, from the row at which
the attack began to the estimate: the step at which one change of the sensor named first is
likeliest, from two windows before the end of the first alarming window to one window after it.
*Recall'* and *precision'* are by the labels of the paper, which count a window as attacked only if
all its rows are: an early alarm is then a false one, and long windows look worse the sooner they
alarm.
"""
BESIDE = """\
The paper's own score, for comparison: its closed form on the raw values with the authors'
thresholds, one attacked sensor, 3 streams, by the labels of the paper."""


def main(streams: int, graphs: Sequence[str], widths: Sequence[int], *, write: bool) -> None:
    """Run, print the tables, and write them with a picture if asked."""
    lines, scores = [HEAD], dict[tuple[str, int, int, str], Score]()
    print(HEAD, flush=True)
    for graph, attacked in itertools.product(graphs, ATTACKED):
        series = [simulate(graph, attacked, seed) for seed in range(streams)]
        for width, method in itertools.product(widths, METHODS):
            score = scores[graph, attacked, width, method] = Score()
            for rows, sensors in series:
                watch(rows, sensors, width, method, score)
            lines.append(table_line((graph, attacked, width), method, score))
            print(lines[-1], flush=True)
    cpu = sum(score.cpu for score in scores.values())
    print(f"{cpu:.0f} CPU s")
    if not write:
        return
    plot(scores, graphs, widths)
    published = ["| graph | W | recall' | precision' | delay |", "|---|---|---|---|---|"]
    published += [
        f"| {graph} | {width} | {recall:.2f} | {precision:.2f} | {delay:.1f} |"
        for (graph, width), (recall, precision, delay) in CLOSED_FORM.items()
    ]
    parts = [
        TITLE,
        PROTOCOL + f"\n{streams} streams per setting. "
        "`python -m benchmarks.time_series_paper --write` writes this page.",
        "![Recall and delay against the length of the window](images/time_series.png)",
        "\n".join(lines),
        BESIDE,
        "\n".join(published),
        f"{machine()}; {cpu:.0f} s of CPU in all.",
    ]
    (ROOT / "docs" / "time-series.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def plot(
    scores: dict[tuple[str, int, int, str], Score], graphs: Sequence[str], widths: Sequence[int]
) -> None:
    """Draw the share of windows that alarm against the share of their rows that are attacked."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(graphs), figsize=(4.2 * len(graphs), 5.4), squeeze=False)
    for column, graph in enumerate(graphs):
        for method, attacked in itertools.product(METHODS, (ATTACKED[0], ATTACKED[-1])):
            style = {"marker": "o", "markersize": 4, "label": f"{method}, k = {attacked}"}
            style |= {"linestyle": "-" if method == "moments" else "--"}
            recall, delay = [], []
            for width in widths:
                score = scores[graph, attacked, width, method]
                inside, alarm, *_ = np.array(score.windows, dtype=float).T
                recall.append(alarm[inside >= TOUCHED * width].mean())
                delay.append(np.nanmean(score.delays))
            axes[0, column].plot(widths, recall, **style)
            axes[1, column].plot(widths, delay, **style)
        if all((graph, width) in CLOSED_FORM for width in (200, 1000)):
            known = [width for name, width in CLOSED_FORM if name == graph]
            axes[1, column].plot(
                known,
                [CLOSED_FORM[graph, width][2] for width in known],
                color="grey",
                linestyle=":",
                marker="x",
                label="paper's score, k = 1",
            )
        axes[0, column].set(title=graph, ylim=(-0.03, 1.03))
        axes[1, column].set(xlabel="rows of a window", ylim=(0, None))
    axes[0, 0].set_ylabel("recall")
    axes[1, 0].set_ylabel(f"delay, steps of {STEP} rows")
    axes[1, 0].legend(frameon=False, fontsize=8)
    for ax in axes.flat:
        ax.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "images" / "time_series.png", dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=3, help="per setting")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, choices=WIDTHS)
    parser.add_argument("--quick", action="store_true", help="one stream per graph and k, W = 400")
    parser.add_argument("--write", action="store_true", help="write docs/time-series.md")
    given = parser.parse_args()
    with threadpool_limits(1):
        main(
            1 if given.quick else given.streams,
            GRAPHS,
            [400] if given.quick else given.widths,
            write=given.write,
        )
