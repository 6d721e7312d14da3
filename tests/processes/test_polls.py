"""Long polls in a real cluster: who waits is woken, wherever he waits, and a thousand of them cost little memory."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from bench.cluster import LocalCluster
from bench.http import Connection, request_bytes
from tests.processes.traffic import create_topic, url

pytestmark = pytest.mark.timeout(120)
POLLS, MIB = 1000, 50


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as three:
        three.wait_for_leader()
        create_topic(three.ports, "t")
        yield three


def test_who_waits_at_any_node_is_woken_by_a_publish_at_any_other(cluster: LocalCluster) -> None:
    for waiting, publishing in itertools.product(range(3), repeat=2):
        answers: list[httpx.Response] = []

        def wait(port: int = cluster.ports[waiting], answers: list[httpx.Response] = answers) -> None:
            asked = {"wait_s": 20, "auto_ack": True}
            answers.append(httpx.post(url(port, "/v1/topics/t/messages:receive"), json=asked, timeout=30))

        poll = threading.Thread(target=wait)
        poll.start()
        time.sleep(0.3)
        body = f"from {publishing} for {waiting}"
        messages = url(cluster.ports[publishing], "/v1/topics/t/messages")
        httpx.post(messages, json={"body": body}, timeout=20).raise_for_status()
        poll.join(25)
        assert not poll.is_alive(), f"node {waiting} did not wake"
        assert [message["body"] for message in answers[0].json()["messages"]] == [body]


def test_a_thousand_that_wait_cost_a_node_little_memory(cluster: LocalCluster) -> None:
    leader = cluster.wait_for_leader()
    request = request_bytes("POST", "/v1/topics/t/messages:receive", b'{"wait_s": 20}')

    async def main() -> float:
        before = resident_mib(cluster, leader)
        connections = [await Connection.open("127.0.0.1", cluster.ports[leader]) for _ in range(POLLS)]
        polls = [asyncio.create_task(connection.request(request)) for connection in connections]
        async with asyncio.timeout(15), httpx.AsyncClient(timeout=15) as client:
            metrics = url(cluster.ports[leader], "/metrics")
            while f"rmq_long_polls {POLLS:.1f}" not in (await client.get(metrics)).text.splitlines():  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        more = resident_mib(cluster, leader) - before
        for connection in connections:
            connection.close()
        await asyncio.gather(*polls, return_exceptions=True)
        return more

    assert asyncio.run(main()) < MIB


def resident_mib(cluster: LocalCluster, node: int) -> float:
    process = cluster.processes[node]
    assert process is not None
    with open(f"/proc/{process.pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
