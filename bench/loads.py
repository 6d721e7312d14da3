"""What is loaded, and how: the same few lines for every peer, so that only the peers differ.

Theory: a load is so many clients that each do one thing, await its end, and do it again: publish a message, a batch, or
many without waiting in between; take messages and settle them. What counts is what was acknowledged, over the time from
the first request to the last acknowledgement. A load has a queue of its own: what it takes was put there before, and
what it puts there is in nobody's way. What goes wrong ends the measurement: a rate of refusals would say nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, Protocol

FILL_CLIENTS, FILL_BATCH = 4, 500
LOOK_AGAIN_S = 0.01


class Publisher(Protocol):
    """One connection. What it does returns when all of it is acknowledged, and raises when it is not."""

    async def publish(self, count: int) -> None:
        """Publish `count` messages, as one request or as many without waiting in between."""


class Client(Publisher, Protocol):
    """One that consumes, too."""

    async def consume(self, count: int) -> int:
        """Take up to `count` messages, and settle them. -> how many there were; 0 when none came for a while."""

    def close(self) -> None:
        """Hang up."""


How = Literal["asked", "keyed", "streamed", "chained"]
"""Of a connection, where there are several kinds: each request is awaited; each is awaited, and has a key of its own,
so that it could be repeated; what is sent and what comes need not wait for one another; each is awaited, and takes
messages and settles those of the one before at once."""
Connect = Callable[[How], Awaitable[Client]]
"""Opens a connection."""


class Load(NamedTuple):
    """`clients` that publish or consume `batch` messages at a time; `both`: so many publish, as many consume. `how`
    they are connected: of `both` those that consume, while those that publish are so by `publishing`."""

    key: str
    what: str
    kind: Literal["publish", "consume", "both"]
    clients: int
    batch: int
    sizes_bytes: tuple[int, ...] = (100, 1000)
    how: How = "asked"
    through: Literal["leader", "follower"] = "leader"
    there_per_s: int = 0
    """Messages that are there before it begins, for each second that it may take."""
    publishing: How = "asked"


LOADS = (
    Load("one", "one client, each awaited", "publish", 1, 1),
    Load("many", "64 clients, each awaits its own", "publish", 64, 1),
    Load("keyed", "the same, each publish with a key of its own", "publish", 64, 1, (100,), how="keyed"),
    Load("follower", "64 clients through a follower", "publish", 64, 1, (100,), through="follower"),
    Load("batches", "4 clients, batches of 500", "publish", 4, 500),
    Load("pipelined", "4 sessions, 1,000 messages unconfirmed each", "publish", 4, 1000, how="streamed"),
    Load("take-one", "receive + ack one by one, one client", "consume", 1, 1, there_per_s=2000),
    Load("take-chained", "one by one, a receive acks the one before", "consume", 1, 1, how="chained", there_per_s=4000),
    Load("take-batches", "receive + ack batches of 100, 4 clients", "consume", 4, 100, there_per_s=40_000),
    Load("take-streamed", "deliveries + acks, 4 sessions", "consume", 4, 1000, how="streamed", there_per_s=40_000),
    Load("both", "publish and consume at once, 16 + 16 clients", "both", 16, 1, (100,), there_per_s=500),
    Load("both-streamed", "publish and deliver at once, 16 clients + 16 sessions", "both", 16, 1, (100,), "streamed"),
    Load("both-pipelined", "the same, 16 + 16 sessions, 100 messages unconfirmed each", "both", 16, 100, (100,),
         how="streamed", publishing="streamed"),
)  # fmt: skip
BY_KEY = {load.key: load for load in LOADS}


class Taken(NamedTuple):
    """`rate`: messages a second, of `both` the slower way's. Latencies are of one request, or one flight of many."""

    rate: float
    p50_ms: float
    p99_ms: float
    messages: int


class Tally:
    """What the clients of one load have done."""

    def __init__(self) -> None:
        self.messages = 0
        self.latencies_s: list[float] = []
        self.started = self.last = time.perf_counter()

    def count(self, sent: float, messages: int) -> None:
        """So many messages, sent then, are acknowledged now."""
        self.last = time.perf_counter()
        self.messages += messages
        self.latencies_s.append(self.last - sent)

    @classmethod
    def together(cls, tallies: Sequence[Tally]) -> Tally:
        """Several as one: the time between them does not count."""
        whole = cls()
        whole.messages = sum(each.messages for each in tallies)
        whole.latencies_s = [latency for each in tallies for latency in each.latencies_s]
        whole.last = whole.started + sum(each.last - each.started for each in tallies)
        return whole

    def taken(self) -> Taken:
        """What came of it."""
        if not self.messages:
            raise RuntimeError("nothing at all was acknowledged")
        ordered = sorted(self.latencies_s)
        rate = self.messages / (self.last - self.started)
        return Taken(rate, 1000 * share_of(ordered, 0.5), 1000 * share_of(ordered, 0.99), self.messages)


def share_of(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the ordered values do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def run(load: Load, connect: Connect, seconds: float) -> Taken:
    """Do the load, for `seconds` or until nothing is left to take."""
    there = max(load.batch * load.clients, int(load.there_per_s * seconds)) if load.kind != "publish" else 0
    if there:
        await fill(connect, there)
    clients = [await connect(load.publishing) for _ in range(load.clients if load.kind == "both" else 0)]
    clients += [await connect(load.how) for _ in range(load.clients)]
    try:
        if load.kind == "publish":
            return (await publish(clients, load.batch, seconds)).taken()
        if load.kind == "consume":
            return (await consume(clients, load.batch, seconds, there)).taken()
        ways = await asyncio.gather(
            publish(clients[: load.clients], load.batch, seconds),
            consume(clients[load.clients :], load.batch, seconds, None),
        )
        return min((way.taken() for way in ways), key=lambda taken: taken.rate)
    finally:
        for client in clients:
            client.close()


async def publish(clients: Sequence[Publisher], batch: int, seconds: float, most: int | None = None) -> Tally:
    """Publish for so long, or until `most` messages are published."""
    tally, begun = Tally(), 0
    end = tally.started + seconds

    async def go_on(client: Publisher) -> None:
        nonlocal begun
        while (sent := time.perf_counter()) < end and (most is None or begun < most):
            begun += batch
            await client.publish(batch)
            tally.count(sent, batch)

    await asyncio.gather(*map(go_on, clients))
    return tally


async def consume(clients: Sequence[Client], batch: int, seconds: float, there: int | None) -> Tally:
    """Consume for so long, or until all that was there is taken; None: there will be more."""
    tally = Tally()
    end = tally.started + seconds

    async def go_on(client: Client) -> None:
        while (sent := time.perf_counter()) < end and (there is None or tally.messages < there):
            count = await client.consume(batch)
            if count:
                tally.count(sent, count)
            else:
                await asyncio.sleep(LOOK_AGAIN_S)

    await asyncio.gather(*map(go_on, clients))
    return tally


async def fill(connect: Connect, messages: int) -> None:
    """Publish so many messages, or a few more."""
    each = -(-messages // FILL_CLIENTS)
    clients = [await connect("asked") for _ in range(FILL_CLIENTS)]

    async def go_on(client: Client) -> None:
        for done in range(0, each, FILL_BATCH):
            await client.publish(min(FILL_BATCH, each - done))

    await asyncio.gather(*map(go_on, clients))
    for client in clients:
        client.close()
