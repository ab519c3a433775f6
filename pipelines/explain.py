"""`tidegauge explain`: one finding, and what else happened in its window."""

from __future__ import annotations

from typing import Any

import polars as pl

from pipelines.run_folder import Run
from schemas.errors import OutputError, did_you_mean

#: What a statistic is, by `alarms.control`.
_SCALES = {
    "window": "−log10 p",
    "fdr": "−log10 of the adjusted p",
    "e-detector": "log10 of the e-detector",
}


def explain_finding(run: Run, finding_id: str) -> str:
    """Return what is known of a finding, as text.

    Raises
    ------
    OutputError
        When the run has no such finding.
    """
    findings = run.table("findings")
    found = findings.filter(pl.col("id").str.starts_with(finding_id))
    if found["id"].n_unique() != 1 or not finding_id:
        near = did_you_mean(finding_id, findings["id"].to_list())
        what = "no finding" if found.is_empty() else "more than one finding"
        message = f"{run.folder}: {what} has the id {finding_id!r}{near}"
        raise OutputError(message)
    one = found.row(0, named=True)
    same = ["key", "window_start", "window_end", "window_index"]
    beside = findings.filter(
        *(pl.col(name).eq_missing(pl.lit(one[name], dtype=findings.schema[name])) for name in same),
        pl.col("alarm"),
        pl.col("id") != one["id"],
    ).sort("monitor", "rank")
    unit = None
    if one["subject"] in run.stream.columns:
        unit = run.stream.columns[one["subject"]].unit
    lines = [
        f"{one['subject']}{f' [{unit}]' if unit else ''}: {one['explanation']}",
        f"  {'ALARM' if one['alarm'] else 'no alarm'} of {one['monitor']} ({one['method']})",
        f"  window     {_window(one)}",
    ]
    if one["statistic"] is not None:
        scale = _SCALES[run.stream.alarms.control]
        lines += [
            f"  evidence   {one['statistic']:.2f} ({scale}), alarm above {one['threshold']:.2f}",
            f"  p-value    {one['p_value']:.2g} for this subject alone",
            f"  effect     {one['effect']:.2f}, rank {one['rank']}",
        ]
    lines += [
        f"  rows       {one['rows']:,}",
        f"  baseline   {one['baseline_id']}",
        *(f"  episode    {_episode(row)}" for row in _around(run, one)),
        f"  id         {one['id']}",
    ]
    if beside.height:
        lines.append("also alarmed in this window:")
        lines += [
            f"  {row['monitor']}  {row['subject']}: {row['explanation']}"
            for row in beside.iter_rows(named=True)
        ]
    return "\n".join(lines)


def _around(run: Run, finding: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the episode that a finding belongs to, if it belongs to one."""
    about = [pl.col(name) == finding[name] for name in ("key", "monitor", "subject")]
    ends = {"start": "window_start", "start_index": "window_index"}
    for end, name in ends.items():
        if finding[name] is not None:
            last = end.replace("start", "end")
            until = finding[name.replace("start", "end")]
            about += [pl.col(end) <= finding[name], pl.col(last) >= until]
    return run.table("episodes").filter(about).to_dicts()


def _episode(episode: dict[str, Any]) -> str:
    start, end = (
        f"window {episode[f'{name}_index']}"
        if episode[name] is None
        else f"{episode[name]:%Y-%m-%d %H:%M}"
        for name in ("start", "end")
    )
    effect = "" if episode["effect"] is None else f", mean effect {episode['effect']:.2f}"
    state = "still open" if episode["open"] else "ended"
    windows = "1 window" if episode["windows"] == 1 else f"{episode['windows']} windows"
    return f"{episode['id']}: {windows} from {start} to {end}{effect}, {state}"


def _window(finding: dict[str, object]) -> str:
    key = "" if finding["key"] == "{}" else f", key {finding['key']}"
    if finding["window_start"] is None:
        return f"number {finding['window_index']}{key}"
    start, end = finding["window_start"], finding["window_end"]
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC{key}"
