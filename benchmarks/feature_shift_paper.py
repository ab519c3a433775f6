"""Every feature-shift method, on the simulator of the paper that asked the question.

Kulinski, Bagchi and Inouye (Feature Shift Detection, NeurIPS 2020, §4): a Gaussian copula with
U-shaped Beta(½, ½) margins on four graphs of 25 sensors, with the mutual information between the
middle sensor and the others given; two tables of 1,000 rows; in the attacked one the middle
sensor's rows are permuted, so that its own distribution is what it was.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from benchmarks.measure import ROOT, machine
from monitors.check import METHODS, check
from schemas.stream import Column

SENSORS, ROWS, LEVEL = 25, 1000, 0.05
MIDDLE = SENSORS // 2
GRAPHS = ("complete", "cycle", "grid", "random")
INFORMATION = (0.2, 0.1, 0.05, 0.01)
SHARE = {"model-ks": 0.2, "knn-ks": 0.1, "pit": 0.06, "flow": 0.02}  # of the trials: slow ones
NAMES = [f"x{j:02d}" for j in range(SENSORS)]
COLUMNS = {name: Column(type="number") for name in NAMES}
TITLE = "# How well the feature-shift methods find what moved"
PROTOCOL = f"""\
The simulator of Kulinski, Bagchi and Inouye (*Feature Shift Detection*, NeurIPS 2020): {SENSORS}
sensors, two tables of {ROWS:,} rows, a Gaussian copula with Beta(½, ½) margins, and a given mutual
information (MI, nats) between the middle sensor and the others. In the attacked table the rows of
that sensor are permuted: its own distribution does not change, and a test of one column at a time
is blind to it. Every comparison is one call of `check` at a false-alarm rate of {LEVEL:.0%} for all
features together, with its defaults; all methods see the same tables. *Found*: there is an alarm in
the attacked table. *Exact*: the sensor is named, and nothing else. *First*: it has the strongest
evidence, alarm or not. *False alarms*: among as many clean comparisons, with the exact 95 %
binomial interval. CPU: seconds per comparison, one thread. The random graph (Erdős-Rényi, p = .1)
is drawn until the middle sensor can have the information asked for.
"""

Floats = NDArray[np.float64]


@dataclass
class Score:
    """What one method did in one setting."""

    trials: int = 0
    found: int = 0
    exact: int = 0
    first: int = 0
    false: int = 0
    cpu: float = 0.0

    def add(self, tables: Sequence[pa.Table], method: str) -> None:
        """Compare a reference with a clean and with an attacked table."""
        reference, clean, attacked = tables
        started = time.process_time()
        quiet = check(reference, clean, COLUMNS, method=method, false_alarm_rate=LEVEL)
        loud = check(reference, attacked, COLUMNS, method=method, false_alarm_rate=LEVEL)
        self.cpu += time.process_time() - started
        named = [finding.subject for finding in loud.findings if finding.alarm]
        self.trials += 1
        self.found += loud.alarm
        self.exact += named == [NAMES[MIDDLE]]
        self.first += loud.findings[0].subject == NAMES[MIDDLE]
        self.false += quiet.alarm


def main(trials: int, methods: Sequence[str], graphs: Sequence[str], *, write: bool) -> None:
    """Run, print the table, and write it with a picture if asked."""
    scores: dict[tuple[str, float, str], Score] = {}
    lines = [
        "| graph | MI | method | trials | found | exact | first | false alarms | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    settings = [(graph, information) for graph in graphs for information in INFORMATION]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for setting, own in zip(
            settings,
            pool.map(run_setting, *zip(*settings, strict=True), repeat(trials), repeat(methods)),
            strict=True,
        ):
            for method, score in own.items():
                scores[*setting, method] = score
                lines.append(table_line(*setting, method, score))
                print(lines[-1], flush=True)
    sums = totals(scores, methods)
    print("\n" + sums)
    if write:
        plot(scores, methods, graphs, ROOT / "docs" / "images" / "evaluation.png")
        picture = "![Found and located against mutual information](images/evaluation.png)"
        command = "`python -m benchmarks.feature_shift_paper --write` writes this page."
        parts = [TITLE, PROTOCOL + "\n" + command, sums, picture, "\n".join(lines), machine() + "."]
        (ROOT / "docs" / "evaluation.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def run_setting(
    graph: str, information: float, trials: int, methods: Sequence[str]
) -> dict[str, Score]:
    """Give every method its trials in one setting."""
    threadpool_limits(1)
    scores = {method: Score() for method in methods}
    most = {method: max(1, round(trials * SHARE.get(method, 1.0))) for method in scores}
    spread = covariance(graph, information)
    root, deviation = np.linalg.cholesky(spread), np.sqrt(np.diagonal(spread))
    for trial in range(trials):
        rng = np.random.default_rng([GRAPHS.index(graph), round(1000 * information), trial])
        sets = [
            np.sin(0.5 * np.pi * ndtr(rng.standard_normal((ROWS, SENSORS)) @ root.T / deviation))
            ** 2
            for _ in range(3)
        ]
        sets[2][:, MIDDLE] = rng.permutation(sets[2][:, MIDDLE])
        tables = [pa.table(dict(zip(NAMES, rows.T.copy(), strict=True))) for rows in sets]
        for method, score in scores.items():
            if trial < most[method]:
                score.add(tables, method)
    return scores


def covariance(graph: str, information: float) -> Floats:
    """Return the covariance with precision I + a·adjacency and the mutual information asked for."""
    rng = np.random.default_rng(0)
    while True:
        adjacency = _adjacency(graph, rng)
        largest = -1.0 / float(np.linalg.eigvalsh(adjacency)[0]) * (1.0 - 1e-9)  # positive definite
        if _information(adjacency, largest) > max(INFORMATION):
            break
    weight = brentq(lambda a: _information(adjacency, a) - information, 0.0, largest)
    return np.asarray(np.linalg.inv(np.eye(SENSORS) + weight * adjacency))


def _information(adjacency: Floats, weight: float) -> float:
    """Return the mutual information between the middle sensor and the others, in nats."""
    spread = np.linalg.inv(np.eye(SENSORS) + weight * adjacency)
    return 0.5 * float(np.log(spread[MIDDLE, MIDDLE]))  # its precision is 1


def _adjacency(graph: str, rng: np.random.Generator) -> Floats:
    i, j = np.indices((SENSORS, SENSORS))
    if graph == "complete":
        edges = i != j
    elif graph == "cycle":
        edges = np.isin((i - j) % SENSORS, (1, SENSORS - 1))
    elif graph == "grid":
        edges = np.abs(i // 5 - j // 5) + np.abs(i % 5 - j % 5) == 1
    else:
        upper = np.triu(rng.random((SENSORS, SENSORS)) < 0.1, 1)
        edges = upper | upper.T
    return np.asarray(edges, dtype=np.float64)


def table_line(graph: str, information: float, method: str, score: Score) -> str:
    """Return one line of the table."""
    n = score.trials
    return (
        f"| {graph} | {information:g} | {method} | {n} | {score.found / n:.2f} | "
        f"{score.exact / n:.2f} | {score.first / n:.2f} | {rate(score.false, n)} | "
        f"{score.cpu / (2 * n):.2f} |"
    )


def totals(scores: dict[tuple[str, float, str], Score], methods: Sequence[str]) -> str:
    """Say how each method did over all settings, and where another found more than `moments`."""
    lines = [
        "| method | trials | found | exact | first | false alarms | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for method in methods:
        own = [score for (_, _, name), score in scores.items() if name == method]
        n = sum(score.trials for score in own)
        found, exact, first, false = (
            sum(getattr(score, what) for score in own)
            for what in ("found", "exact", "first", "false")
        )
        lines.append(
            f"| {method} | {n} | {found / n:.2f} | {exact / n:.2f} | {first / n:.2f} | "
            f"{rate(false, n)} | {sum(score.cpu for score in own) / (2 * n):.2f} |"
        )
    behind = [
        f"{graph} {information:g} ({what}: {method} {theirs:.2f}, moments {ours:.2f})"
        for (graph, information, method), score in scores.items()
        if (base := scores.get((graph, information, "moments"))) and method != "moments"
        for what in ("found", "exact")
        if (theirs := getattr(score, what) / score.trials)
        > (ours := getattr(base, what) / base.trials)
    ]
    verdict = "Settings in which another method did better than `moments`: " + (
        "; ".join(behind) if behind else "none"
    )
    return "\n".join(lines) + "\n\n" + verdict + "."


def rate(count: int, trials: int, digits: int = 2) -> str:
    """Return a share with its exact binomial interval (Clopper and Pearson)."""
    from scipy.stats import binomtest

    interval = binomtest(count, trials).proportion_ci(method="exact")
    return f"{count / trials:.{digits}f} ({interval.low:.{digits}f}-{interval.high:.{digits}f})"


def plot(
    scores: dict[tuple[str, float, str], Score],
    methods: Sequence[str],
    graphs: Sequence[str],
    path: Path,
) -> None:
    """Draw what was found, and what was located exactly, against the mutual information."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        2, len(graphs), figsize=(2.6 * len(graphs), 4.6), sharex=True, sharey=True, squeeze=False
    )
    for row, what in zip(axes, ("found", "exact"), strict=True):
        for ax, graph in zip(row, graphs, strict=True):
            for method in methods:
                own = [scores[graph, information, method] for information in INFORMATION]
                shares = [getattr(score, what) / score.trials for score in own]
                ax.plot(INFORMATION, shares, marker="o", markersize=4, label=method)
            ax.set(xscale="log", ylim=(-0.03, 1.03), xticks=INFORMATION)
            ax.set_xticklabels([f"{information:g}" for information in INFORMATION])
            ax.minorticks_off()
            ax.grid(alpha=0.3)
        row[0].set_ylabel("found" if what == "found" else "located exactly")
    for ax, graph in zip(axes[0], graphs, strict=True):
        ax.set_title(graph)
    for ax in axes[1]:
        ax.set_xlabel("mutual information, nats")
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50, help="attacked and clean, per setting")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--quick", action="store_true", help="one graph, five trials")
    parser.add_argument("--write", action="store_true", help="write docs/evaluation.md")
    given = parser.parse_args()
    main(
        5 if given.quick else given.trials,
        given.methods,
        GRAPHS[:1] if given.quick else GRAPHS,
        write=given.write,
    )
