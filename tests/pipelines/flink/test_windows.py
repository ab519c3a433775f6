from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from monitors.profiling import RowProfiler
from monitors.window_codec import encode_part
from pipelines.flink.all_keys import decode_roll_up, encode_roll_up
from pipelines.flink.windows import Kept, Told, Windows
from schemas.records import Batch
from schemas.stream import Stream
from schemas.stream_file import load_stream
from tests.small_streams import HOURS, Outcome, Watched, stream_file
from transforms.rejects import ROW

WEEK = 7 * 86_400_000_000
Part = tuple[int, str, bytes]


def watched(fitted: tuple[Watched, Outcome], tmp_path: Path, **changes: Any) -> Stream:
    """Return the small stream, but for some changes."""
    (tmp_path / "s").mkdir(exist_ok=True)
    forecasts = load_stream(fitted[0].file).model_dump(mode="json")["forecasts"]
    return load_stream(stream_file(tmp_path / "s", forecasts=forecasts, **changes))


def parts_of(stream: Stream, folder: Watched, *, rows: slice) -> list[Part]:
    """Return the parts of some of the rows to watch: span, baseline, bytes."""
    table = pl.read_parquet(folder.current)[rows].with_row_index(ROW)
    batch = Batch(table.with_columns(pl.col(ROW).cast(pl.Int64)).to_arrow(), "t/0", 0)
    found = RowProfiler(stream, folder.baseline, {}).profile(batch)
    return [(span, identity, encode_part(part)) for (_, span, identity), (_, part) in found.parts]


def statistics(told: Told | None) -> dict[str, float | None]:
    """Return what was found, by subject."""
    assert told is not None
    return {f.subject: f.statistic for f in told.judged.findings}


@pytest.fixture
def stream(fitted: tuple[Watched, Outcome], tmp_path: Path) -> Stream:
    """Return a stream of weekly windows."""
    return watched(fitted, tmp_path)


def keep() -> Kept:
    """Return what is kept of a key at first."""
    return Kept({}, {}, {})


def test_parts_of_a_window_are_judged_together(
    fitted: tuple[Watched, Outcome], stream: Stream
) -> None:
    """Two halves of a window give what the whole gives, when the watermark passes its end."""
    folder = fitted[0]
    windows = Windows(stream, folder.baseline)
    whole, halves = keep(), keep()
    for part in parts_of(stream, folder, rows=slice(0, HOURS)):
        windows.add(whole, *part, watermark=0)
    for rows in (slice(0, 50), slice(50, HOURS)):
        for part in parts_of(stream, folder, rows=rows):
            wake = windows.add(halves, *part, watermark=0)
            assert wake is not None
            assert not wake.soon
    end = (next(iter(whole.parts)) + 1) * WEEK
    one = statistics(windows.reach("{}", whole, end))
    assert statistics(windows.reach("{}", halves, end)) == pytest.approx(one, rel=1e-9)


def test_late_part_revises(fitted: tuple[Watched, Outcome], stream: Stream) -> None:
    """A part that comes after the window was judged has it judged again, with all its rows."""
    folder, kept = fitted[0], keep()
    windows = Windows(stream, folder.baseline)
    (first,) = parts_of(stream, folder, rows=slice(0, 100))
    (rest,) = parts_of(stream, folder, rows=slice(100, HOURS))
    end = (first[0] + 1) * WEEK
    windows.add(kept, *first, watermark=0)
    told = windows.reach("{}", kept, end)
    assert told is not None
    assert {f.revision for f in told.judged.findings} == {0}
    wake = windows.add(kept, *rest, watermark=end)
    assert wake is not None
    assert wake.soon
    (again,) = windows.revise("{}", kept)
    assert {f.revision for f in again.judged.findings} == {1}
    assert {f.rows for f in again.judged.findings} == {HOURS}
    assert list(windows.revise("{}", kept)) == []


def test_final_window_is_forgotten(fitted: tuple[Watched, Outcome], stream: Stream) -> None:
    """After the allowed lateness nothing is kept, and a part that comes still is refused."""
    folder, kept = fitted[0], keep()
    windows = Windows(stream, folder.baseline)
    (part,) = parts_of(stream, folder, rows=slice(0, HOURS))
    wake = windows.add(kept, *part, watermark=0)
    assert wake is not None
    for at in sorted(wake.at):
        windows.reach("{}", kept, at)
    assert (kept.parts, kept.revisions, kept.late) == ({}, {}, {})
    assert windows.add(kept, *part, watermark=max(wake.at)) is None
    (reject,) = windows.refuse("{}", part[0], part[2]).to_pylist()
    assert (reject["reason"], reject["row"]) == ("late", None)
    assert reject["detail"].startswith(f"{HOURS} rows")


def test_sliding_windows_share_what_is_kept(
    fitted: tuple[Watched, Outcome], tmp_path: Path
) -> None:
    """A stretch of time is kept once, and is in each window that slides over it."""
    folder, kept = fitted[0], keep()
    stream = watched(fitted, tmp_path, window={"length": "7d", "every": "1d"})
    windows = Windows(stream, folder.baseline)
    wakes = set()
    for part in parts_of(stream, folder, rows=slice(0, 2 * HOURS)):
        wake = windows.add(kept, *part, watermark=0)
        assert wake is not None
        wakes |= set(wake.at)
    assert len(kept.parts) == 14
    told = [windows.reach("{}", kept, at) for at in sorted(wakes)]
    rows = [{f.rows for f in one.judged.findings if f.rows} for one in told if one is not None]
    assert rows == [{24 * min(n, 7, 21 - n)} for n in range(1, 21)]
    assert kept.parts == {}


def test_roll_up_survives_its_bytes(fitted: tuple[Watched, Outcome], stream: Stream) -> None:
    """What a window adds to all keys is the same after it was kept."""
    import numpy as np

    from monitors.rollup import RollUp
    from monitors.window_codec import decode_part

    (part,) = parts_of(stream, fitted[0], rows=slice(0, 60))
    rolled = RollUp(decode_part(part[2]).profile, 3, np.array([0, 2, 1]), fresh=True)
    again = decode_roll_up(encode_roll_up(rolled))
    assert (again.keys, again.alarms.tolist(), again.profile.rows) == (3, [0, 2, 1], 60)
    np.testing.assert_array_equal(again.profile.gram, rolled.profile.gram)
