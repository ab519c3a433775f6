"""Verbs that show what runs found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pipelines.cli.app import app, console


@app.command()
def explain(
    finding_id: Annotated[str, typer.Argument(metavar="FINDING_ID")],
    run_folder: Annotated[Path, typer.Option("--run", help="The run folder.")],
) -> None:
    """Say all that is known of one finding."""
    from pipelines.explain import explain_finding
    from pipelines.run_folder import open_run

    console.print(Text(explain_finding(open_run(run_folder), finding_id)))


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN_DIR")],
    out: Annotated[Path | None, typer.Option(help="The HTML file.")] = None,
) -> None:
    """Write the run as one HTML file that opens without a network."""
    from pipelines.report import write_report
    from pipelines.run_folder import open_run

    console.print(Text(str(write_report(open_run(run_folder), out or run_folder / "report.html"))))


@app.command()
def serve(
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
) -> None:
    """Expose the metrics of a run to Prometheus."""
    from pipelines.serve import Guard, serve_topic
    from pipelines.serve import serve as serve_run
    from schemas.stream_file import load_stream

    guard = Guard(tls_certificate, tls_key, users)
    if source.suffix in {".yaml", ".yml"} and not source.is_dir():
        serve_topic(load_stream(source), listen, feature or [], wait=wait, guard=guard)
        return
    serve_run(source, listen, feature or [], wait=wait, guard=guard)
