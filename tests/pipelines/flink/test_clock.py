from __future__ import annotations

from pipelines.flink.clock import PartitionClock


def test_slowest_partition_holds_the_watermark() -> None:
    """The watermark is that of the partition that is furthest behind."""
    clock = PartitionClock([0, 1], behind=10, idle_after=60, now=0)
    clock.hear(0, 1000, now=1)
    clock.hear(1, 400, now=1)
    assert clock.advance(now=1) == 390


def test_partition_not_heard_of_yet_holds_the_watermark_until_it_is_idle() -> None:
    """Before its first row a partition may be far behind the others; it is waited for."""
    clock = PartitionClock([0, 1], behind=0, idle_after=60, now=0)
    clock.hear(0, 1000, now=50)
    assert clock.advance(now=50) is None
    assert clock.advance(now=61) == 1000


def test_idle_partition_holds_the_watermark_no_more() -> None:
    """A partition that is silent for longer than `idle_after` does not count."""
    clock = PartitionClock([0, 1], behind=0, idle_after=60, now=0)
    clock.hear(0, 100, now=0)
    clock.hear(1, 500, now=50)
    assert clock.advance(now=60) == 100
    assert clock.advance(now=61) == 500


def test_watermark_never_goes_back() -> None:
    """A partition that comes back behind the others leaves the watermark where it is."""
    clock = PartitionClock([0, 1], behind=0, idle_after=60, now=0)
    clock.hear(1, 500, now=50)
    clock.advance(now=61)
    clock.hear(0, 100, now=70)
    assert clock.advance(now=70) == 500


def test_all_partitions_idle_stop_the_watermark() -> None:
    """Without any row the watermark stays."""
    clock = PartitionClock([0], behind=0, idle_after=60, now=0)
    clock.hear(0, 100, now=0)
    clock.advance(now=0)
    assert clock.advance(now=1000) == 100
