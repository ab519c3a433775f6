"""The pace of a replay, and what cannot be replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines import replay as module
from pipelines.replay import parse_speed, replay
from schemas.errors import SourceError
from schemas.kafka import Brokers
from schemas.stream import Stream


def stream(**source: Any) -> Stream:
    """Return a stream of a topic with keys."""
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "s",
            "source": {"servers": "x:1", "topic": "t", "format": "json", **source},
            "reference": {"path": "x"},
            "time": {"column": "t"},
            "key": ["k"],
            "columns": {"a": {"type": "number"}},
            "window": {"length": "1h"},
        }
    )


class Sent:
    """Keeps what would be sent."""

    messages: list[tuple[bytes, bytes | None, dict[str, Any]]]

    def __init__(self, _: Brokers) -> None:
        Sent.messages = []

    def send(self, _: str, value: bytes, key: bytes | None = None, **more: Any) -> None:
        """Keep a message."""
        Sent.messages.append((value, key, more))

    def flush(self) -> None:
        """Do nothing."""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a table with rows out of order, one of them without a time."""
    monkeypatch.setattr(module, "Publisher", Sent)
    rows = {"t": ["1970-01-01 00:00:02", "1970-01-01 00:00:01", None], "k": ["b", "a", "ä"]}
    pl.DataFrame(rows | {"a": ["2.5", "x", ""]}).write_csv(tmp_path / "t.csv")
    return str(tmp_path / "t.csv")


def test_rows_go_as_they_are_in_order_of_time(table: str) -> None:
    """Values that are wrong are sent as well; rows of one key have one key."""
    assert replay(table, stream(), None) == 3
    assert [(value.decode(), key) for value, key, _ in Sent.messages] == [
        ('{"t":"1970-01-01 00:00:01","k":"a","a":"x"}', b'{"k": "a"}'),
        ('{"t":null,"k":"ä","a":null}', b'{"k": "\\u00e4"}'),
        ('{"t":"1970-01-01 00:00:02","k":"b","a":"2.5"}', b'{"k": "b"}'),
    ]


def test_the_envelope_takes_its_columns(table: str) -> None:
    """What a reader takes from beside the value is sent there, and not within."""
    envelope = {"key": "k", "timestamp": "t", "headers": {"a": "h"}}
    replay(table, stream(envelope=envelope), None)
    assert Sent.messages[0] == (b"{}", b"a", {"headers": {"h": b"x"}, "timestamp": 1000})
    assert Sent.messages[1][2]["headers"] == {}


def test_pieces_are_of_a_moment() -> None:
    """A piece spans a fifth of a second of real time, and is not longer than a message may be."""
    times = np.arange(100) * 1_000_000
    assert list(module._stops(times, 50.0, 1000)) == [11, 22, 33, 44, 55, 66, 77, 88, 99, 100]
    assert list(module._stops(times, None, 40)) == [40, 80, 100]
    assert list(module._stops(times[:0], 1.0, 40)) == []


def test_a_speed_is_a_multiple_or_max() -> None:
    """Anything else is refused with an example."""
    assert (parse_speed("60x"), parse_speed("0.5x"), parse_speed("max")) == (60.0, 0.5, None)
    for text in ("60", "x", "0x", "-1x", ""):
        with pytest.raises(SourceError, match="is not a speed: write 60x"):
            parse_speed(text)


def test_what_cannot_be_replayed_is_told(table: str) -> None:
    """A stream of files has no topic to send to, and Avro is not written."""
    files = stream().model_copy(update={"source": stream().reference})
    with pytest.raises(SourceError, match="its source is no topic"):
        replay(table, files, None)
    with pytest.raises(SourceError, match="Avro is not written"):
        replay(table, stream(format="avro"), None)
