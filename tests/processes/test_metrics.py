"""/metrics of real nodes: the leader's look at the others, and the disk."""

from __future__ import annotations

import httpx
import pytest

from bench.cluster import LocalCluster
from tests.processes.test_faults import wait_until
from tests.processes.traffic import create_topic, url

pytestmark = pytest.mark.timeout(120)


def samples(cluster: LocalCluster, node: int) -> dict[str, float]:
    text = httpx.get(url(cluster.ports[node], "/metrics"), timeout=10).text
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")}


def test_who_lags_and_what_is_free() -> None:
    with LocalCluster(3) as cluster:
        create_topic(cluster.ports, "t")
        leader = cluster.wait_for_leader()
        gone, other = (node for node in range(3) if node != leader)

        def look(node: int, name: str, peer: int) -> float | None:
            return samples(cluster, node).get(f'rmq_peer_{name}{{peer="{peer}"}}')

        wait_until(lambda: [look(leader, "lag_entries", peer) for peer in (gone, other)] == [0, 0], "nobody lags")
        assert [look(leader, "reachable", peer) for peer in (gone, other)] == [1, 1]
        assert not any(name.startswith("rmq_peer") for name in samples(cluster, other))
        cluster.kill(gone)
        wait_until(lambda: look(leader, "reachable", gone) == 0, "it does not answer")
        for number in range(5):
            httpx.post(url(cluster.ports[leader], "/v1/topics/t/messages"), json={"body": number}, timeout=20)
        assert (look(leader, "lag_entries", gone) or 0) >= 5
        wait_until(lambda: look(leader, "lag_entries", other) == 0, "the other one has all")
        found = samples(cluster, leader)
        assert found["rmq_disk_free_bytes"] > found["rmq_disk_reserve_bytes"] == 64 << 20
        assert min(found[f"rmq_{what}_size_bytes"] for what in ("log", "state")) > 0
