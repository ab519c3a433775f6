"""What the commands print, in lines and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import polars as pl

    from monitors.check import Comparison
    from pipelines.run_folder import Run

MOST_EPISODES = 50  # that are printed


def episode_line(episode: Mapping[str, Any]) -> str:
    """Say in one line what moved, when, for how long, and how."""
    when = (
        f"window {episode['start_index']}"
        if episode["start"] is None
        else f"{episode['start']:%Y-%m-%d %H:%M}"
    )
    windows = "1 window" if episode["windows"] == 1 else f"{episode['windows']} windows"
    still = ", open" if episode["open"] else ""
    key = "" if episode["key"] == "{}" else f" {episode['key']}"
    what = f"{episode['monitor']}  {episode['subject']}: {episode['explanation']}"
    return f"  {when}{key}  {windows}{still}  {what}"


def keys_line(findings: pl.DataFrame) -> str:
    """Say how many keys alarmed, and in how many windows all of them together."""
    from monitors.rollup import ALL_KEYS

    single = findings.filter(findings["key"] != ALL_KEYS)
    alarmed, keys = single.filter(single["alarm"])["key"].n_unique(), single["key"].n_unique()
    together = findings.filter(alarm=True, key=ALL_KEYS).select("window_start", "window_index")
    windows = f"{together.n_unique():,} window{'s' * (together.n_unique() != 1)}"
    return f"keys: {alarmed:,} of {keys:,} alarmed; all keys together in {windows}"


def not_tested(findings: pl.DataFrame) -> Iterator[str]:
    """Say for each monitor how many windows it did not test, and why one of them."""
    skipped = findings.filter(status="not_tested").sort("window_start", "window_index")
    windows = skipped.unique(["monitor", "key", "window_start", "window_index"], keep="first")
    for (monitor,), rows in sorted(windows.group_by("monitor", maintain_order=True)):
        count = "1 window was" if rows.height == 1 else f"{rows.height} windows were"
        yield f"{monitor}: {count} {rows['explanation'][0]}"


def print_comparison(result: Comparison, out: Console) -> None:
    """Print which features moved, and the strongest evidence beside."""
    named = [finding for finding in result.findings if finding.alarm]
    rows = result.rows
    out.print(
        Text(
            f"{rows['reference']:,} reference rows, {rows['current']:,} current rows, "
            f"{rows['rejected']:,} rejected; {len(result.findings)} features tested"
        )
    )
    if not named:
        out.print("no feature moved, given the others")
    table = Table(box=None, pad_edge=False)
    for title in ("rank", "feature", "evidence", "threshold", "effect", ""):
        table.add_column(
            title,
            justify="right" if title in ("rank", "evidence", "threshold", "effect") else "left",
        )
    for finding in result.findings[: max(len(named), 5)]:
        table.add_row(
            str(finding.rank),
            Text(finding.subject),
            f"{finding.statistic:.1f}",
            f"{finding.threshold:.1f}",
            f"{finding.effect:.2f}",
            Text(("MOVED: " if finding.alarm else "") + finding.explanation),
        )
    out.print(table)


def print_run(run: Run, out: Console, err: Console, *, briefly: bool) -> bool:
    """Print what a run found, and return whether there was an alarm.

    Parameters
    ----------
    briefly : one line, and open episodes: for a run that goes on.
    """
    from pipelines.run_folder import outcome_sentence, row_sentence

    counts, windows = [row_sentence(run.manifest["rows"])], f"windows: {run.manifest['windows']}"
    if "outcomes" in run.manifest:
        counts.append(outcome_sentence(run.manifest["outcomes"]))
    shifts = run.table("episodes")
    if briefly:  # and without a look at all findings
        shifts = shifts.filter("open")
        out.print(Text(f"{'; '.join(counts)}; {windows}; open alarms: {shifts.height}"))
    else:
        findings = run.table("findings")
        out.print(Text("\n".join(counts)))
        for line in not_tested(findings):
            err.print(Text(f"note: {line}"))
        alarms = findings.filter(alarm=True).height
        out.print(Text(f"{windows}; alarms: {alarms}; in {run.folder}"))
        if run.stream.key:
            out.print(Text(keys_line(findings)))
    for episode in shifts.head(MOST_EPISODES).iter_rows(named=True):
        out.print(Text(episode_line(episode)))
    if shifts.height > MOST_EPISODES:
        out.print(f"  and {shifts.height - MOST_EPISODES:,} more; `tidegauge report` sums them up")
    return shifts.height > 0
