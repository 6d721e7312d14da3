"""The client for programs without asyncio. Its twin is in `aio`; both run the same calls through the same exchange."""

from __future__ import annotations

import os
import random
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, Unpack

from rmq import calls, wire
from rmq.calls import Call
from rmq.connections import Connections
from rmq.consumer import Consumer
from rmq.consuming import Delay, Plan, growing_delay_s
from rmq.exchange import CLOSED, Pause, Reply, Result, exchange
from rmq.messages import Body, Message, NewMessage, Peeked, Published
from rmq.policy import Nodes, Retry
from rmq.session import Session
from rmq.topics import Cluster, NewSettings, Redriven, Schedule, Settings, SettingsChange, Subscription, Topic

T = TypeVar("T")


class Client:
    """A cluster, through whichever of its nodes answers. To be shared between threads; close it, or use `with`.
    In a process that was forked it opens connections of its own.

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
        self._connect = partial(Connections, headers, verify)
        self._connections, self._process = self._connect(), os.getpid()
        self._session_options = partial(wire.session_options, headers, verify)

    @property
    def urls(self) -> list[str]:
        """The nodes that it knows."""
        return list(self._nodes.urls)

    def close(self) -> None:
        """Give the connections back. The client cannot be used any more."""
        connections = self._open()
        if connections is not None:
            connections.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Connections | None:
        """The connections of this process, unless they were given back."""
        if self._connections.is_closed:
            return None
        if self._process != os.getpid():
            # It was forked, and the parent reads from these: they are kept, so that nothing here closes them.
            self._parents = self._connections
            self._connections, self._process = self._connect(), os.getpid()
        return self._connections

    def _run(self, call: Call[T]) -> T:
        steps = exchange(call.request, self._nodes, self._retry, time.monotonic, self._random)
        result: Result = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration as end:
                reply: Reply = end.value
                return call.read(reply)
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                result = None
                continue
            connections = self._open()
            result = CLOSED if connections is None else connections.send(step)

    # -- messages -------------------------------------------------------------------------------------------

    def publish(
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
        return self._run(calls.publish(topic, message, key))

    def publish_many(
        self, topic: str, bodies: Iterable[Body | NewMessage], *, key: str | None = None
    ) -> list[Published]:
        """Store many, in order, in as few requests as they fit into: up to 1,000 messages, about 900 kB each.

        The messages of one request are stored together or not at all; an error later leaves the earlier ones stored.
        With a list a body that is none is found before anything is sent. Repeated with the same `key` and the same
        messages, it stores each once.
        """
        return [place for call in calls.publish_many(topic, bodies, key) for place in self._run(call)]

    def receive(
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
        return self._run(call)

    def ack(self, *held: Message) -> None:
        """These are done. Raises LeaseLost where one may be somebody else's by now; the others are done."""
        self._settle("ack", held)

    def nack(self, *held: Message, delay_s: float = 0.0) -> None:
        """These are handed out again, after `delay_s`. Raises LeaseLost."""
        self._settle("nack", held, delay_s=delay_s)

    def extend(self, *held: Message, lease_s: float) -> None:
        """The leases of these end `lease_s` from now. Raises LeaseLost."""
        self._settle("extend", held, lease_s=lease_s)

    def _settle(self, how: calls.How, held: Sequence[Message], **fields: Any) -> None:
        calls.check_settled(how, [each for call in calls.settles(how, held, **fields) for each in self._run(call)])

    def consume(
        self, topic: str, *, subscription: str = "default", concurrency: int = 1, prefetch: int = 0,
        lease_s: float = 30.0, retry_delay_s: Delay = growing_delay_s, idle_s: float | None = None,
        signals: bool = True,
    ) -> Consumer:  # fmt: skip
        """Consume messages as they come: iterate over it, or decorate a function with it and call its `run`.

        A message is acked when its work is done, given back when it fails, and its lease is extended meanwhile; see
        `rmq.consuming.Plan` for the arguments. With the iterator `concurrency` means nothing.
        """
        plan = Plan(
            topic=topic, subscription=subscription, concurrency=concurrency, prefetch=prefetch, lease_s=lease_s,
            retry_delay_s=retry_delay_s, idle_s=idle_s, signals=signals,
        )  # fmt: skip
        return Consumer(self, plan)

    def session(self) -> Session:
        """A WebSocket for throughput: publishes that need not wait for each other, messages that come by themselves."""
        return Session(self._nodes, self._retry, self._session_options)

    def peek(
        self, topic: str, *, start: int = 0, subscription: str = "default", headers: Mapping[str, str] | None = None
    ) -> Iterator[Peeked]:
        """Look at messages from the sequence `start` on, without touching them. `headers`: only those that carry them.
        Reads on as you go."""
        cursor: str | None = None
        while True:
            call = calls.peek(
                topic, start=start, limit=100, subscription=subscription, headers=headers or {}, cursor=cursor
            )
            page = self._run(call)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    # -- topics ---------------------------------------------------------------------------------------------

    def create_topic(self, name: str, **settings: Unpack[NewSettings]) -> Settings:
        """Create a topic, or find it as it is to be: `lease_s`, `delay_s`, `ttl_s`, `max_messages`, `max_bytes`,
        `overflow` ("reject" or "drop_oldest"), `max_deliveries`, `dead_letter_topic`, `dedup_window_s`, `priorities`.
        Raises TopicExists where it has other settings."""
        return self._run(calls.create_topic(name, settings))

    def topic(self, name: str) -> Topic:
        """A topic's settings and counts."""
        return self._run(calls.look_at_topic(name))

    def topics(self, prefix: str = "") -> Iterator[Topic]:
        """All topics whose names begin so, in the order of their creation."""
        cursor: str | None = None
        while True:
            page = self._run(calls.list_topics(prefix, cursor))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def change_topic(self, name: str, *, version: int | None = None, **settings: Unpack[SettingsChange]) -> int:
        """Change what is named; None means none. `version`: only if it is still this one, else VersionConflict. Returns
        the new version."""
        return self._run(calls.change_topic(name, settings, version))

    def delete_topic(self, name: str) -> None:
        """Delete a topic with everything in it."""
        self._run(calls.delete_topic(name))

    def purge(self, topic: str) -> int:
        """All messages go, for all subscriptions. Returns how many."""
        return self._run(calls.purge(topic))

    def redrive(self, topic: str, *, max: int | None = None, to: str | None = None) -> Redriven:
        """Dead messages get another chance: those that stand still in the topic, and dead letters in it, which go back
        to where they came from, or to the topic `to`."""
        moved = kept = 0
        start: int | None = None
        while True:
            left = None if max is None else max - moved
            done, start = self._run(calls.redrive(topic, max=left, to=to, start=start))
            moved, kept = moved + done.moved, kept + done.kept
            if start is None or moved == max:
                return Redriven(moved, kept)

    # -- subscriptions and schedules ------------------------------------------------------------------------

    def create_subscription(self, topic: str, name: str, start: str | int = "latest") -> int:
        """One more group of consumers, with every message from `start` on: "earliest", "latest" or a sequence. Returns
        the first sequence that it gets."""
        return self._run(calls.create_subscription(topic, name, start))

    def delete_subscription(self, topic: str, name: str) -> None:
        """What it alone had kept goes with it."""
        self._run(calls.delete_subscription(topic, name))

    def subscriptions(self, topic: str) -> Sequence[Subscription]:
        """All of a topic, with their counts."""
        return self._run(calls.list_subscriptions(topic)).items

    def put_schedule(self, topic: str, name: str, cron: str, body: Body | NewMessage, *, zone: str = "UTC") -> Schedule:
        """Publish a message at each tick of a cron expression, once whatever fails."""
        return self._run(calls.put_schedule(topic, name, cron, zone, calls.new_message(body)))

    def delete_schedule(self, topic: str, name: str) -> None:
        """No tick of it is published any more."""
        self._run(calls.delete_schedule(topic, name))

    def schedules(self, topic: str) -> Sequence[Schedule]:
        """All of a topic, by name."""
        return self._run(calls.list_schedules(topic)).items

    # -- the cluster ----------------------------------------------------------------------------------------

    def cluster(self) -> Cluster:
        """Members with role, term, positions in the log and lag; the leader."""
        return self._run(calls.cluster())

    def transfer_leadership(self, to: int | None = None) -> int:
        """Hand the leadership to a node, or to the most advanced one. Returns the new leader."""
        return self._run(calls.transfer(to))
