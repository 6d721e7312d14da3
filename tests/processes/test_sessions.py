"""Sessions with real processes: the leader is killed, the session's own node is told to stop, or is killed.

What was confirmed is there once and in order; what was handed out and not settled comes back.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import websockets

from bench.cluster import LocalCluster
from tests.api.talking import Talk, talk
from tests.processes.traffic import create_topic, url

pytestmark = [pytest.mark.timeout(120), pytest.mark.anyio]
MESSAGES = 3000
AT_ONCE = 200


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as three:
        three.wait_for_leader()
        create_topic(three.ports, "t")
        yield three


def address(cluster: LocalCluster, node: int) -> str:
    return url(cluster.ports[node], "")


async def publish_all(session: Talk, progress: list[int], a_third: asyncio.Event) -> None:
    """`MESSAGES` messages, up to `AT_ONCE` of them unconfirmed; each confirmed in its turn."""
    sent = 0
    while len(progress) < MESSAGES:
        while sent < MESSAGES and sent - len(progress) < AT_ONCE:
            await session.say("publish", sent, topic="t", body=sent, dedup_id=str(sent))
            sent += 1
        frame = await session.hear(20)
        assert (frame["op"], frame["id"]) == ("published", len(progress)), frame
        progress.append(frame["messages"][0]["sequence"])
        if len(progress) == MESSAGES // 3:
            a_third.set()


async def work_all(session: Talk) -> list[Any]:
    """Every message is acked; the bodies whose ack succeeded."""
    await session.consume("t", 300, lease_s=2)
    asked: dict[int, list[Any]] = {}
    done: list[Any] = []
    while len(done) < MESSAGES:
        frame = await session.hear(20)
        if frame["op"] == "deliver":
            id = len(asked)
            asked[id] = [message["body"] for message in frame["messages"]]
            await session.say("ack", id, topic="t", tokens=[message["token"] for message in frame["messages"]])
        elif frame["op"] == "settled":
            done += [body for body, result in zip(asked[frame["id"]], frame["results"], strict=True) if result["ok"]]
        else:
            assert frame["op"] == "error" and frame["retryable"], frame
    return done


async def test_the_leader_is_killed_and_the_session_goes_on(cluster: LocalCluster) -> None:
    leader = cluster.wait_for_leader()
    one, other = (node for node in range(3) if node != leader)
    progress: list[int] = []
    a_third = asyncio.Event()
    async with talk(address(cluster, one)) as publisher, talk(address(cluster, other)) as worker:
        publishing = asyncio.ensure_future(publish_all(publisher, progress, a_third))
        working = asyncio.ensure_future(work_all(worker))
        await a_third.wait()
        cluster.kill(leader)
        await publishing
        done = await working
    assert progress == sorted(progress) and len(set(progress)) == MESSAGES
    assert sorted(done) == list(range(MESSAGES)), "each acked once, none lost"


async def test_a_node_that_is_told_to_stop_gives_back_what_its_sessions_had(cluster: LocalCluster) -> None:
    leader = cluster.wait_for_leader()
    node, other = (leader + 1) % 3, (leader + 2) % 3
    async with talk(address(cluster, node)) as session:
        await session.publish("t", *range(10))
        await session.consume("t", 10)
        await session.delivered(10)
        begun = time.monotonic()
        process = cluster.processes[node]
        process.send_signal(signal.SIGTERM)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await session.hear(15)
        assert closed.value.rcvd is not None and closed.value.rcvd.code in (1001, 1012)
        code = await asyncio.get_running_loop().run_in_executor(None, process.wait, 30)
        assert (code, time.monotonic() - begun < 5) == (0, True)
    async with httpx.AsyncClient(base_url=address(cluster, other)) as client:
        asked = {"max": 10, "wait_s": 10}
        received = (await client.post("/v1/topics/t/messages:receive", json=asked, timeout=30)).json()
    assert [(each["body"], each["deliveries"]) for each in received["messages"]] == [(n, 2) for n in range(10)]


async def test_a_node_that_is_killed_gives_back_when_the_leases_end(cluster: LocalCluster) -> None:
    leader = cluster.wait_for_leader()
    node, other = (leader + 1) % 3, (leader + 2) % 3
    async with talk(address(cluster, node)) as session, talk(address(cluster, other)) as heir:
        await session.publish("t", *range(10))
        await session.consume("t", 10, lease_s=10)
        await session.delivered(10)
        cluster.kill(node)
        await heir.consume("t", 20)
        assert await heir.is_quiet(0.3)
        messages: list[Any] = []
        while len(messages) < 10:
            messages += (await heir.hear(60))["messages"]
        assert [(each["body"], each["deliveries"]) for each in messages] == [(n, 2) for n in range(10)]
