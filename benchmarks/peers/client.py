"""The driver's side of a worker: starts it, and asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from benchmarks.measure import ROOT
from benchmarks.peers.environments import FOLDER, python_of

#: one thread, no picture on a screen, no accelerator, and no report of its use to a vendor
_QUIET = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    "MPLBACKEND": "Agg",
    "NML_DISABLE_USAGE_LOGGING": "1",
    "DO_NOT_TRACK": "1",
}


class Client:
    """A peer that answers from its own process."""

    def __init__(self, peer: str) -> None:
        """Start the worker, in the peer's own environment; make that first where there is none."""
        self.peer, self.log = peer, FOLDER / f"{peer}.log"
        FOLDER.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = [
            python_of(peer),
            "-W",
            "ignore",
            "-m",
            "benchmarks.peers.worker",
            peer,
        ]
        with self.log.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=os.environ | _QUIET,
                start_new_session=True,  # Ctrl-C is for the driver; a worker ends with its input
            )

    def ask(self, folder: Path, calls: Sequence[str]) -> None:
        """Ask for some calls on the two tables in a folder."""
        pipe = self._pipe(self._process.stdin)
        pipe.write(json.dumps({"folder": str(folder), "calls": list(calls)}) + "\n")
        pipe.flush()

    def close(self) -> None:
        """Let the worker end."""
        self._pipe(self._process.stdin).close()
        self._process.wait()
        self._pipe(self._process.stdout).close()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer: first the versions, then to each question, call by call."""
        line = self._pipe(self._process.stdout).readline()
        if not line:
            last = self.log.read_text(errors="replace").splitlines()[-15:]
            sys.exit("\n".join([f"peers: {self.peer} ended without an answer:", *last]))
        answer: dict[str, Any] = json.loads(line)
        return answer

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        if pipe is None:
            raise RuntimeError("the worker has no pipe")
        return pipe
