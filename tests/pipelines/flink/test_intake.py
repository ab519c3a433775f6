from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from monitors.window_codec import decode_part
from pipelines.flink.intake import Intake, Progress
from schemas.stream_file import load_stream
from tests.small_streams import HOURS, Outcome, Watched, current_rows, stream_file
from transforms.messages import Message


@pytest.fixture
def intake(fitted: tuple[Watched, Outcome], tmp_path: Path) -> Intake:
    """Return the intake of the small stream as a topic of JSON messages."""
    source = {"servers": "k", "topic": "rows", "format": "json"}
    forecasts = load_stream(fitted[0].file).model_dump(mode="json")["forecasts"]
    stream = load_stream(stream_file(tmp_path, source=source, forecasts=forecasts))
    return Intake(stream, fitted[0].baseline, ["forecasts", "rejects"])


def messages(first: int, last: int) -> list[Message]:
    """Return some of the rows to watch, a message each."""
    lines = current_rows()[first:last].write_ndjson().splitlines()
    return [Message(0, first + at, None, None, line.encode()) for at, line in enumerate(lines)]


def test_every_row_is_accounted_for(intake: Intake) -> None:
    """Rows in = used + rejected + late, and each kind is told."""
    poison = Message(0, 10_000, None, None, b"{")
    taken = intake.take([*messages(4 * HOURS, 4 * HOURS + 5), poison], Progress(), None)
    assert taken.progress.rows == 6
    assert (taken.progress.used, taken.progress.rejected, taken.progress.late) == (5, 1, 0)
    taken = intake.take(
        [*messages(0, 3), *messages(4 * HOURS + 5, 4 * HOURS + 7)], taken.progress, None
    )
    assert (taken.progress.rows, taken.progress.used, taken.progress.late) == (11, 7, 3)
    rejects = [record for name, own in taken.records if name == "rejects" for record in own]
    assert [key for key, _ in rejects] == [f"sensors|rows/0|{row}".encode() for row in range(3)]
    assert Progress.from_json(taken.progress.to_json()) == taken.progress


def test_how_messages_are_batched_changes_nothing(intake: Intake) -> None:
    """One batch or many: the same rows are late, and the parts add up to as many rows."""
    rows_in = [*messages(0, 50), *messages(3 * HOURS, 3 * HOURS + 20), *messages(50, 80)]
    mixed = [replace(message, offset=at) for at, message in enumerate(rows_in)]
    whole = intake.take(mixed, Progress(), None)
    progress, rows = Progress(), 0
    for at in range(0, len(mixed), 7):
        taken = intake.take(mixed[at : at + 7], progress, None)
        progress = taken.progress
        rows += sum(decode_part(part).profile.rows for _, part in taken.parts)
    assert progress == whole.progress
    assert progress.late == 30
    assert rows == sum(decode_part(part).profile.rows for _, part in whole.parts) == 70


def test_watermark_of_the_others_makes_rows_late(intake: Intake) -> None:
    """A partition that was idle and comes back finds its windows final."""
    after = round((current_rows()["time"][0].timestamp() + 3 * 7 * 86_400) * 1e6)
    taken = intake.take(messages(0, 5), Progress(), after)
    assert (taken.progress.late, taken.parts) == (5, [])
