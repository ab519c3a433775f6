"""Which worker takes in which partition: evenly, and known before the first message comes.

Flink spreads keys over workers by key groups, which never change: with its state, a partition moves
to another worker when there are more of them. A lane is a key whose group is the one wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

GROUPS = 128  #: key groups: the most workers that a job can ever have


def group_of(partition: int) -> int:
    """Return the key group of a partition: its bits turned round, so that any few lie apart."""
    return int(f"{partition % GROUPS:07b}"[::-1], 2)


def partitions_of(worker: int, workers: int, partitions: Iterable[int]) -> list[int]:
    """Return the partitions that a worker takes in."""
    return [p for p in partitions if group_of(p) * workers // GROUPS == worker]


def most_workers(parallelism: int, partitions: Sequence[int]) -> int:
    """Return how many workers, at most, so that none is without a partition."""
    return next(
        workers
        for workers in range(min(parallelism, len(partitions)), 0, -1)
        if all(partitions_of(worker, workers, partitions) for worker in range(workers))
    )


def lanes(partitions: Iterable[int], group: Callable[[int], int]) -> dict[int, int]:
    """Return a lane of each partition; no two have the same.

    Parameters
    ----------
    group : Flink's key group of a number.
    """
    found: dict[int, list[int]] = {wanted: [] for wanted in range(GROUPS)}
    chosen: dict[int, int] = {}
    number = 0
    for partition in sorted(partitions):
        own = found[group_of(partition)]
        while not own:
            found[group(number)].append(number)
            number += 1
        chosen[partition] = own.pop(0)
    return chosen
