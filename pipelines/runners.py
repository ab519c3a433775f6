"""Runs a graph on a Beam runner, and gives a user's mistake back as the sentence it was."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from schemas import errors
from schemas.errors import StreamFileError, TidegaugeError, did_you_mean

#: Our names and Beam's. `local` is pinned: Beam's own default picks another engine when online.
RUNNERS = {
    "local": "FnApiRunner",
    "prism": "PrismRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
}
_STEP = re.compile(r" \[while running '.*'\]$", re.DOTALL)
_REMOTE = re.compile(r"schemas\.errors\.(\w+): (.*?)(?: \[while running '|\n\n|\Z)", re.DOTALL)


def check_runner(name: str, options: Sequence[str]) -> None:
    """Refuse a runner that has no name here, and options that Beam would pass over in silence.

    Raises
    ------
    StreamFileError
        Naming the runners there are, or the option.
    """
    if name not in RUNNERS:
        message = (
            f"--runner {name}: there is no such runner{did_you_mean(name, RUNNERS)}; "
            f"choose one of {', '.join(RUNNERS)}"
        )
        raise StreamFileError(message)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            given = PipelineOptions(list(options)).get_all_options(
                drop_default=True, retain_unknown_options=True
            )
    except SystemExit as error:
        reason = said.getvalue().rpartition("error: ")[2].strip()
        message = f"runner options {' '.join(options)}: {reason}"
        raise StreamFileError(message) from error
    known = PipelineOptions([]).get_all_options()
    for option in given:
        if name == "local" and option not in known:  # others ask their job server
            message = f"runner option --{option}: Beam has none{did_you_mean(option, known)}"
            raise StreamFileError(message)


def run_graph(
    build: Callable[[beam.Pipeline], None], runner: str = "local", options: Sequence[str] = ()
) -> None:
    """Build a graph, run it, and wait for its end.

    Raises
    ------
    TidegaugeError
        When a step met a user's mistake, or the runner lacks an option or its own program; other
        failures come as they are.
    """
    try:
        pipeline = beam.Pipeline(runner=RUNNERS[runner], options=PipelineOptions(list(options)))
    except ValueError as error:
        message = f"--runner {runner}: {' '.join(str(error).split())}; give its options after `--`"
        raise StreamFileError(message) from error
    try:
        with pipeline:
            build(pipeline)
    except TidegaugeError as error:
        raise type(error)(_STEP.sub("", str(error))) from error
    except Exception as error:
        if str(error).startswith("KeyboardInterrupt"):  # within a step
            raise KeyboardInterrupt from error
        if str(error).startswith("Unable to fetch"):  # the job server, or Prism
            message = f"--runner {runner}: {error}"
            raise StreamFileError(message) from error
        found = _REMOTE.search(str(error))
        kind = getattr(errors, found[1], None) if found else None
        if found is None or not (isinstance(kind, type) and issubclass(kind, TidegaugeError)):
            raise
        raise kind(found[2]) from error
