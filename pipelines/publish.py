"""Sends the metrics of a finished run where the stream file says."""

from __future__ import annotations

from pathlib import Path

from monitors.export import push, write_textfile
from pipelines.run_folder import Run


def publish(run: Run) -> None:
    """Push a run to the Pushgateway and write the textfile, if the stream file names them.

    Raises
    ------
    OutputError
        When the gateway refuses or the file cannot be written; the run itself is whole.
    """
    sinks = run.stream.sinks
    if sinks.textfile is not None:
        write_textfile(run.snapshot(), Path(sinks.textfile))
    if sinks.pushgateway is not None:
        push(run.snapshot(), sinks.pushgateway)
