"""`tidegauge explain`: one finding, and what else happened in its window."""

from __future__ import annotations

import polars as pl

from pipelines.run_folder import Run
from schemas.errors import OutputError, did_you_mean


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
        lines += [
            f"  evidence   {one['statistic']:.2f} (−log10 p), alarm above {one['threshold']:.2f}",
            f"  p-value    {one['p_value']:.2g} for this subject alone",
            f"  effect     {one['effect']:.2f}, rank {one['rank']}",
        ]
    lines += [
        f"  rows       {one['rows']:,}",
        f"  baseline   {one['baseline_id']}",
        f"  id         {one['id']}",
    ]
    if beside.height:
        lines.append("also alarmed in this window:")
        lines += [
            f"  {row['monitor']}  {row['subject']}: {row['explanation']}"
            for row in beside.iter_rows(named=True)
        ]
    return "\n".join(lines)


def _window(finding: dict[str, object]) -> str:
    key = "" if finding["key"] == "{}" else f", key {finding['key']}"
    if finding["window_start"] is None:
        return f"number {finding['window_index']}{key}"
    start, end = finding["window_start"], finding["window_end"]
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC{key}"
