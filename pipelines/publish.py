"""Sends the metrics of a finished run where the stream file says."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from monitors.export import push, push_completion, write_textfile
from pipelines.run_folder import Run
from schemas.errors import OutputError
from schemas.stream import Stream


def publish_failure(stream: Stream) -> None:
    """Tell the Pushgateway, where there is one, that a run ended without a result."""
    if stream.sinks.pushgateway is not None:
        with suppress(OutputError):  # the failure itself is what the user must hear of
            push_completion(stream.name, datetime.now(tz=UTC), stream.sinks.pushgateway)


def publish(run: Run) -> None:
    """Push a run to the Pushgateway and write the textfile, if the stream file names them.

    Raises
    ------
    OutputError
        When the gateway refuses or the file cannot be written; the run itself is whole.
    """
    sinks = run.stream.sinks
    try:
        if sinks.textfile is not None:
            write_textfile(run.snapshot(), Path(sinks.textfile))
        if sinks.pushgateway is not None:
            push(run.snapshot(), sinks.pushgateway)
    except OutputError as error:
        message = f"{error}; the run itself is whole, in {run.folder}"
        raise OutputError(message) from error
