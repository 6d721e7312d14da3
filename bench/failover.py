"""From kill -9 of the leader to the next acknowledged publish, as a client on another node sees it."""

from __future__ import annotations

import asyncio
import itertools
import time

from bench.cluster import LocalCluster
from bench.http import Connection, request_bytes

GIVE_UP_S = 10.0


async def kill_leader_once(cluster: LocalCluster, number: int) -> float:
    """Milliseconds without an acknowledgement, for a client that publishes all the time through a follower."""
    leader = cluster.wait_for_leader()
    port = cluster.ports[(leader + 1) % len(cluster.ports)]
    acknowledged = asyncio.Event()
    killed_at = 0.0
    resumed_at = 0.0

    async def client() -> None:
        nonlocal resumed_at
        connection = await Connection.open("127.0.0.1", port)
        for count in itertools.count():
            body = b'{"topic": "failover", "message": "%d"}' % count
            headers = f"idempotency-key: failover-{number}-{count}\r\n"
            sent_at = time.perf_counter()
            status, _ = await connection.request(request_bytes("PUT", "/message", body, headers))
            # Only a publish that was sent after the kill tells that the cluster goes on.
            if status == 200 and killed_at and sent_at > killed_at:
                resumed_at = time.perf_counter()
                acknowledged.set()
                connection.close()
                return

    task = asyncio.get_running_loop().create_task(client())
    await asyncio.sleep(0.3)
    process = cluster.processes[leader]
    killed_at = time.perf_counter()
    process.kill()
    await asyncio.wait_for(acknowledged.wait(), GIVE_UP_S)
    await task
    process.wait()
    cluster.start(leader)
    await asyncio.sleep(1.5)
    return 1000 * (resumed_at - killed_at)
