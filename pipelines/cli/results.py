"""Verbs that show what runs found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pipelines.cli.app import ALARMED, FailOnAlarm, app, console, import_without, remark
from schemas.errors import OutputError

Baseline = Annotated[
    Path | None,
    typer.Option(help="The baseline folder; where it was when the run was made when left out."),
]


@app.command()
def explain(
    finding_id: Annotated[str, typer.Argument(metavar="FINDING_ID")],
    run_folder: Annotated[Path, typer.Option("--run", help="The run folder.")],
    baseline: Baseline = None,
) -> None:
    """Say what moved, since when, how, how bad it is and what to check: one finding's cause."""
    import_without("pandas", "sklearn")
    from pipelines.explain import explain_finding
    from pipelines.run_folder import open_run

    console.print(Text(explain_finding(open_run(run_folder), finding_id, baseline)))


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN_DIR")],
    out: Annotated[Path | None, typer.Option(help="The HTML file.")] = None,
    baseline: Baseline = None,
) -> None:
    """Write the run as one HTML file that opens without a network."""
    from pipelines.report import write_report
    from pipelines.run_folder import open_run

    path = write_report(open_run(run_folder), out or run_folder / "report.html", baseline)
    console.print(Text(str(path)))


@app.command()
def serve(  # noqa: PLR0913, PLR0917 (an option each)
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR|STREAM.yaml",
            help="A run folder, or a stream file whose findings go to a topic.",
        ),
    ],
    listen: Annotated[str, typer.Option(help="Address and port.")] = "127.0.0.1:9464",
    feature: Annotated[
        list[str] | None,
        typer.Option(help="Has a series of its own, whatever its score; may be given again."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Start before there is a run, unready until then.")
    ] = False,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file; then HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file, unless it is in that.")] = None,
    users: Annotated[
        Path | None, typer.Option(help="File of users and hashed passwords that may ask.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="By which others reach it, for the links of alerts to its pages."),
    ] = None,
    baseline: Baseline = None,
) -> None:
    """Expose the metrics of a run to Prometheus, and the pages of its findings to who is told."""
    from pipelines.serve import Guard, serve_topic
    from pipelines.serve import serve as serve_run
    from schemas.stream_file import load_stream

    guard = Guard(tls_certificate, tls_key, users)
    if source.suffix in {".yaml", ".yml"} and not source.is_dir():
        if url is not None or baseline is not None:
            message = "--url, --baseline: a topic has no rows to explain findings with, so no pages"
            raise OutputError(message)
        serve_topic(load_stream(source), listen, feature or [], wait=wait, guard=guard)
        return
    serve_run(source, listen, feature or [], wait=wait, guard=guard, url=url, baseline=baseline)


@app.command("compare-at")
def compare_at(  # noqa: PLR0913, PLR0917 (an option each)
    when: Annotated[
        str, typer.Argument(metavar="TIME", help="Of the release, such as 2026-03-01T14:00Z.")
    ],
    source: Annotated[
        str, typer.Argument(metavar="TABLE|STREAM.yaml", help="A table, or a stream of files.")
    ],
    time: Annotated[str | None, typer.Option(help="The event-time column of a table.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="A number to compare, all when left out; may be given again."),
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Length of a period, such as 1h; chosen when left out.")
    ] = None,
    season: Annotated[
        str | None,
        typer.Option(help="Cycle to take out, such as 7d, or none; 1d where there are days."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="COLUMN=VALUE: compare only such rows; may be given again."),
    ] = None,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Per comparison, over all columns together.")
    ] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    out: Annotated[Path | None, typer.Option(help="A figure: .svg, .png or .html.")] = None,
    fail_on_alarm: FailOnAlarm = False,
) -> None:
    """Say what a release at a known time changed: which columns, and at which quantiles."""
    from pipelines.compare_at import compare_at as compare
    from pipelines.compare_at import print_before_after
    from pipelines.compare_figure import check_suffix, write_figure

    if out is not None:
        check_suffix(out)
    result = compare(
        when,
        source,
        time=time,
        columns=column or [],
        every=every,
        season=season,
        keys=key or [],
        level=false_alarm_rate,
        seed=seed,
    )
    for note in result.notes:
        remark(note)
    if as_json:
        sys.stdout.write(json.dumps(result.to_json(), allow_nan=False) + "\n")
    else:
        print_before_after(result, console)
    if out is not None:
        write_figure(result, out)
    if fail_on_alarm and result.alarm:
        sys.exit(ALARMED)
