"""The client and nodes that hang: they take connections and never answer. Short of time, it asks the others."""

from __future__ import annotations

import signal
import time

import pytest

import rmq
from bench.cluster import LocalCluster
from tests.processes.traffic import url
from tests.sdk.faces import FACES, Face

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("face", FACES, ids=["sync", "async"])
def test_a_node_that_hangs_costs_a_share_of_the_time(face: type[Face]) -> None:
    with LocalCluster(3) as cluster:
        leader = cluster.wait_for_leader()
        urls = [url(port, "") for port in cluster.ports]
        follower = (leader + 1) % 3
        for stopped in (follower, leader):
            cluster.wait_for_leader()
            queue = face(urls[stopped:] + urls[:stopped], retry=rmq.Retry(total_s=4))
            queue("create_topic", "t")
            process = cluster.processes[stopped]
            assert process is not None
            process.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            try:
                queue("publish", "t", stopped)
            finally:
                process.send_signal(signal.SIGCONT)
            took_s = time.monotonic() - begun
            assert 1 < took_s < 5
            queue.close()
