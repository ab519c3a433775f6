"""Verbs that prepare a stream: its file, its baseline, a look at its forecasters."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pipelines.cli.app import (
    BaselineFolder,
    Runner,
    RunnerOptions,
    StreamFile,
    app,
    console,
    default_folder,
    progress,
    remark,
)
from schemas.errors import OutputError


@app.command()
def init(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Parquet, CSV, Arrow or JSONL.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; stdout when left out.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="The event-time column.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="A key column; may be given again.")] = None,
) -> None:
    """Write a commented stream file for a table; what is guessed is said to be guessed."""
    from pipelines.files import write_text
    from transforms.draft import draft_stream_file
    from transforms.tables import read_head

    rows = read_head(table)
    text = draft_stream_file(table, rows, None if out is None else str(out), time, key or [])
    if out is None:
        sys.stdout.write(text)
        return
    if out.exists():
        message = f"{out}: is there already; remove it first, or choose another name with --out"
        raise OutputError(message)
    write_text(out, text)
    console.print(Text(f"wrote {out}; read its comments, then: tidegauge validate {out}"))


@app.command()
def validate(stream_file: StreamFile) -> None:
    """Check the stream file, and that its source and reference match it."""
    from pipelines.sources import check_files, source_files
    from schemas.kafka import Topic
    from schemas.stream_file import load_stream

    stream = load_stream(stream_file)
    files: dict[str, int] = {}
    for name, source in (("reference", stream.reference), ("source", stream.source)):
        if not isinstance(source, Topic):
            paths = source_files(source)
            check_files(paths, source, stream)
            files[name] = len(paths)
    for name, count in files.items():
        console.print(Text(f"{name}: {count} file(s) with all columns of the stream"))
    if stream.outcomes is not None:
        from pipelines.late_outcomes import new_outcomes
        from pipelines.progress import Progress

        count = len(new_outcomes(stream, Progress()))
        console.print(Text(f"outcomes: {count} file(s) with time, key and targets"))
    console.print(Text(f"{stream_file}: valid"))


@app.command()
def fit(
    stream_file: StreamFile,
    options: RunnerOptions = None,
    baseline: BaselineFolder = None,
    runner: Runner = "local",
    since: Annotated[
        str | None,
        typer.Option(help="Judge only windows that begin at this time or later by it."),
    ] = None,
) -> None:
    """Learn the baseline from the reference."""
    from monitors.baseline_folder import since_text
    from pipelines.fit import fit as fit_baseline
    from pipelines.run_folder import row_sentence
    from pipelines.runners import check_runner
    from schemas.stream_file import load_stream

    stream = load_stream(stream_file)
    check_runner(runner, options or [])
    folder = baseline or default_folder(stream_file, "baseline")
    with progress() as say:
        report = fit_baseline(
            stream,
            folder,
            runner=runner,
            options=options or [],
            since=None if since is None else since_text(since),
            say=say,
        )
    for note in report.notes:
        remark(note)
    console.print(Text(row_sentence(report.rows)))
    console.print(Text(f"baseline {report.baseline.id} in {folder}: {report.windows:.0f} windows"))


@app.command()
def backtest(
    stream_file: StreamFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Evaluate the stream's forecasters on its reference, from rolling origins."""
    from pipelines.backtest import backtest_stream
    from pipelines.backtest_tables import print_backtest
    from schemas.stream_file import load_stream

    stream = load_stream(stream_file)
    with progress() as say:
        report = backtest_stream(stream, say=say)
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), allow_nan=False) + "\n")
    else:
        print_backtest(report, console)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the stream file."""
    from schemas.stream_file import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
