"""The client for Python, its own figures: what a program gets that uses `rmq.Client` or `rmq.AsyncClient`.

Theory: the other loads come from a generator that costs next to nothing, so that they show the cluster. Here the client
is what one looks at: its processor time for each message stands beside the rate. All goes to one cluster, in runs, each
load to a topic of its own that is gone afterwards.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import rmq
from bench.cluster import LocalCluster
from bench.figures import median
from bench.machine import head, now
from bench.progress import Progress
from bench.report import spread, table, write

BODY = "x" * 100
THREADS, TASKS, MANY, FILL = 16, 64, 100, 500
FILLED_PER_S = {"one": 2_000, "many": 40_000}
"""Messages that are there to be taken, for each second of a load."""


class Measured(NamedTuple):
    """So many messages, in so many seconds, for so much processor time of this process."""

    messages: int
    wall_s: float
    cpu_s: float


Work = Callable[[str, str, float], int]
"""Do it to a topic of the cluster at these URLs, for so many seconds. -> how many messages it was."""


def over(seconds: float) -> Callable[[], bool]:
    """Whether so much time has passed since now."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() >= end


# -- without asyncio ----------------------------------------------------------------------------------------


def publish(urls: str, topic: str, seconds: float, threads: int = 1, batch: int = 1) -> int:
    """Each awaited: single messages, or batches."""
    done = [0] * threads
    with rmq.Client(urls) as client:
        is_over = over(seconds)

        def one(place: int) -> None:
            while not is_over():
                if batch == 1:
                    client.publish(topic, BODY)
                else:
                    client.publish_many(topic, [BODY] * batch)
                done[place] += batch

        running = [threading.Thread(target=one, args=(place,)) for place in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    return sum(done)


def take(urls: str, topic: str, seconds: float, batch: int = 1) -> int:
    """Receive, and ack."""
    done = 0
    with rmq.Client(urls) as client:
        is_over = over(seconds)
        while not is_over() and (found := client.receive(topic, max=batch)):
            client.ack(*found)
            done += len(found)
    return done


def work(urls: str, topic: str, seconds: float) -> int:
    """A worker with four threads, whose function does nothing."""
    done = 0
    with rmq.Client(urls) as client:

        @client.consume(topic, concurrency=4, idle_s=0.2)
        def worker(message: rmq.Message) -> None:
            nonlocal done
            done += 1

        timer = threading.Timer(seconds, worker.stop)
        timer.start()
        worker.run(signals=False)
        timer.cancel()
    return done


def stream_in(urls: str, topic: str, seconds: float) -> int:
    """Publish through a session, which confirms meanwhile."""
    done = 0
    with rmq.Client(urls) as client, client.session() as session:
        is_over = over(seconds)
        while not is_over():
            session.publish(topic, BODY)
            done += 1
    return done


def stream_out(urls: str, topic: str, seconds: float) -> int:
    """Messages that a session brings, each acked."""
    done = 0
    with rmq.Client(urls) as client, client.session() as session:
        is_over = over(seconds)
        for message in session.consume(topic, credit=500):
            session.ack(message)
            done += 1
            if is_over():
                break
    return done


# -- with asyncio -------------------------------------------------------------------------------------------


def asynchronous(main: Callable[[rmq.AsyncClient, str, float], Awaitable[int]]) -> Work:
    """The same for a coroutine, in an event loop of Python's own."""

    def run(urls: str, topic: str, seconds: float) -> int:
        async def whole() -> int:
            async with rmq.AsyncClient(urls) as client:
                return await main(client, topic, seconds)

        return asyncio.run(whole())

    return run


async def publish_tasks(client: rmq.AsyncClient, topic: str, seconds: float, tasks: int = TASKS) -> int:
    """Each task awaits its own."""
    done, is_over = 0, over(seconds)

    async def one() -> None:
        nonlocal done
        while not is_over():
            await client.publish(topic, BODY)
            done += 1

    await asyncio.gather(*(one() for _ in range(tasks)))
    return done


async def take_tasks(client: rmq.AsyncClient, topic: str, seconds: float) -> int:
    """16 tasks that receive up to 10 messages each, and ack them."""
    done, is_over = 0, over(seconds)

    async def one() -> None:
        nonlocal done
        while not is_over() and (found := await client.receive(topic, max=10)):
            await client.ack(*found)
            done += len(found)

    await asyncio.gather(*(one() for _ in range(16)))
    return done


async def stream_in_tasks(client: rmq.AsyncClient, topic: str, seconds: float) -> int:
    """Publish through a session, which confirms meanwhile."""
    done, is_over = 0, over(seconds)
    async with client.session() as session:
        while not is_over():
            await session.publish(topic, BODY)
            done += 1
    return done


class Load(NamedTuple):
    """`filled`: how much is there before."""

    what: str
    work: Work
    filled: str = ""


LOADS = (
    Load("`Client`: publish, each awaited", publish),
    Load(f"`Client`: publish from {THREADS} threads", partial(publish, threads=THREADS)),
    Load("`Client`: `publish_many` of 500", partial(publish, batch=FILL)),
    Load("`Client`: receive + ack one by one", take, "one"),
    Load(f"`Client`: receive + ack up to {MANY}", partial(take, batch=MANY), "many"),
    Load("`Client.consume`: a worker with 4 threads", work, "one"),
    Load("`Client.session`: publish", stream_in),
    Load("`Client.session`: consume + ack", stream_out, "many"),
    Load("`AsyncClient`: publish, each awaited", asynchronous(partial(publish_tasks, tasks=1))),
    Load(f"`AsyncClient`: publish from {TASKS} tasks", asynchronous(publish_tasks)),
    Load("`AsyncClient`: receive + ack up to 10, 16 tasks", asynchronous(take_tasks), "many"),
    Load("`AsyncClient.session`: publish", asynchronous(stream_in_tasks)),
)


def sdk(cluster: LocalCluster, runs: int, seconds: float) -> None:
    """Print and keep the table: medians and spread of the runs, and the client's processor time."""
    time_begun = now()
    leader = cluster.wait_for_leader()
    ports = [cluster.ports[leader], *(port for node, port in enumerate(cluster.ports) if node != leader)]
    urls = ",".join(f"http://127.0.0.1:{port}" for port in ports)
    found: dict[str, list[Measured]] = {load.what: [] for load in LOADS}
    progress = Progress(runs * len(LOADS))
    for run in range(runs):
        for load in LOADS:
            progress.step(f"run {run + 1}: {load.what}")
            found[load.what].append(_one(urls, load, seconds))
    progress.end()
    rows = "\n".join(table(_TITLES, [_row(what, values) for what, values in found.items()]))
    told = head(time_begun, runs, {}, [])
    values = {what: [each._asdict() for each in measured] for what, measured in found.items()}
    print(f"{told.lines()}\n\n{rows}\n")
    written = write(told, json.dumps({"head": told._asdict(), "sdk": values}, indent=1), f"{told.lines()}\n\n{rows}\n")
    print(f"All values: {written}")


_TITLES = ["the client for Python, 100 B", "messages/s, median", "min - max", "its processor time a message, us"]


def _row(what: str, values: Sequence[Measured]) -> list[str]:
    rates = [each.messages / each.wall_s for each in values]
    cpu_us = median([1e6 * each.cpu_s / each.messages for each in values])
    return [what, f"{median(rates):,.0f}", spread(rates, 0), f"{cpu_us:,.0f}"]


def _one(urls: str, load: Load, seconds: float) -> Measured:
    topic = f"sdk-{secrets.token_hex(4)}"
    with rmq.Client(urls) as client:
        client.create_topic(topic)
        for _ in range(int(FILLED_PER_S.get(load.filled, 0) * seconds) // FILL):
            client.publish_many(topic, [BODY] * FILL)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        messages = load.work(urls, topic, seconds)
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        client.delete_topic(topic)
    if not messages:
        raise RuntimeError(f"{load.what}: nothing at all was done")
    return Measured(messages, wall_s, cpu_s)
