"""The load of `rmq bench`, in its three modes; what comes out is how long each operation took.

    await      each client publishes one message and waits; later it receives one, acks it, and waits for both
    batch      the same with many messages in one request
    session    each client publishes through a session without waiting: a message takes from `publish` to its
               confirmation. Later messages come by themselves; those that are there are acked together, and that takes
               from waiting for them to the confirmation of their ack

Rules of this file: an operation counts when it was answered. What goes wrong is raised, and there is no result then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from rmq import errors
from rmq.aio import AsyncClient
from rmq.messages import Message

STALL_S = 45.0
"""Longer than the lease of a message whose client was never told of it."""
LOOK_S = 0.2
"""A client that finds nothing looks this often whether all is done."""


class Load(NamedTuple):
    """So many `messages` of `size` bytes in all, by so many `clients` at once; `batch`: up to so many in one operation.
    `tick` is told how many more are done."""

    client: AsyncClient
    topic: str
    messages: int
    size: int
    clients: int
    batch: int
    by_session: bool
    tick: Callable[[int], None]


class Taken(NamedTuple):
    """How long each operation took, and all of them together."""

    each_s: list[float]
    all_s: float


async def publish(load: Load) -> Taken:
    """Publish all. Raises Error."""
    body, each_s = "x" * load.size, list[float]()
    starts = iter(range(0, load.messages, 1 if load.by_session else load.batch))

    def done(began: float, count: int) -> None:
        each_s.append(time.perf_counter() - began)
        load.tick(count)

    async def requests() -> None:
        for start in starts:
            began, count = time.perf_counter(), min(load.batch, load.messages - start)
            if load.batch == 1:
                await load.client.publish(load.topic, body)
            else:
                await load.client.publish_many(load.topic, [body] * count)
            done(began, count)

    async def session() -> None:
        async with load.client.session() as session:
            for _ in starts:
                began = time.perf_counter()
                future = await session.publish(load.topic, body)
                future.add_done_callback(lambda _, began=began: done(began, 1))  # type: ignore[misc]

    began = time.perf_counter()
    await _together(load.clients, session if load.by_session else requests)
    return Taken(each_s, time.perf_counter() - began)


async def consume(load: Load) -> Taken:
    """Receive and ack all. Raises Error, also when some do not come."""
    each_s, left = list[float](), load.messages
    first = last = time.perf_counter()

    def done(began: float, count: int) -> None:
        nonlocal left, last
        left, last = left - count, time.perf_counter()
        each_s.append(last - began)
        load.tick(count)

    def goes_on() -> bool:
        if left > 0 and time.perf_counter() - last > STALL_S:
            raise errors.Unavailable(f"{left:,} messages did not come within {STALL_S:g} s.", code="missing")
        return left > 0

    async def requests() -> None:
        while goes_on():
            began = time.perf_counter()
            if found := await load.client.receive(load.topic, max=load.batch, wait_s=LOOK_S):
                await load.client.ack(*found)
                done(began, len(found))

    async def session() -> None:
        came: asyncio.Queue[Message] = asyncio.Queue()
        async with load.client.session() as session:

            async def fetch() -> None:
                async for message in session.consume(load.topic, credit=min(1000, 4 * load.batch)):
                    came.put_nowait(message)

            fetching = asyncio.create_task(fetch())
            began = time.perf_counter()
            while goes_on() and not fetching.done():
                found = await _some(came, load.batch)
                if found:
                    await session.ack(*found)
                    await session.flush()
                    done(began, len(found))
                    began = time.perf_counter()
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=left <= 0)

    await _together(load.clients, session if load.by_session else requests)
    return Taken(each_s, last - first)


async def _some(came: asyncio.Queue[Message], most: int) -> list[Message]:
    """What is there, after a moment at most."""
    try:
        async with asyncio.timeout(LOOK_S):
            found = [await came.get()]
    except TimeoutError:
        return []
    while len(found) < most and not came.empty():
        found.append(came.get_nowait())
    return found


async def _together(count: int, one: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it so often at once. Raises what the first one raises, when all have ended."""
    tasks = [asyncio.create_task(one()) for _ in range(count)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
