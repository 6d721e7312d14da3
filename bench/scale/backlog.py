"""The backlog: one topic that is filled from level to level, and at each of them measured so many times.

Theory: to fill it anew for each run would take an hour, so the runs of a level follow one another. A turn publishes a
few messages and takes as many of the oldest, so that a level stays what it is: up to `TURN` messages above it, or a
few hundred below. Each way is charged with its own time alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from bench.cluster import LocalCluster
from bench.http import Connection
from bench.loads import Client, How, Tally, consume, fill, publish
from bench.peers.rmq import HttpClient
from bench.scale.points import LIMIT_S, Meter
from bench.scale.sweeps import BACKLOG, PUBLISH, TAKE, Place, Sample, Samples, Spent, sample

TOPIC, SIZE_BYTES = "backlog", 100
CLIENTS, BATCH, TURN = 4, 100, 2000
FILL_STEP = 100_000
Tell = Callable[[str], None]


async def levels(
    cluster: LocalCluster, values: Sequence[int], runs: int, seconds: float, samples: Samples, step: Tell, note: Tell
) -> None:  # fmt: skip
    """Measure each level. `step` is told of each run, `note` how far a filling is."""
    leader = cluster.wait_for_leader()
    cluster.create_topic(TOPIC)

    async def connect(how: How) -> Client:
        return HttpClient(await Connection.open("127.0.0.1", cluster.ports[leader]), TOPIC, SIZE_BYTES)

    clients = [await connect("asked") for _ in range(CLIENTS)]
    meter, waiting = Meter(cluster, leader), 0
    for level in values:
        while waiting < level:
            note(f"{BACKLOG.title}: {waiting:,} of {level:,} messages")
            more = min(level - waiting, FILL_STEP)
            async with asyncio.timeout(LIMIT_S):
                await fill(connect, more)
            waiting += more
        for run in range(runs):
            step(f"{BACKLOG.title}: {level:,}, run {run + 1}")
            async with asyncio.timeout(LIMIT_S + 2 * seconds):
                found, waiting = await turns(clients, level, waiting, seconds, meter)
            for line, each in found.items():
                samples.setdefault(Place(BACKLOG.key, line, level), []).append(each)
    for client in clients:
        client.close()


async def turns(
    clients: Sequence[Client], level: int, waiting: int, seconds: float, meter: Meter
) -> tuple[dict[str, Sample], int]:  # fmt: skip
    """Turns for twice so long: one time for each way. -> what they found, and how many messages wait now."""
    tallies: dict[str, list[Tally]] = {PUBLISH: [], TAKE: []}
    spent = dict.fromkeys(tallies, Spent())
    end = time.perf_counter() + 2 * seconds
    while not tallies[TAKE] or time.perf_counter() < end:
        for line in tallies:
            meter.start()
            if line == PUBLISH:
                tally = await publish(clients, BATCH, LIMIT_S, most=level + TURN - waiting)
                waiting += tally.messages
            else:
                tally = await consume(clients, BATCH, LIMIT_S, TURN)
                waiting -= tally.messages
            spent[line] = spent[line].and_(meter.read())
            tallies[line].append(tally)
    return {line: sample(Tally.together(found).taken(), spent[line]) for line, found in tallies.items()}, waiting
