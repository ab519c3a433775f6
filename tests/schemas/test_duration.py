from __future__ import annotations

import pytest

from schemas.duration import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 604_800), ("2w", 1_209_600), ("1.5h", 5400)],
)
def test_a_number_and_a_unit_are_seconds(text: str, seconds: float) -> None:
    """Each unit has its length, and fractions count."""
    assert parse_duration(text) == seconds


def test_blanks_around_and_before_the_unit_do_not_matter() -> None:
    """People write `7 d`."""
    assert parse_duration(" 7 d ") == 7 * 86_400


@pytest.mark.parametrize(
    "text", ["", "7", "d", "0d", "0.0s", "-1h", "7 days", "1h30m", "1e3s", "∞"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    """The message shows the text and how to write one."""
    with pytest.raises(ValueError, match="such as 30s, 15m, 1h, 7d or 2w") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)
