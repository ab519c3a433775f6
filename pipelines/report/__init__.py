"""One self-contained HTML page about a run, for the person on call."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pipelines.report.page import render
from pipelines.run_folder import Run
from schemas.errors import OutputError

__all__ = ["render", "write_report"]


def write_report(run: Run, out: Path, baseline: Path | None = None) -> Path:
    """Write the report of a run as one HTML file that needs no network, and return its path.

    The same run and baseline give the same bytes.

    Parameters
    ----------
    baseline : folder of the run's baselines; None: where it was when the run was made.

    Raises
    ------
    OutputError
        When the file cannot be written, or a part of the run is damaged.
    """
    if out.is_dir():
        message = f"{out}: is a folder; name the file to write, such as {out / 'report.html'}"
        raise OutputError(message)
    page = render(run, baseline).encode()
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}-")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(out)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        message = (
            f"{out}: the report cannot be written: {error.strerror or error}; name another file"
        )
        raise OutputError(message) from error
    return out
