"""One peer in its own process: ``python -m benchmarks.peers.worker PEER``.

Reads requests from standard input, a JSON object a line: the folder of two Arrow tables, and the
calls to make. Answers with a line of JSON: of each call the decisions and the CPU seconds, without
imports. A call is made once before it is measured.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from benchmarks.peers.decision import Call


def main(peer: str) -> None:
    """Answer until there are no more requests."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    module = import_module(f"benchmarks.peers.ask_{peer}")
    answers.write(json.dumps({name: version(name) for name in module.PACKAGES}) + "\n")
    warm: set[str] = set()
    for line in sys.stdin:
        request = json.loads(line)
        tables = [read(Path(request["folder"]) / f"{side}.arrow") for side in SIDES]
        answer = {}
        for name in request["calls"]:
            call: Call = getattr(module, name)
            if name not in warm:
                call(*tables)
                warm.add(name)
            started = cpu_seconds()
            decisions = call(*tables)
            cpu = cpu_seconds() - started
            said = {rule: asdict(decision) for rule, decision in decisions.items()}
            answer[name] = {"cpu": cpu, "decisions": said}
        answers.write(json.dumps(answer) + "\n")


SIDES = ("reference", "current")


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it started and that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def read(path: Path) -> pa.Table:
    """Read an Arrow file into memory."""
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


if __name__ == "__main__":
    main(sys.argv[1])
