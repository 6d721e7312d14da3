"""What a backlog costs: memory, the time of a restart, the pauses while it is loaded, copied and sent.

A probe asks every live node for /livez all the time; its longest answer bounds how long that node's loop stood still
(and holds the machine's own noise too, so it is an upper bound).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bench.cluster import LocalCluster
from bench.http import Connection, request_bytes
from bench.share import SIZE_BYTES, fill

TOPIC = "backlog"
PROBE_EVERY_S, WAIT_S = 0.005, 300.0


async def backlog(cluster: LocalCluster, messages: int) -> None:
    """Print what `messages` of 1,000 B waiting do to three nodes."""
    leader = cluster.wait_for_leader()
    term = _status(cluster, leader)["term"]
    cluster.create_topic(TOPIC)
    async with _Probe(cluster) as probe:
        start = time.perf_counter()
        await fill(cluster.ports[leader], TOPIC, messages)
        print(f"\rloaded {messages:,} messages of {SIZE_BYTES} B in {time.perf_counter() - start:.0f} s; ", end="")
        print(f"elections meanwhile: {_status(cluster, leader)['term'] - term}; longest pause {probe.take()}")
        print(f"memory: {_memories(cluster)}; on disk: {_disk_mb(cluster, leader)} MB a node")
        follower = (leader + 1) % len(cluster.ports)
        await asyncio.to_thread(cluster.kill, follower)
        print(f"restart after kill -9: ready after {await _start(cluster, follower, probe):.1f} s; ", end="")
        print(f"memory: {_memories(cluster)}")
        await asyncio.to_thread(cluster.kill, follower, signal.SIGTERM)
        await asyncio.to_thread(shutil.rmtree, cluster.storage(follower))
        probe.take()
        print(f"wiped disk: ready by snapshot after {await _start(cluster, follower, probe):.1f} s; ", end="")
        print(f"longest pause {probe.take()}; elections in all: {_status(cluster, leader)['term'] - term}")


async def _start(cluster: LocalCluster, node: int, probe: _Probe) -> float:
    """Seconds until the node answers that it is ready and has all that its peers have."""
    start = time.perf_counter()
    await asyncio.to_thread(cluster.start, node)
    others = [each for each in range(len(cluster.ports)) if each != node]
    await _until(lambda: _is_ready(cluster.ports[node]))
    await _until(lambda: _applied(cluster, node) >= max(_applied(cluster, each) for each in others))
    elapsed = time.perf_counter() - start
    probe.watch(node)
    return elapsed


async def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not await asyncio.to_thread(holds):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {WAIT_S:.0f} s; see the nodes' logs")
        await asyncio.sleep(0.05)


class _Probe:
    """A context that asks each live node for /livez every 5 ms; `take` gives and forgets each one's longest answer."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self._longest_ms: dict[int, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> _Probe:
        for node in range(len(self._cluster.ports)):
            self.watch(node)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def watch(self, node: int) -> None:
        """Ask this node until it goes away."""
        task = asyncio.get_running_loop().create_task(self._ask(node))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, node: int) -> None:
        request = request_bytes("GET", "/livez", b"")
        with contextlib.suppress(OSError):
            connection = await Connection.open("127.0.0.1", self._cluster.ports[node])
            while True:
                start = time.perf_counter()
                await connection.request(request)
                took_ms = 1000 * (time.perf_counter() - start)
                self._longest_ms[node] = max(took_ms, self._longest_ms.get(node, 0.0))
                await asyncio.sleep(PROBE_EVERY_S)

    def take(self) -> str:
        """The longest answer of each node since the last call, in words."""
        longest, self._longest_ms = self._longest_ms, {}
        return ", ".join(f"{longest[node]:.0f}" for node in sorted(longest)) + " ms"


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _status(cluster: LocalCluster, node: int) -> dict[str, int]:
    status = cluster.status(node)
    if status is None:
        raise RuntimeError(f"node {node} does not answer; see its log in {cluster.directory}")
    return status


def _applied(cluster: LocalCluster, node: int) -> int:
    return _status(cluster, node)["applied_index"]


def _memories(cluster: LocalCluster) -> str:
    """Resident memory of each live node, in MB."""
    pages = []
    for process in cluster.processes:
        if process is not None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            pages.append(int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) // 1000)
    return ", ".join(map(str, pages)) + " MB"


def _disk_mb(cluster: LocalCluster, node: int) -> int:
    files = [Path(folder) / name for folder, _, names in os.walk(cluster.storage(node)) for name in names]
    return sum(file.stat().st_blocks * 512 for file in files) // 1_000_000
