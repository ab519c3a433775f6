"""The page and the picture of a run."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from benchmarks.peers.roster import Contender
from benchmarks.peers.score import Score, rate
from benchmarks.peers.settings import SETTINGS, Setting

Scores: TypeAlias = dict[tuple[str, str], Score]  #: by setting and rule

_HEAD = """\
# Beside other drift tools

Two tables of 1,000 rows and 25 columns, and one question: did anything change, and what? All tools
see the same seeded tables. Each has a purpose of its own, so read first who is asked: most test
*each column alone*, and cannot see a change that leaves every column's own distribution as it was;
some test *all columns together*, and name none. `tidegauge check` tests each column *given all the
others*, and the settings are of the kind that it is made for. Not measured is what the others are
made for and tidegauge is not: images, text and embeddings, performance without labels, reports.

```sh
python -m benchmarks.peers --write    # writes this page; the first time it installs the peers, 6 GB
```

Every peer has a virtual environment of its own in `benchmarks/.data/peers`, with the versions
pinned in `benchmarks/peers/requirements`; reports of its use to a vendor are switched off. No peer
is a dependency of tidegauge, and no test needs one."""

_SETTINGS = """\
Numbers are a Gaussian chain: each column follows the one before (correlation 0.7). The mixed table
has 23 of them, the last with 5 % of gaps, and two categories.

- *Replayed*: the rows of the middle column are shuffled. Its own distribution does not change.
- *Off by 0.5 σ*: 0.5 conditional standard deviations, 0.29 of its own, are added to that column.
- *Root off*: the first column moves by 0.5 σ and the others follow as before. One column is the
  cause; the own distributions of the nearest followers move as well.
- *Spread × 1.3*: the middle column is multiplied by 1.3.
- *Gaps*: the missing values of a column rise from 5 % to 10 %. *New category*: in 1 % of the rows.

A cell is the share of trials *with an alarm / in which the right column and no other is named*; a
rule that names no column has only the first. Read it against the false alarms above: a rule that
alarms at nine clean tables of ten "finds" everything."""

_CLEAN = """\
Share of clean comparisons with any alarm, with the exact 95 % binomial interval, and the number of
trials. CPU: seconds of a comparison, imports left out."""

_PICTURE = """\
![Alarms and exact names against the size of a shift and the correlation](images/peers.png)

In the picture, rules that are the same test lie on each other: SciPy, alibi-detect and Frouros with
Bonferroni are all KS (so is Evidently on tables of this size, which is too slow for the curves).
Where columns hardly depend on each other, shuffling one changes next to nothing, and alarms are
false: those of NannyML's PCA at correlations near 0 are (it alarms at 20 of 20 clean tables there,
at 3 of 20 with correlation 0.7), since rows that it was not fitted on are rebuilt worse."""


def page(roster: Sequence[Contender], scores: Scores, versions: Mapping[str, str]) -> str:
    """Return the page as Markdown."""
    changed = [setting for setting in SETTINGS if setting.main and setting.truth]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    machine = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()}-core {platform.machine()}, one thread, "
        f"Python {platform.python_version()}, {packages}."
    )
    named = "; ".join(named_with_root(roster, scores))
    parts = [
        _HEAD,
        "## Who is asked",
        table(
            ["call", "looks at", "what it is, and the rule"],
            [[", ".join(c.rules), c.looks_at, c.about] for c in roster],
        ),
        "## False alarms when nothing changed, and cost",
        _CLEAN,
        table(["rule", "numbers", "trials", "mixed", "trials", "CPU s"], clean(roster, scores)),
        "## What is found, and what is named",
        _SETTINGS,
        table(
            ["rule", *(setting.name for setting in changed), "trials"],
            found(roster, scores, changed),
        ),
        f"Columns named on average when the root moved, of which one is right: {named}.",
        _PICTURE,
        machine,
    ]
    return "\n\n".join(parts) + "\n"


def clean(roster: Sequence[Contender], scores: Scores) -> list[list[str]]:
    """Return a line per rule: false alarms and cost."""
    lines = []
    for contender in roster:
        for rule in contender.rules:
            cells = []
            for setting in SETTINGS:
                if not setting.truth:
                    score = scores.get((setting.name, rule))
                    cells += [rate(score.alarms, score.trials), str(score.trials)] if score else _NO
            own = [score for (_, name), score in scores.items() if name == rule]
            cpu = sum(score.cpu for score in own) / sum(score.trials for score in own)
            lines.append([rule, *cells, f"{cpu:.2f}"])
    return lines


def found(
    roster: Sequence[Contender], scores: Scores, changed: Sequence[Setting]
) -> list[list[str]]:
    """Return a line per rule: alarms and exact names in each setting."""
    lines = []
    for contender in roster:
        for rule in contender.rules:
            own = [scores.get((setting.name, rule)) for setting in changed]
            names = any(score.named for (_, name), score in scores.items() if name == rule)
            cells = [
                "–" if score is None else _share(score, exact=names or "half" in rule)
                for score in own
            ]
            lines.append([rule, *cells, str(max(score.trials for score in own if score))])
    return lines


def named_with_root(roster: Sequence[Contender], scores: Scores) -> list[str]:
    """Say how many columns each rule named when the root moved."""
    (root,) = (setting.name for setting in SETTINGS if setting.truth == "x00")
    rules = [rule for contender in roster for rule in contender.rules]
    own = [(rule, scores[root, rule]) for rule in rules if (root, rule) in scores]
    return [f"{rule} {score.named / score.trials:.1f}" for rule, score in own if score.named]


_NO = ["–", "–"]


def _share(score: Score, *, exact: bool) -> str:
    return f"{score.found:.2f} / {score.located:.2f}" if exact else f"{score.found:.2f}"


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def plot(roster: Sequence[Contender], scores: Scores, path: Path) -> None:
    """Draw alarms and exact names along the curves."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    curves = {
        "shift": "shift of one column, conditional σ",
        "replay": "correlation; one column replayed",
    }
    figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex="col", sharey=True)
    styles = ("o-", "s--", "^:", "v-.", "D--", "x:")
    rules = [rule for contender in roster if contender.curves for rule in contender.rules]
    for column, (curve, label) in enumerate(curves.items()):
        points = sorted((s for s in SETTINGS if s.curve == curve), key=lambda s: s.at)
        for number, rule in enumerate(rules):
            style = styles[number % len(styles)]
            own = [(s, scores[s.name, rule]) for s in points]
            at = [setting.at for setting, _ in own]
            alarms = [score.found for _, score in own]
            axes[0, column].plot(at, alarms, style, markersize=4, label=rule)
            right = [score.located for _, score in own]
            if "PCA" not in rule:
                axes[1, column].plot(at, right, style, markersize=4, label=rule)
            else:
                axes[1, column].plot([], [])  # keeps the colours
        axes[1, column].set_xlabel(label)
        for ax in axes[:, column]:
            ax.grid(alpha=0.3)
            ax.set_ylim(-0.03, 1.03)
    axes[0, 0].axhline(0.05, color="grey", linewidth=0.8)
    axes[0, 0].set_ylabel("alarms (at 0: false ones)")
    axes[1, 0].set_ylabel("only the right one named")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center", ncols=3, fontsize=8)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)
