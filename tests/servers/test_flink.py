from __future__ import annotations

import pytest

from tests.servers import read, wait_until
from tests.servers.flink import flink_cluster

pytestmark = pytest.mark.integration


def test_cluster_comes_back_from_kills() -> None:
    """After `kill -9` of the task manager, then of the job manager, both slots are there again."""
    with flink_cluster(slots=2) as cluster:
        wait_until(lambda: cluster.get("/overview")["slots-total"] == 2, what="two slots")
        for reporter in cluster.metrics:
            assert "flink_" in read(f"http://{reporter}/metrics")
        for process in (cluster.task_manager, cluster.job_manager):
            process.kill()
            process.start()
        cluster.task_manager.wait()
        wait_until(lambda: cluster.get("/overview")["taskmanagers"] == 1, what="one task manager")
