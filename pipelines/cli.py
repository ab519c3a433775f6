"""The `tidegauge` command.

Every verb imports what it needs when it runs, so that `check` answers in about a second.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipelines.terminal import print_comparison, print_run
from schemas.errors import OutputError, StreamFileError, TidegaugeError

if TYPE_CHECKING:
    pass

FAULT, MISTAKE, ALARMED, INTERRUPTED = 1, 2, 3, 130
WIDE = 160  # columns of text that goes to a file or a pipe, where no terminal says how many

app = typer.Typer(
    name="tidegauge",
    help="Which feature moved given all the others, when, how, and what it cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

StreamFile = Annotated[Path, typer.Argument(metavar="STREAM.yaml", help="The stream file.")]
BaselineFolder = Annotated[
    Path | None,
    typer.Option("--baseline", help="The baseline folder; beside the stream file when left out."),
]
Runner = Annotated[str, typer.Option(help="local, prism, flink, spark or dataflow.")]
RunnerOptions = Annotated[
    list[str] | None, typer.Argument(metavar="-- RUNNER OPTIONS", help="Passed on to Beam.")
]
FailOnAlarm = Annotated[bool, typer.Option("--fail-on-alarm", help="Exit with 3 on an alarm.")]


def main() -> None:
    """Run the command.

    Exit codes: 0 done, 3 alarmed with --fail-on-alarm, 2 the user's mistake, 130 interrupted, 1 a
    fault of ours.
    """
    # Many small matrices: threads that wait for each other would take ten times the CPU.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    logging.disable(logging.CRITICAL)  # Beam logs a traceback for what we say in one sentence
    warnings.simplefilter("ignore")  # libraries' advice to programmers; users get our own sentences
    try:
        app(prog_name="tidegauge")
    except TidegaugeError as error:
        _err.print(Text(f"tidegauge: {error}"))
        sys.exit(MISTAKE)
    except (KeyboardInterrupt, SystemExit) as end:  # Typer makes the former the latter
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        _err.print("tidegauge: stopped; what was there before is as it was")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(FAULT)


class _WithoutPandas(MetaPathFinder):
    """Keeps PyArrow from importing pandas, a third of the time `check` would take, for nothing."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002
        """Say that there is no pandas: PyArrow and Polars both do without."""
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def _note(text: str) -> None:
    _err.print(Text(f"note: {text}"))


def default_folder(stream_file: Path, kind: str) -> Path:
    """Return the folder of a stream file: weather.yaml has weather.baseline and weather.run."""
    return stream_file.with_suffix(f".{kind}")


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Give a function that says what is going on: on stderr, and only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with _err.status("starting") as status:
        yield lambda text: status.update(Text(text))


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
    _out.print(Text(f"wrote {out}; read its comments, then: tidegauge validate {out}"))


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
        _out.print(Text(f"{name}: {count} file(s) with all columns of the stream"))
    _out.print(Text(f"{stream_file}: valid"))


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
    with _progress() as say:
        report = fit_baseline(
            stream,
            folder,
            runner=runner,
            options=options or [],
            since=None if since is None else since_text(since),
            say=say,
        )
    for note in report.notes:
        _note(note)
    _out.print(Text(row_sentence(report.rows)))
    _out.print(Text(f"baseline {report.baseline.id} in {folder}: {report.windows:.0f} windows"))


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
        return print_run(done, _out, _err, briefly=follow)

    try:
        with _progress() as say:
            job = Job(stream, *folders, runner, options or [], say, _note)
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
    sys.meta_path.insert(0, _WithoutPandas())
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
        _note(note)
    if as_json:
        sys.stdout.write(json.dumps(result.to_json(), allow_nan=False) + "\n")
    else:
        print_comparison(result, _out)
    if fail_on_alarm and result.alarm:
        sys.exit(ALARMED)


@app.command()
def backtest(stream_file: StreamFile) -> None:
    """Evaluate the stream's forecasters on its reference, from rolling origins."""
    from pipelines.backtest import backtest_stream
    from schemas.stream_file import load_stream

    stream = load_stream(stream_file)
    with _progress() as say:
        lines = backtest_stream(stream, say=say)
    _out.print(lines)


@app.command()
def explain(
    finding_id: Annotated[str, typer.Argument(metavar="FINDING_ID")],
    run_folder: Annotated[Path, typer.Option("--run", help="The run folder.")],
) -> None:
    """Say all that is known of one finding."""
    from pipelines.explain import explain_finding
    from pipelines.run_folder import open_run

    _out.print(Text(explain_finding(open_run(run_folder), finding_id)))


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN_DIR")],
    out: Annotated[Path | None, typer.Option(help="The HTML file.")] = None,
) -> None:
    """Write the run as one HTML file that opens without a network."""
    from pipelines.report import write_report
    from pipelines.run_folder import open_run

    _out.print(Text(str(write_report(open_run(run_folder), out or run_folder / "report.html"))))


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

    with _progress() as say:
        sent = replay_table(table, load_stream(stream_file), parse_speed(speed), say)
    _out.print(f"{sent:,} rows sent")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the tables, runs and reports go.")] = Path(
        "demo"
    ),
) -> None:
    """Watch a year of real weather at three airports, then with one sensor's week shuffled."""
    from pipelines.demo import run_demo

    with _progress() as say:
        told = run_demo(out, say=say)
    _out.print(told)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the stream file."""
    from schemas.stream_file import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
