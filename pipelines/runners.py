"""Runs a graph on a Beam runner, and gives a user's mistake back as the sentence it was."""

from __future__ import annotations

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


def check_runner(name: str) -> None:
    """Refuse a runner that has no name here.

    Raises
    ------
    StreamFileError
        Naming the runners there are.
    """
    if name not in RUNNERS:
        message = (
            f"--runner {name}: there is no such runner{did_you_mean(name, RUNNERS)}; "
            f"choose one of {', '.join(RUNNERS)}"
        )
        raise StreamFileError(message)


def run_graph(
    build: Callable[[beam.Pipeline], None], runner: str = "local", options: Sequence[str] = ()
) -> None:
    """Build a graph, run it, and wait for its end.

    Raises
    ------
    TidegaugeError
        When a step met a user's mistake; other failures come as they are.
    """
    try:
        with beam.Pipeline(
            runner=RUNNERS[runner], options=PipelineOptions(list(options))
        ) as pipeline:
            build(pipeline)
    except TidegaugeError as error:
        raise type(error)(_STEP.sub("", str(error))) from error
    except Exception as error:
        found = _REMOTE.search(str(error))
        kind = getattr(errors, found[1], None) if found else None
        if found is None or not (isinstance(kind, type) and issubclass(kind, TidegaugeError)):
            raise
        raise kind(found[2]) from error
