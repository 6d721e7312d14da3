"""How many publishes a second are acknowledged, and how long each takes."""

from __future__ import annotations

import asyncio
import json
import time
from typing import NamedTuple

from bench.http import Connection, request_bytes
from bench.loads import share_of


class Load(NamedTuple):
    """What `clients` connections publish for `seconds`: messages of `size_bytes`, `batch` in one request."""

    clients: int
    batch: int
    size_bytes: int
    seconds: float


class Result(NamedTuple):
    """`rate`: acknowledged messages a second. Latencies are of one request, in milliseconds."""

    load: Load
    rate: float
    p50_ms: float
    p99_ms: float
    failed: int


async def publish(port: int, topic: str, load: Load) -> Result:
    """Publish through the node on `port`; every client waits for each answer."""
    body = "x" * load.size_bytes
    if load.batch == 1:
        request = request_bytes("PUT", "/message", json.dumps({"topic": topic, "message": body}).encode())
    else:
        messages = {"messages": [{"body": body}] * load.batch}
        request = request_bytes("POST", f"/v1/topics/{topic}/messages", json.dumps(messages).encode())
    latencies: list[float] = []
    failed = 0
    start = time.perf_counter()
    end = start + load.seconds

    async def client() -> None:
        nonlocal failed
        connection = await Connection.open("127.0.0.1", port)
        while (sent := time.perf_counter()) < end:
            status, _ = await connection.request(request)
            if status in (200, 201):
                latencies.append(time.perf_counter() - sent)
            else:
                failed += 1
        connection.close()

    await asyncio.gather(*(client() for _ in range(load.clients)))
    elapsed = time.perf_counter() - start
    latencies.sort()
    p50_ms, p99_ms = (1000 * share_of(latencies, share) for share in (0.5, 0.99))
    return Result(load, len(latencies) * load.batch / elapsed, p50_ms, p99_ms, failed)
