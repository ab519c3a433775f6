from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.flink import stop, submit
from schemas.errors import OutputError, StreamFileError
from schemas.stream_file import load_stream
from tests.servers import free_port
from tests.small_streams import stream_file

TOPIC = {"servers": "127.0.0.1:9", "topic": "rows", "format": "json"}
SINK = {"kafka": {"servers": "127.0.0.1:9", "findings": "findings"}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sinks": SINK}, "source: the Flink job reads a topic"),
        ({"source": TOPIC}, "sinks: the Flink job writes to topics"),
        (
            {
                "source": TOPIC,
                "sinks": SINK,
                "alarms": {"control": "fdr", "false": "5 % of alarms"},
            },
            "control: fdr goes from window to window",
        ),
    ],
)
def test_what_flink_cannot_do_is_said(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    """A stream that the job cannot run is refused in a sentence, before any server is asked."""
    stream = load_stream(stream_file(tmp_path, **changes))
    with pytest.raises(StreamFileError, match=says):
        submit.check(stream)


def test_silent_job_manager_is_named() -> None:
    """A job manager that is not there gives its address and what to check."""
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(OutputError, match=f"{address}: no job manager answers"):
        stop.stop("0" * 32, address)


def test_reason_is_the_innermost_that_was_said() -> None:
    """Of what the `flink` command prints, the Python error says most, else Java's last cause."""
    java = "at org.x\nCaused by: java.net.ConnectException: refused\n\tat y\n"
    python = 'Traceback\n  File "x.py"\nValueError: no such thing\n'
    assert submit._reason(java) == "Caused by: java.net.ConnectException: refused"
    assert submit._reason(python + java) == "ValueError: no such thing"
    assert submit._reason("") == "it says nothing"
