"""`python -m pipelines.flink.submit STREAM.yaml`: check the stream, and start its job on a cluster.

Runs with the Python that the workers have, too: see `docs/deploy/flink.md`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from monitors.baseline import check_fits
from monitors.baseline_folder import load_baseline
from monitors.forecasting import refuse_unbounded
from pipelines.flink.tables import connection, topics
from pipelines.kafka import client
from schemas.errors import OutputError, StreamFileError, TidegaugeError
from schemas.kafka import Topic
from schemas.stream import Stream
from schemas.stream_file import load_stream

_JOB = re.compile(r"^job ([0-9a-f]{32})$", re.MULTILINE)


def command() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m pipelines.flink.submit", description=__doc__
    )
    arguments.add_argument("stream_file", type=Path, metavar="STREAM.yaml")
    arguments.add_argument(
        "--baseline", type=Path, help="folder of baselines, under the same path on all workers"
    )
    arguments.add_argument("--jobmanager", default="localhost:8081", metavar="HOST:PORT")
    arguments.add_argument("--parallelism", type=int, default=1)
    arguments.add_argument("--checkpoints", default="10 s", help="time from one to the next")
    arguments.add_argument("--savepoint", help="go on from this savepoint or checkpoint")
    return arguments


def main() -> None:
    """Submit a job, and print its id."""
    given = command().parse_args()
    try:
        print(  # noqa: T201 (the result)
            submit(
                given.stream_file,
                given.baseline or given.stream_file.with_suffix(".baseline"),
                given.jobmanager,
                parallelism=given.parallelism,
                checkpoints=given.checkpoints,
                savepoint=given.savepoint,
            )
        )
    except TidegaugeError as error:
        sys.stderr.write(f"tidegauge: {error}\n")
        sys.exit(2)


def submit(
    stream_file: Path,
    baseline: Path,
    job_manager: str,
    *,
    parallelism: int = 1,
    checkpoints: str = "10 s",
    savepoint: str | None = None,
) -> str:
    """Start the job of a stream, and return its id.

    Raises
    ------
    TidegaugeError
        When the stream cannot run on Flink, a topic or the baseline is missing, or the cluster does
        not take the job.
    """
    stream = load_stream(stream_file)
    partitions = check(stream)
    check_fits(load_baseline(baseline), stream, baseline)
    home = _home()
    command: list[str | Path] = [
        home / "bin" / "flink", "run", "--detached", "--jobmanager", job_manager,
        *(("--fromSavepoint", savepoint) if savepoint else ()),
        "--pyExecutable", sys.executable, "--pyClientExecutable", sys.executable,
        "--python", Path(__file__).with_name("job.py"),
        stream_file.resolve(), "--baseline", baseline.resolve(),
        "--partitions", ",".join(map(str, partitions)),
        "--parallelism", str(parallelism), "--checkpoints", checkpoints,
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (Flink's own)
    found = _JOB.search(ran.stdout)
    if ran.returncode or found is None:
        message = (
            f"{job_manager}: the job could not be submitted: {_reason(ran.stdout + ran.stderr)}"
        )
        raise OutputError(message)
    return found[1]


def check(stream: Stream) -> list[int]:
    """Check that a stream can run as a job of Flink, and return the partitions of its topic.

    Raises
    ------
    StreamFileError, SourceError, OutputError
        Saying what cannot be.
    """
    if not isinstance(stream.source, Topic):
        raise StreamFileError("source: the Flink job reads a topic; files are for `tidegauge run`")
    if stream.alarms.control != "window":
        raise StreamFileError(
            f"alarms: control: {stream.alarms.control} goes from window to window, which the Flink "
            f"job cannot do yet; use `control: window`, or `tidegauge run --follow`"
        )
    refuse_unbounded(stream)
    sink = stream.sinks.kafka
    if sink is None or sink.findings is None:
        raise StreamFileError(
            "sinks: the Flink job writes to topics; name one with `sinks: {kafka: {findings: …}}`"
        )
    connection(stream.source)
    connection(sink)
    reader, troubles = client.consumer(stream.source, stream.source.topic)
    try:
        partitions = client.partitions(reader, stream.source.topic, troubles)
    finally:
        reader.close()
    writer, troubles = client.producer(sink)
    for topic in topics(sink).values():
        client.partitions(writer, topic, troubles)
    return partitions


def _home() -> Path:
    """Return the folder of Flink's own programs: PyFlink brings them along."""
    spec = importlib.util.find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise StreamFileError(
            "this Python has no PyFlink; use that of the environment which "
            "deploy/flink/requirements.txt describes"
        )
    return Path(os.environ.get("FLINK_HOME") or Path(spec.origin).parent)


def _reason(said: str) -> str:
    """Return the line that says most among those that the `flink` command prints."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    of_python = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    of_java = [line for line in lines if line.startswith("Caused by: ")]
    return [*lines[-1:], *of_java[-1:], *of_python[-1:]][-1] if lines else "it says nothing"


if __name__ == "__main__":
    main()
