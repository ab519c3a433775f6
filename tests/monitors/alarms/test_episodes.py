"""One shift is one episode, whatever the windows between do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.alarms.episodes import LONGEST_GAP, QUIET, Episode, episodes, trace
from schemas.records import EPISODE
from tests.monitors.alarms.findings import DAY, T0, finding, frame, untested

ALARM, WEAK, QUIET_P = 1e-9, 0.01, 0.5
KINDS = {"a": ALARM, "w": WEAK, "q": QUIET_P}


def days(pattern: str, first: int = 0) -> list[dict[str, Any]]:
    """Return a finding per day: a(larm), w(eak), q(uiet), n(ot tested), or none (a blank)."""
    return [
        untested(day) if kind == "n" else finding(day, KINDS[kind])
        for day, kind in enumerate(pattern, start=first)
        if kind != " "
    ]


def spans(pattern: str) -> list[tuple[int, int, bool]]:
    """Return first and last day of each episode, and whether it is open."""
    return [
        ((e.start - T0).days, (e.end - T0).days - 1, e.open)
        for e in trace(days(pattern))
        if e.start and e.end
    ]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("qqqq", []),
        ("qwwq", []),  # what does not alarm opens nothing
        ("qaqq", [(1, 1, False)]),
        ("aaaa", [(0, 3, True)]),
        ("qaawwaqq", [(1, 5, False)]),  # weak windows hold it open
        ("qaqaqwqq", [(1, 5, False)]),  # one quiet window does not end it
        ("qaqqaqq", [(1, 1, False), (4, 4, False)]),
        ("qaq", [(1, 1, True)]),
        ("qannnnaqq", [(1, 6, False)]),  # untested windows say nothing
        ("qanqnq", [(1, 1, False)]),  # nor do they keep quiet ones apart
        ("qa    aq", [(1, 6, True)]),
        ("qa" + " " * (LONGEST_GAP + 1) + "aq", [(1, 1, False), (LONGEST_GAP + 3, 11, True)]),
        ("qa" + "n" * (LONGEST_GAP + 1) + "qq", [(1, 1, False)]),
    ],
)
def test_episodes_open_hold_and_close(pattern: str, found: list[tuple[int, int, bool]]) -> None:
    """Opened by an alarm, held by windows above the release level, closed by two quiet ones."""
    assert spans(pattern) == found


def test_much_smaller_effect_does_not_hold_it() -> None:
    """Evidence of another, smaller change than the one that opened the episode."""
    rows = [*days("a"), finding(1, WEAK, effect=0.4), finding(2, WEAK, effect=0.4)]
    assert [e.open for e in trace(rows)] == [False]
    rows = [*days("a"), finding(1, WEAK, effect=0.6), finding(2, WEAK, effect=0.6)]
    assert [e.windows for e in trace(rows)] == [3]


def test_estimate_runs() -> None:
    """The mean effect is weighted by evidence; the peak and the latest are told."""
    rows = [
        finding(0, 1e-4, effect=1.0),
        finding(1, 1e-12, effect=2.0),
        finding(2, 1e-8, effect=1.5),
    ]
    (episode,) = trace(rows)
    assert episode.effect == pytest.approx((4 * 1.0 + 12 * 2.0 + 8 * 1.5) / 24)
    assert episode.latest_effect == 1.5
    assert episode.peak == pytest.approx(12)
    assert (episode.explanation, episode.finding_id) == ("day 1", rows[1]["id"])
    assert (episode.windows, episode.alarms) == (3, 3)


def test_an_episode_has_the_kind_and_the_beginning_of_its_first_alarm() -> None:
    """Later windows hold nothing but the change: they cannot tell when it began."""
    rows = [
        finding(0, ALARM, kind="drift", since=T0),
        finding(1, ALARM / 10, kind="offset", since=T0 + DAY),
    ]
    (episode,) = trace(rows)
    assert (episode.kind, episode.since) == ("drift", T0)


#: What may stand between two alarms of one shift: no two quiet windows without another between.
BETWEEN = st.lists(st.sampled_from(["a", "w", "n", "qa", "nqw", "qna"]), max_size=8).map("".join)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 5), BETWEEN, st.integers(QUIET, 6))
def test_one_step_is_one_episode(before: int, between: str, after: int) -> None:
    """A shift whose windows alarm, but for a few here and there, is one alarm."""
    (episode,) = trace(days("q" * before + "a" + between + "a" + "q" * after))
    assert not episode.open
    assert episode.start == T0 + before * DAY
    assert episode.end == T0 + (before + len(between) + 2) * DAY
    assert episode.windows == 2 + between.count("a") + between.count("w")


@settings(deadline=None, max_examples=40)
@given(st.text("aaqqwn ", max_size=25), st.randoms())
def test_episodes_do_not_depend_on_the_order_of_the_rows(pattern: str, random: Any) -> None:
    """Nor on other subjects; they do not overlap, and every alarm lies in one of them."""
    rows = days(pattern)
    others = [row | {"subject": "y", "id": row["id"] + "y"} for row in days("aqqaqq")]
    shuffled = [*rows, *others]
    random.shuffle(shuffled)
    if not shuffled:
        return
    found = episodes(frame(shuffled).lazy()).filter(subject="x")
    assert found.rows() == [tuple(e.as_row().values()) for e in trace(rows)]
    ends = [moment for row in found.iter_rows(named=True) for moment in (row["start"], row["end"])]
    assert ends == sorted(ends)
    alarmed = [row for row in rows if row["alarm"]]
    assert found["alarms"].sum() == len(alarmed)


def test_windows_counted_in_rows_are_followed_by_their_number() -> None:
    """They have no time: start and end are ordinals."""
    no_time = {"window_start": None, "window_end": None}
    rows = [
        finding(i, p, **no_time, window_index=i)
        for i, p in ((3, ALARM), (4, QUIET_P), (5, ALARM), (20, ALARM))
    ]
    found = episodes(frame(rows).lazy())
    assert found.select("start_index", "end_index", "open").rows() == [
        (3, 5, False),
        (20, 20, True),
    ]


def test_no_alarm_is_an_empty_table_with_the_columns() -> None:
    """A quiet run has no episode."""
    found = episodes(frame(days("qqq")).lazy())
    assert found.is_empty()
    assert found.columns == EPISODE.names


def test_last_revision_counts() -> None:
    """A finding that was revised to quiet opens nothing."""
    revised = finding(0, QUIET_P, revision=1)
    assert episodes(frame([finding(0, ALARM), revised]).lazy()).is_empty()


def test_episode_fits_its_schema_and_keeps_its_id() -> None:
    """The id is that of the shift: more windows do not change it, another start does."""
    (short,), (long,) = trace(days("qa")), trace(days("qaaa"))
    assert short.id == long.id
    (other,) = trace(days("qqa"))
    assert other.id != short.id
    assert list(short.as_row()) == EPISODE.names
    assert pa.Table.from_pylist([short.as_row()], EPISODE).to_pylist() == [short.as_row()]
    assert isinstance(short, Episode)


def test_sliding_windows_overlap_without_a_gap() -> None:
    """Windows of a week, a day apart: the gap between them is negative."""
    week = timedelta(days=7)
    rows = [finding(i, ALARM, window_end=T0 + i * DAY + week) for i in range(4)]
    (episode,) = trace(rows)
    assert episode.windows == 4
    assert episode.end == T0 + 3 * DAY + week


def test_episodes_are_in_order_of_their_start() -> None:
    """Whatever the subject."""
    rows = [*days("qqa"), *(row | {"subject": "y", "id": row["id"] + "y"} for row in days("a"))]
    assert episodes(frame(rows).lazy())["subject"].to_list() == ["y", "x"]
    assert isinstance(episodes(frame(rows).lazy()), pl.DataFrame)
