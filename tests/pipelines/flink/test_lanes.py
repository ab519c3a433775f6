from __future__ import annotations

import pytest

from pipelines.flink.lanes import GROUPS, group_of, lanes, most_workers, partitions_of


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8])
def test_every_partition_has_one_worker(workers: int) -> None:
    """The workers share the partitions out among them."""
    own = [partitions_of(worker, workers, range(20)) for worker in range(workers)]
    assert sorted(p for some in own for p in some) == list(range(20))


@pytest.mark.parametrize(("partitions", "workers"), [(2, 2), (4, 2), (8, 4), (16, 8)])
def test_partitions_are_spread_evenly(partitions: int, workers: int) -> None:
    """Each of so many workers has as many partitions as the others."""
    counts = {len(partitions_of(w, workers, range(partitions))) for w in range(workers)}
    assert counts == {partitions // workers}


@pytest.mark.parametrize(("parallelism", "partitions"), [(1, 1), (4, 1), (3, 3), (8, 5), (6, 12)])
def test_no_worker_is_without_a_partition(parallelism: int, partitions: int) -> None:
    """A worker without partitions would hold the watermark until it is idle."""
    workers = most_workers(parallelism, range(partitions))
    assert 1 <= workers <= min(parallelism, partitions)
    assert all(partitions_of(worker, workers, range(partitions)) for worker in range(workers))


def test_lanes_have_the_groups_of_their_partitions() -> None:
    """A lane is a number whose group, by Flink's hash, is that of its partition."""

    def group(number: int) -> int:
        return number * 7919 % GROUPS

    found = lanes(range(200), group)
    assert [group(lane) for lane in found.values()] == [group_of(p) for p in found]
    assert len(set(found.values())) == 200


def test_lanes_stay_when_partitions_are_added() -> None:
    """The state of a partition is kept under its lane, and found again."""

    def group(number: int) -> int:
        return number * 31 % GROUPS

    before, after = lanes(range(3), group), lanes(range(150), group)
    assert {p: after[p] for p in before} == before
