"""So many pieces of work, shared among clients that each await their answers: how long all of them take.

An answer that was not expected ends the measurement: a rate of refusals would say nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable

from bench.http import Connection, request_bytes

SIZE_BYTES = 1000
FILL_CLIENTS, FILL_BATCH = 4, 500
Work = Callable[[Connection], Awaitable[None]]
_token = re.compile(rb'"token":"([^"]+)"')


async def share(port: int, clients: int, times: int, work: Work, tell: Callable[[int], None] | None = None) -> float:
    """Do the work so many times on `clients` connections. -> seconds, from when all are connected.

    `tell`: called after each piece with the number of those done.
    """
    connections = [await Connection.open("127.0.0.1", port) for _ in range(clients)]
    begun = done = 0

    async def client(connection: Connection) -> None:
        nonlocal begun, done
        while begun < times:
            begun += 1
            await work(connection)
            done += 1
            if tell is not None:
                tell(done)

    start = time.perf_counter()
    await asyncio.gather(*map(client, connections))
    elapsed_s = time.perf_counter() - start
    for connection in connections:
        connection.close()
    return elapsed_s


def publishing(topic: str, batch: int) -> Work:
    """Publish `batch` messages of 1,000 B in one request."""
    message = {"body": "x" * SIZE_BYTES}
    body = json.dumps(message if batch == 1 else {"messages": [message] * batch}).encode()
    request = request_bytes("POST", f"/v1/topics/{topic}/messages", body)

    async def publish(connection: Connection) -> None:
        await connection.expect(request, 201)

    return publish


def receiving(topic: str, batch: int) -> Work:
    """Receive `batch` messages in one request, ack them in a second one. There must be so many."""
    path = f"/v1/topics/{topic}/messages"
    request = request_bytes("POST", f"{path}:receive", json.dumps({"max": batch}).encode())

    async def receive(connection: Connection) -> None:
        tokens = _token.findall(await connection.expect(request, 200))
        ack = b'{"tokens":["%b"]}' % b'","'.join(tokens)
        acked = (await connection.expect(request_bytes("POST", f"{path}:ack", ack), 200)).count(b'"ok":true')
        if acked != batch:
            raise RuntimeError(f"{acked} messages were received and acked, not {batch}")

    return receive


async def fill(port: int, topic: str, messages: int) -> None:
    """Publish so many messages of 1,000 B, and show how far it is."""
    shown = 0

    def tell(done: int) -> None:
        nonlocal shown
        if done * FILL_BATCH >= shown + messages / 20:
            shown = done * FILL_BATCH
            print(f"\r{shown:,} of {messages:,} messages   ", end="", flush=True)

    await share(port, FILL_CLIENTS, -(-messages // FILL_BATCH), publishing(topic, FILL_BATCH), tell)
