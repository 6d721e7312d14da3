"""One point: so many clients that publish to a cluster of its own, on empty disks, warmed up for a moment."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator

from bench.cluster import LocalCluster
from bench.http import Connection, request_bytes
from bench.loads import publish
from bench.scale.sweeps import Sample, Setting, Spent, sample
from bench.servers import Usage, machine_busy_s

WARM_S, LIMIT_S = 0.5, 300.0


class Meter:
    """What is spent from `start` on; without what its own reading takes."""

    def __init__(self, cluster: LocalCluster, leader: int) -> None:
        pids = [process.pid for process in cluster.processes if process is not None]
        self._leader, self._followers = Usage([pids.pop(leader)]), Usage(pids)
        self._before = Spent()

    def start(self) -> None:
        """Begin anew."""
        leader_s, followers_s = self._leader.cpu_s(), self._followers.cpu_s()
        self._before = Spent(time.perf_counter(), leader_s, followers_s, time.process_time(), machine_busy_s())

    def read(self) -> Spent:
        """Since then."""
        wall_s, load_s, all_s = time.perf_counter(), time.process_time(), machine_busy_s()
        return Spent(wall_s, self._leader.cpu_s(), self._followers.cpu_s(), load_s, all_s).since(self._before)


class Sender:
    """A client that sends the next one of `requests`, which others share, and awaits that it has created something."""

    def __init__(self, connection: Connection, requests: Iterator[bytes]) -> None:
        self._connection, self._requests = connection, requests

    async def publish(self, count: int) -> None:
        """The next `count` of them, one after the other."""
        for _ in range(count):
            await self._connection.expect(next(self._requests), 201)


async def measure(cluster: LocalCluster, setting: Setting, seconds: float) -> Sample:
    """Make the topics, publish to them for so long. Each has had a message before: the first one to a topic is
    dearer."""
    leader = cluster.wait_for_leader()
    paths = [f"/v1/topics/t{number}" for number in range(setting.topics)]
    body = json.dumps({"body": "x" * setting.size}).encode()
    made = paths + [f"/v1/topics/idle{number}" for number in range(setting.idle)]
    created = iter([request_bytes("PUT", path, b"{}") for path in made])
    messages = itertools.cycle([request_bytes("POST", f"{path}/messages", body) for path in paths])
    connections = [await Connection.open("127.0.0.1", cluster.ports[leader]) for _ in range(setting.clients)]
    try:
        async with asyncio.timeout(LIMIT_S + seconds):
            await publish([Sender(each, created) for each in connections], 1, LIMIT_S, most=len(made))
            clients = [Sender(each, messages) for each in connections]
            await publish(clients, 1, WARM_S)
            await publish(clients, 1, LIMIT_S, most=len(paths))
            meter = Meter(cluster, leader)
            meter.start()
            taken = (await publish(clients, 1, seconds)).taken()
            return sample(taken, meter.read())
    finally:
        for connection in connections:
            connection.close()
