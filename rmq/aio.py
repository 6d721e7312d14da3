"""The client for programs with asyncio. Its twin is in `client`; both run the same calls through the same exchange."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, Unpack

from rmq import calls, errors, wire
from rmq.aio_connections import AsyncConnections
from rmq.aio_consumer import AsyncConsumer
from rmq.aio_session import AsyncSession
from rmq.calls import Call
from rmq.consuming import Delay, Plan, growing_delay_s
from rmq.exchange import CLOSED, Pause, Reply, Result, exchange
from rmq.messages import Body, Message, NewMessage, Peeked, Published
from rmq.policy import Nodes, Retry
from rmq.topics import Cluster, NewSettings, Redriven, Schedule, Settings, SettingsChange, Subscription, Topic

T = TypeVar("T")


class AsyncClient:
    """A cluster, through whichever of its nodes answers. To be shared between tasks; close it, or use `async with`.

    `urls`: of the nodes, a sequence or one text with commas; left out: the variable RMQ_URL, else the nodes of
    `make run`. `retry`: how long and how often a call is tried. `headers`: sent with every request. `verify`: for
    https, whether the node's certificate must be one that this machine trusts, or an SSLContext that decides. Every
    method raises `rmq.Error` (see `rmq.errors` for the tree), and ValueError or TypeError for arguments that cannot be
    right.
    """

    def __init__(
        self, urls: str | Sequence[str] | None = None, *, retry: Retry | None = None,
        headers: Mapping[str, str] | None = None, verify: bool | ssl.SSLContext = True,
    ) -> None:  # fmt: skip
        self._nodes = Nodes(wire.urls_or_default(urls))
        self._retry = retry or Retry()
        self._random = random.Random()
        self._connections, self._process = AsyncConnections(headers, verify), os.getpid()
        self._session_options = partial(wire.session_options, headers, verify)

    @property
    def urls(self) -> list[str]:
        """The nodes that it knows."""
        return list(self._nodes.urls)

    async def close(self) -> None:
        """Give the connections back. The client cannot be used any more."""
        if self._process == os.getpid():
            await self._connections.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _open(self) -> AsyncConnections | None:
        """The connections, unless they were given back."""
        return None if self._connections.is_closed else self._connections

    async def _run(self, call: Call[T]) -> T:
        if self._process != os.getpid():
            text = "The client was made in another process, from which this one was forked."
            raise errors.ClientClosed(text, code="client_closed")
        steps = exchange(call.request, self._nodes, self._retry, asyncio.get_running_loop().time, self._random)
        result: Result = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration as end:
                reply: Reply = end.value
                return call.read(reply)
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                result = None
                continue
            connections = self._open()
            result = CLOSED if connections is None else await connections.send(step)

    # -- messages -------------------------------------------------------------------------------------------

    async def publish(
        self, topic: str, body: Body | NewMessage, *, headers: Mapping[str, str] | None = None,
        group: str | None = None, dedup_id: str | None = None, delay_s: float | None = None,
        ttl_s: float | None = None, priority: int | None = None, key: str | None = None,
    ) -> Published:  # fmt: skip
        """Store one message; when this returns, it is on the disks of a majority.

        `body`: any JSON value, or bytes, or a NewMessage that says it all. The others: see NewMessage. `key`: with the
        same one, the same publish later stores nothing twice; one is made for each call anyway, so that its own retries
        are safe.
        """
        message = calls.new_message(
            body, headers=headers, group=group, dedup_id=dedup_id, delay_s=delay_s, ttl_s=ttl_s, priority=priority
        )
        return await self._run(calls.publish(topic, message, key))

    async def publish_many(
        self, topic: str, bodies: Iterable[Body | NewMessage], *, key: str | None = None
    ) -> list[Published]:
        """Store many, in order, in as few requests as they fit into: up to 1,000 messages, about 900 kB each.

        The messages of one request are stored together or not at all; an error later leaves the earlier ones stored.
        With a list a body that is none is found before anything is sent. Repeated with the same `key` and the same
        messages, it stores each once.
        """
        return [place for call in calls.publish_many(topic, bodies, key) for place in await self._run(call)]

    async def receive(
        self, topic: str, *, max: int = 1, wait_s: float = 0.0, lease_s: float | None = None,
        subscription: str = "default", auto_ack: bool = False, attempt_id: str | None = None,
    ) -> list[Message]:  # fmt: skip
        """Take up to `max` messages (1,000 at most), waiting up to `wait_s` (20 at most) for the first.

        They are leased for `lease_s`, else for what the topic says: ack them when the work is done. With `auto_ack`
        they are done at once. `attempt_id`: with the same one, a later call gets the same answer again, without what
        is settled by then.
        """
        call = calls.receive(
            topic, max=max, wait_s=wait_s, lease_s=lease_s, subscription=subscription, auto_ack=auto_ack,
            attempt_id=attempt_id,
        )  # fmt: skip
        return await self._run(call)

    async def ack(self, *held: Message) -> None:
        """These are done. Raises LeaseLost where one may be somebody else's by now; the others are done."""
        await self._settle("ack", held)

    async def nack(self, *held: Message, delay_s: float = 0.0) -> None:
        """These are handed out again, after `delay_s`. Raises LeaseLost."""
        await self._settle("nack", held, delay_s=delay_s)

    async def extend(self, *held: Message, lease_s: float) -> None:
        """The leases of these end `lease_s` from now. Raises LeaseLost."""
        await self._settle("extend", held, lease_s=lease_s)

    async def _settle(self, how: calls.How, held: Sequence[Message], **fields: Any) -> None:
        calls.check_settled(
            how, [each for call in calls.settles(how, held, **fields) for each in await self._run(call)]
        )

    def consume(
        self, topic: str, *, subscription: str = "default", concurrency: int = 1, prefetch: int = 0,
        lease_s: float = 30.0, retry_delay_s: Delay = growing_delay_s, idle_s: float | None = None,
        signals: bool = True,
    ) -> AsyncConsumer:  # fmt: skip
        """Consume messages as they come: iterate over it, or decorate a function with it and call its `run`.

        A message is acked when its work is done, given back when it fails, and its lease is extended meanwhile; see
        `rmq.consuming.Plan` for the arguments. With the iterator `concurrency` means nothing.
        """
        plan = Plan(
            topic=topic, subscription=subscription, concurrency=concurrency, prefetch=prefetch, lease_s=lease_s,
            retry_delay_s=retry_delay_s, idle_s=idle_s, signals=signals,
        )  # fmt: skip
        return AsyncConsumer(self, plan)

    def session(self) -> AsyncSession:
        """A WebSocket for throughput: publishes that need not wait for each other, messages that come by themselves."""
        return AsyncSession(self._nodes, self._retry, self._session_options)

    async def peek(
        self, topic: str, *, start: int = 0, subscription: str = "default", headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Peeked]:
        """Look at messages from the sequence `start` on, without touching them. `headers`: only those that carry them.
        Reads on as you go."""
        cursor: str | None = None
        while True:
            call = calls.peek(
                topic, start=start, limit=100, subscription=subscription, headers=headers or {}, cursor=cursor
            )
            page = await self._run(call)
            for each in page.items:
                yield each
            cursor = page.next_cursor
            if cursor is None:
                return

    # -- topics ---------------------------------------------------------------------------------------------

    async def create_topic(self, name: str, **settings: Unpack[NewSettings]) -> Settings:
        """Create a topic, or find it as it is to be: `lease_s`, `delay_s`, `ttl_s`, `max_messages`, `max_bytes`,
        `overflow` ("reject" or "drop_oldest"), `max_deliveries`, `dead_letter_topic`, `dedup_window_s`, `priorities`.
        Raises TopicExists where it has other settings."""
        return await self._run(calls.create_topic(name, settings))

    async def topic(self, name: str) -> Topic:
        """A topic's settings and counts."""
        return await self._run(calls.look_at_topic(name))

    async def topics(self, prefix: str = "") -> AsyncIterator[Topic]:
        """All topics whose names begin so, in the order of their creation."""
        cursor: str | None = None
        while True:
            page = await self._run(calls.list_topics(prefix, cursor))
            for each in page.items:
                yield each
            cursor = page.next_cursor
            if cursor is None:
                return

    async def change_topic(self, name: str, *, version: int | None = None, **settings: Unpack[SettingsChange]) -> int:
        """Change what is named; None means none. `version`: only if it is still this one, else VersionConflict. Returns
        the new version."""
        return await self._run(calls.change_topic(name, settings, version))

    async def delete_topic(self, name: str) -> None:
        """Delete a topic with everything in it."""
        await self._run(calls.delete_topic(name))

    async def purge(self, topic: str) -> int:
        """All messages go, for all subscriptions. Returns how many."""
        return await self._run(calls.purge(topic))

    async def redrive(self, topic: str, *, max: int | None = None, to: str | None = None) -> Redriven:
        """Dead messages get another chance: those that stand still in the topic, and dead letters in it, which go back
        to where they came from, or to the topic `to`."""
        moved = kept = 0
        start: int | None = None
        while True:
            left = None if max is None else max - moved
            done, start = await self._run(calls.redrive(topic, max=left, to=to, start=start))
            moved, kept = moved + done.moved, kept + done.kept
            if start is None or moved == max:
                return Redriven(moved, kept)

    # -- subscriptions and schedules ------------------------------------------------------------------------

    async def create_subscription(self, topic: str, name: str, start: str | int = "latest") -> int:
        """One more group of consumers, with every message from `start` on: "earliest", "latest" or a sequence. Returns
        the first sequence that it gets."""
        return await self._run(calls.create_subscription(topic, name, start))

    async def delete_subscription(self, topic: str, name: str) -> None:
        """What it alone had kept goes with it."""
        await self._run(calls.delete_subscription(topic, name))

    async def subscriptions(self, topic: str) -> Sequence[Subscription]:
        """All of a topic, with their counts."""
        return (await self._run(calls.list_subscriptions(topic))).items

    async def put_schedule(
        self, topic: str, name: str, cron: str, body: Body | NewMessage, *, zone: str = "UTC"
    ) -> Schedule:
        """Publish a message at each tick of a cron expression, once whatever fails."""
        return await self._run(calls.put_schedule(topic, name, cron, zone, calls.new_message(body)))

    async def delete_schedule(self, topic: str, name: str) -> None:
        """No tick of it is published any more."""
        await self._run(calls.delete_schedule(topic, name))

    async def schedules(self, topic: str) -> Sequence[Schedule]:
        """All of a topic, by name."""
        return (await self._run(calls.list_schedules(topic))).items

    # -- the cluster ----------------------------------------------------------------------------------------

    async def cluster(self) -> Cluster:
        """Members with role, term, positions in the log and lag; the leader."""
        return await self._run(calls.cluster())

    async def transfer_leadership(self, to: int | None = None) -> int:
        """Hand the leadership to a node, or to the most advanced one. Returns the new leader."""
        return await self._run(calls.transfer(to))
