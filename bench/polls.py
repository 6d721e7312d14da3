"""What a thousand consumers that wait for messages cost the node that they wait at: memory, and time of a publish.

The polls are of one topic, the publishes of another; with and without them in turns, so that both see the same moods of
the machine. A poll that ends, after 20 s, is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator

from bench.cluster import LocalCluster
from bench.http import Connection, request_bytes
from bench.loads import publish
from bench.peers.rmq import HttpClient

POLLS, WAIT_S, SETTLE_S, SIZE_BYTES = 1000, 20, 1.0, 100
_POLL = request_bytes("POST", "/v1/topics/watched/messages:receive", b'{"wait_s": %d}' % WAIT_S)


async def polls(cluster: LocalCluster, pairs: int, seconds: float) -> None:
    """Print the median latency of a publish with and without the polls, and the memory that they take."""
    for topic in ("watched", "bench"):
        cluster.create_topic(topic)
    leader = cluster.wait_for_leader()
    port = cluster.ports[leader]
    await _p50_ms(port, seconds)
    found: dict[bool, list[float]] = {True: [], False: []}
    alone_mib = _resident_mib(cluster, leader)
    with_them_mib = 0.0
    for pair in range(pairs):
        for with_polls in (False, True) if pair % 2 else (True, False):
            print(f"\rpair {pair + 1} of {pairs}".ljust(30), end="", flush=True)
            async with _waiting(port) if with_polls else contextlib.nullcontext():
                found[with_polls].append(await _p50_ms(port, seconds))
                if with_polls:
                    with_them_mib = max(with_them_mib, _resident_mib(cluster, leader))
    with_them, without = statistics.median(found[True]), statistics.median(found[False])
    print(f"\r{POLLS:,} idle long polls on the leader: {with_them_mib - alone_mib:.0f} MiB of memory; ", end="")
    ratio = with_them / without
    print(f"one client's publish p50 {with_them:.3f} ms with them, {without:.3f} ms without ({ratio:.2f})")


async def _p50_ms(port: int, seconds: float) -> float:
    client = HttpClient(await Connection.open("127.0.0.1", port), "bench", SIZE_BYTES)
    try:
        return (await publish([client], 1, seconds)).taken().p50_ms
    finally:
        client.close()


@contextlib.asynccontextmanager
async def _waiting(port: int) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(_poll(port)) for _ in range(POLLS)]
    await asyncio.sleep(SETTLE_S)
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(SETTLE_S)


async def _poll(port: int) -> None:
    connection = await Connection.open("127.0.0.1", port)
    try:
        while True:
            await connection.request(_POLL)
    finally:
        connection.close()


def _resident_mib(cluster: LocalCluster, node: int) -> float:
    process = cluster.processes[node]
    assert process is not None
    with open(f"/proc/{process.pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
