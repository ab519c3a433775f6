"""Verbs that watch rows: runs over a stream, comparisons of tables, replays, the demo."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.app import (
    ALARMED,
    BaselineFolder,
    FailOnAlarm,
    Runner,
    RunnerOptions,
    StreamFile,
    app,
    console,
    default_folder,
    errors,
    import_without,
    progress,
    remark,
)
from pipelines.terminal import print_comparison, print_run
from schemas.errors import StreamFileError


@app.command()
def run(  # noqa: PLR0913, PLR0917 (an option each)
    stream_file: StreamFile,
    options: RunnerOptions = None,
    baseline: BaselineFolder = None,
    out: Annotated[Path | None, typer.Option(help="The run folder.")] = None,
    runner: Runner = "local",
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until stopped, as rows come.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between looks at the source, with --follow.")
    ] = 5.0,
    anew: Annotated[
        bool, typer.Option("--anew", help="Forget what earlier runs took in and found.")
    ] = False,
    fail_on_alarm: FailOnAlarm = False,
) -> None:
    """Score what is new of the source against the baseline."""
    from pipelines.publish import publish, publish_failure
    from pipelines.run import follow as follow_stream
    from pipelines.run import run as run_stream
    from pipelines.run_folder import Run
    from pipelines.runners import check_runner
    from pipelines.stop import until_stopped
    from pipelines.tick import Job
    from schemas.stream_file import load_stream

    if follow and fail_on_alarm:
        message = "--fail-on-alarm: a run that is followed has no end; leave one of them out"
        raise StreamFileError(message)
    stream = load_stream(stream_file)
    check_runner(runner, options or [])
    folder = out or default_folder(stream_file, "run")
    folders = baseline or default_folder(stream_file, "baseline"), folder

    def tell(done: Run) -> bool:
        publish(done)
        return print_run(done, console, errors, briefly=follow)

    try:
        with progress() as say:
            job = Job(stream, *folders, runner, options or [], say, remark)
            if follow:
                with until_stopped() as stop:
                    follow_stream(job, every, stop, tell, anew=anew)
                return
            done = run_stream(job, anew=anew)
    except BaseException:
        publish_failure(stream)
        raise
    if tell(done) and fail_on_alarm:
        sys.exit(ALARMED)


@app.command()
def check(  # noqa: PLR0913, PLR0917 (an option each)
    reference: Annotated[str, typer.Argument(metavar="REFERENCE")],
    current: Annotated[str, typer.Argument(metavar="CURRENT")],
    method: Annotated[
        str, typer.Option(help="moments, fisher, model-ks, knn-ks, pit or flow.")
    ] = "moments",
    false_alarm_rate: Annotated[
        float, typer.Option(help="Per comparison, over all features together.")
    ] = 0.05,
    condition_on: Annotated[
        list[str] | None,
        typer.Option(help="A column that explains the others; may be given again."),
    ] = None,
    lag: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="Rows ago: numbers' earlier values explain them; may be given again."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the permutations.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    fail_on_alarm: FailOnAlarm = False,
) -> None:
    """Compare two tables: name the features that, given all the others, are not what they were."""
    import_without("pandas")
    from pipelines.check import check_tables

    if not 0 < false_alarm_rate < 1:
        message = f"--false-alarm-rate {false_alarm_rate:g}: give a number between 0 and 1"
        raise StreamFileError(message)
    result = check_tables(
        reference,
        current,
        method=method,
        false_alarm_rate=false_alarm_rate,
        condition_on=condition_on or [],
        seed=seed,
        lags=lag or [],
    )
    for note in result.notes:
        remark(note)
    if as_json:
        sys.stdout.write(json.dumps(result.to_json(), allow_nan=False) + "\n")
    else:
        print_comparison(result, console)
    if fail_on_alarm and result.alarm:
        sys.exit(ALARMED)


@app.command()
def replay(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Parquet, CSV, Arrow or JSONL.")],
    stream_file: StreamFile,
    speed: Annotated[str, typer.Option(help="Such as 60x for an hour in a minute.")] = "max",
) -> None:
    """Send the rows of a table to the stream's topic, in order of event time."""
    from pipelines.replay import parse_speed
    from pipelines.replay import replay as replay_table
    from schemas.stream_file import load_stream

    with progress() as say:
        sent = replay_table(table, load_stream(stream_file), parse_speed(speed), say)
    console.print(f"{sent:,} rows sent")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the tables, runs and reports go.")] = Path(
        "demo"
    ),
) -> None:
    """Watch a year of real weather at three airports, then with one sensor's week shuffled."""
    from pipelines.demo import run_demo

    with progress() as say:
        told = run_demo(out, say=say)
    console.print(told)
