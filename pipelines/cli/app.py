"""What the verbs share: the application, its consoles and exit codes, common options.

Every verb imports what it needs when it runs, so that `check` answers in about a second.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from schemas.errors import TidegaugeError

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
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

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


class _Absent(MetaPathFinder):
    """Says of packages that they are not installed."""

    def __init__(self, packages: Collection[str]) -> None:
        self._packages = packages

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002
        """Refuse to find them."""
        if fullname in self._packages:
            raise ModuleNotFoundError(fullname)


def import_without(*packages: str) -> None:
    """Keep libraries from importing packages that they offer to work with, and need not.

    PyArrow imports pandas, and LightGBM scikit-learn: up to half of the time of a short verb.
    """
    sys.meta_path.insert(0, _Absent(packages))


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
        errors.print(Text(f"tidegauge: {error}"))
        sys.exit(MISTAKE)
    except (KeyboardInterrupt, SystemExit) as end:  # Typer makes the former the latter
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        errors.print("tidegauge: stopped; what was there before is as it was")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(FAULT)


def remark(text: str) -> None:
    """Say something beside the result, on stderr."""
    errors.print(Text(f"note: {text}"))


def default_folder(stream_file: Path, kind: str) -> Path:
    """Return the folder of a stream file: weather.yaml has weather.baseline and weather.run."""
    return stream_file.with_suffix(f".{kind}")


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Give a function that says what is going on: on stderr, and only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with errors.status("starting") as status:
        yield lambda text: status.update(Text(text))
