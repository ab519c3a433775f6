from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipelines.report.page import budget_words
from pipelines.report.words import (
    chance,
    key_label,
    listed,
    number,
    shorten,
    window_label,
)


def utc(*parts: int) -> datetime:
    """Return a time in UTC."""
    year, month, day, hour, minute = (*parts, 0, 0)[:5]
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (utc(2013, 9, 12), utc(2013, 9, 19), "12–19 Sep 2013"),
        (utc(2013, 9, 12), utc(2013, 9, 13), "12 Sep 2013"),
        (utc(2013, 9, 30), utc(2013, 10, 7), "30 Sep – 7 Oct 2013"),
        (utc(2013, 12, 30), utc(2014, 1, 6), "30 Dec 2013 – 6 Jan 2014"),
        (utc(2013, 9, 12, 14), utc(2013, 9, 12, 15), "12 Sep 2013, 14:00–15:00"),
        (utc(2013, 9, 12, 23), utc(2013, 9, 13), "12 Sep 2013, 23:00–24:00"),
        (utc(2013, 9, 12, 22), utc(2013, 9, 13, 4), "12 Sep 2013, 22:00 – 13 Sep 2013, 04:00"),
    ],
)
def test_window_reads_as_a_span(start: datetime, end: datetime, words: str) -> None:
    """A window of event time is named in as few words as are clear."""
    assert window_label(start, end, None).replace("\u00a0", " ") == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (0.0, "0"),
        (168.0, "168"),
        (1234567.8, "1,234,568"),
        (-3.14159, "−3.14"),
        (0.0123456, "0.0123"),
        (-2.5e-7, "−2 × 10⁻⁷"),
    ],
)
def test_number_has_three_digits(value: float | None, words: str) -> None:
    """A number keeps three digits, or all before the point; none is a dash."""
    assert number(value).replace("\u00a0", " ") == words


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.42, "0.42"),
        (0.012, "1 in 83"),
        (2e-7, "1 in 5 million"),
        (2e-42, "1 in 10⁴¹"),
        (0.0, "less than 1 in 10³⁰⁰"),
        (None, "–"),
    ],
)
def test_p_value_reads_as_odds(p: float | None, words: str) -> None:
    """A p-value is told as odds."""
    assert chance(p).replace("\u00a0", " ") == words


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("1 per 30d", "1 false alarm per 30 days"),
        ("2 per 1w", "2 false alarms per week"),
        ("1 per 500 windows", "1 false alarm per 500 windows"),
    ],
)
def test_budget_reads_as_the_user_wrote_it(budget: str, words: str) -> None:
    """The alarm budget keeps the user's numbers."""
    assert budget_words(budget) == words


def test_key_and_lists_read_as_words() -> None:
    """Keys lose their JSON, long lists and names their middle."""
    assert key_label('{"station": "A", "line": "2"}') == "station = A, line = 2"
    assert key_label("{}") == ""
    assert key_label("not JSON") == "not JSON"
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(list("abcdef")) == "a, b, c and 3 more"
    assert shorten("x" * 20 + "y" * 20, 10) == "xxxxxx…yyy"
