"""`python -m pipelines.flink.stop JOB`: stop a job with a savepoint, to go on from it later."""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from schemas.errors import OutputError, TidegaugeError


def main() -> None:
    """Stop a job, and print where its savepoint is."""
    arguments = argparse.ArgumentParser(prog="python -m pipelines.flink.stop", description=__doc__)
    arguments.add_argument("job", help="its id")
    arguments.add_argument("--jobmanager", default="localhost:8081", metavar="HOST:PORT")
    arguments.add_argument("--savepoints", help="folder; the cluster's when left out")
    given = arguments.parse_args()
    try:
        print(stop(given.job, given.jobmanager, given.savepoints))  # noqa: T201 (the result)
    except TidegaugeError as error:
        sys.stderr.write(f"tidegauge: {error}\n")
        sys.exit(2)


def stop(job: str, job_manager: str, savepoints: str | None = None) -> str:
    """Stop a job once all it has read is told, and return the path of its savepoint.

    Raises
    ------
    OutputError
        When the cluster cannot be reached, has no such job, or cannot write the savepoint.
    """
    order: dict[str, Any] = {"drain": False}
    if savepoints is not None:
        order["targetDirectory"] = savepoints
    address = f"http://{job_manager}/jobs/{job}"
    try:
        asked = _ask(f"{address}/stop", order)["request-id"]
        while (told := _ask(f"{address}/savepoints/{asked}"))["status"]["id"] == "IN_PROGRESS":
            time.sleep(0.1)
    except urllib.error.HTTPError as error:
        reason = json.loads(error.read() or b"{}").get("errors", [error.reason])[0]
        message = f"{job_manager}: job {job}: {str(reason).splitlines()[0]}"
        raise OutputError(message) from error
    except OSError as error:
        message = f"{job_manager}: no job manager answers: {error}; check --jobmanager"
        raise OutputError(message) from error
    cause = told["operation"].get("failure-cause")
    if cause is not None:
        message = f"{job_manager}: job {job}: no savepoint: {cause['class']}; see its log"
        raise OutputError(message)
    return str(told["operation"]["location"])


def _ask(url: str, order: dict[str, Any] | None = None) -> Any:
    data = None if order is None else json.dumps(order).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 (http)
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (as above)
        return json.load(answer)


if __name__ == "__main__":
    main()
