"""Who uses the cluster: publishers and consumers, and those who ask a node for its status.

Theory. One call of the client is one operation of the history, over all tries that the call makes. What its end says:

    it returned                                     ok
    Unavailable, and not_committed                  fail: the client raises this when no try can have happened
    LeaseLost, with tokens                          ok: an answer, that says so for each of them
    any other error                                 unknown: an earlier try of the same call may have happened, whatever
                                                    the last one was told

In doubt unknown: a wrong "fail" would make a sound cluster look as if it kept what it had refused. A read that was not
answered did not happen.

One topic is for `auto_ack`: its messages are done when they are handed out, so it has to be a first-in, first-out
queue.
Of the other one messages are leased, and most of them are acked; some are given back, or held longer, or forgotten, so
that leases run out while the cluster is being broken.

Rules of this file: no value and no key is used twice; an operation is written down when it is over; after `over` none
is begun, but to settle what is held; a token is not used again when it is not known what came of it. The client does
not say which node answered, nor how often it tried: `NOBODY` and no tries stand there.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from chaos.history import Kind, Op, Outcome, Status
from rmq import errors
from rmq.aio import AsyncClient
from rmq.aio_connections import AsyncConnections
from rmq.command.verifying.notes import Notes
from rmq.exchange import Reply, Request, Send
from rmq.messages import Message

T = TypeVar("T")
NOBODY = -1
BATCHES = (1, 1, 1, 5)
MOST, MOST_LEASED, MOST_DRAINED = 10, 5, 200
LEASE_S, DRAIN_LEASE_S, EXTENDED_S = 2.0, 3.0, 3.0
PACE_S, HOLD_S, AFTER_ERROR_S = (0.005, 0.03), (0.0, 0.05), 0.2
POLL_EVERY_S, POLL_TIMEOUT_S = 0.2, 1.0
_STATUS = Request(method="GET", path="/status")
Fate = Literal["ack", "nack", "extend", "forget"]
FATES: dict[Fate, int] = {"ack": 84, "nack": 6, "extend": 5, "forget": 5}
"""What is done with a leased message, in how many of a hundred cases."""


class Names(NamedTuple):
    """The two topics."""

    fifo: str
    leases: str


def known(error: errors.Error) -> Outcome:
    """What a call that raised this came to."""
    surely_not = isinstance(error, errors.Unavailable) and error.outcome == "not_committed"
    return "fail" if surely_not else "unknown"


class Agent:
    """One user. `error`: the code of the last operation's, None where it was answered."""

    def __init__(self, name: str, client: AsyncClient, names: Names, notes: Notes) -> None:
        self._name, self._client, self._names, self._notes = name, client, names, notes
        self._random = random.Random()
        self._asked = 0
        self.error: str | None = None

    # -- what users do ----------------------------------------------------------------------------------------

    async def publisher(self, over: asyncio.Event) -> None:
        """Unique values to either topic, one at a time or a few at once."""
        count = 0
        while not over.is_set():
            size = self._random.choice(BATCHES)
            values = [f"{self._name}-{count + number}" for number in range(size)]
            count += size
            await self._rest(await self.publish(self._random.choice(self._names), values))

    async def consumer(self, over: asyncio.Event, *, wait_s: float) -> None:
        """Both topics in turn."""
        while not over.is_set():
            await self._rest(await self.take(MOST, wait_s) is not None)
            if not over.is_set():
                held = await self.lease(MOST_LEASED, LEASE_S, wait_s)
                await self.work(held or [])
                await self._rest(held is not None)

    async def work(self, held: Sequence[Message]) -> None:
        """Do with each what chance says."""
        if not held:
            return
        fates: dict[Fate, list[Message]] = {fate: [] for fate in FATES}
        for message, fate in zip(held, self._random.choices([*FATES], [*FATES.values()], k=len(held)), strict=True):
            fates[fate].append(message)
        await asyncio.sleep(self._random.uniform(*HOLD_S))
        is_known = await self.settle("extend", fates["extend"])
        await self.settle("nack", fates["nack"])
        await self.settle("ack", [*fates["ack"], *(fates["extend"] if is_known else ())])

    async def _rest(self, good: bool) -> None:
        await asyncio.sleep(self._random.uniform(*PACE_S) if good else AFTER_ERROR_S)

    # -- operations -------------------------------------------------------------------------------------------

    async def publish(self, topic: str, values: list[str]) -> bool:
        """Whether it was acknowledged."""
        key = self._key(topic)
        if len(values) == 1:
            call = _listed(self._client.publish(topic, values[0], key=key))
        else:
            call = self._client.publish_many(topic, values, key=key)
        found = await self._do(
            "publish", topic, call, lambda found: {"sequences": [each.sequence for each in found]},
            keyed=True, values=values,
        )  # fmt: skip
        return found is not None

    async def take(self, most: int, wait_s: float = 0.0) -> list[Message] | None:
        """Messages that are done with that; None where there was no answer."""
        topic = self._names.fifo
        call = self._client.receive(topic, max=most, wait_s=wait_s, auto_ack=True, attempt_id=self._key(topic))
        return await self._do("receive", topic, call, _handed, keyed=True, max=most)

    async def lease(self, most: int, lease_s: float, wait_s: float = 0.0) -> list[Message] | None:
        """Messages that are leased; None where there was no answer."""
        topic = self._names.leases
        call = self._client.receive(topic, max=most, wait_s=wait_s, lease_s=lease_s, attempt_id=self._key(topic))

        def told(found: list[Message]) -> dict[str, Any]:
            return {
                **_handed(found), "tokens": [each.token or "" for each in found],
                "deliveries": [each.deliveries for each in found], "groups": [each.group for each in found],
            }  # fmt: skip

        return await self._do("receive", topic, call, told, keyed=True, max=most, lease_s=lease_s)

    async def settle(self, kind: Literal["ack", "nack", "extend"], held: Sequence[Message]) -> bool:
        """One operation on these, if there are any. Whether there was an answer."""
        if not held:
            return True
        more = {"lease_s": EXTENDED_S} if kind == "extend" else {}
        call = self._settle(partial(getattr(self._client, kind), *held, **more), held)
        tokens = [message.token or "" for message in held]
        answer = await self._do(kind, self._names.leases, call, lambda codes: {"codes": codes}, tokens=tokens, **more)
        return answer is not None

    @staticmethod
    async def _settle(call: Callable[[], Awaitable[None]], held: Sequence[Message]) -> list[str | None]:
        """For each why it was not done; None where it was."""
        try:
            await call()
        except errors.LeaseLost as lost:
            if not lost.tokens:
                raise
            return [lost.code if message.token in lost.tokens else None for message in held]
        return [None] * len(held)

    async def count(self) -> int | None:
        """How many messages are stored of those that are leased; None where there was no answer."""
        topic = self._names.leases
        found = await self._do("count", topic, self._client.topic(topic), lambda found: {"left": found.messages})
        return None if found is None else found.messages

    async def list_topics(self) -> None:
        """The topics of this run."""
        prefix = self._names.fifo.removesuffix("fifo")
        await self._do("list", "", _names(self._client, prefix), lambda names: {"names": names})

    async def create(self, topic: str, call: Awaitable[None]) -> None:
        """One topic is made by the call; what it raises is raised. Nobody else makes it: that it was there already
        means that an earlier try had made it."""
        start = self._notes.now()
        await call
        self._write("create", topic, start, "ok", None, created=True)

    def _key(self, topic: str) -> str:
        self._asked += 1
        return f"{topic}-{self._name}-{self._asked}"

    async def _do(
        self, kind: Kind, topic: str, call: Awaitable[T], told: Callable[[T], dict[str, Any]], **asked: Any
    ) -> T | None:
        """Make the call, and write down what came of it. None where there was no answer."""
        start = self._notes.now()
        try:
            found = await call
        except errors.Error as error:
            outcome = "fail" if kind in ("count", "list") else known(error)
            self._write(kind, topic, start, outcome, error.code, **asked)
            return None
        self._write(kind, topic, start, "ok", None, **asked, **told(found))
        return found

    def _write(self, kind: Kind, topic: str, start: float, outcome: Outcome, error: str | None, **more: Any) -> None:
        self.error = error
        self._notes.add(
            Op(
                kind=kind, client=self._name, node=NOBODY, tries=0, start=start, end=self._notes.now(),
                outcome=outcome, topic=topic, error=error, **more,
            )
        )  # fmt: skip


async def _listed(call: Awaitable[T]) -> list[T]:
    return [await call]


async def _names(client: AsyncClient, prefix: str) -> list[str]:
    return [topic.name async for topic in client.topics(prefix)]


def _handed(found: Sequence[Message]) -> dict[str, Any]:
    return {"values": [str(each.body) for each in found], "sequences": [each.sequence for each in found]}


class Poller:
    """Asks one node for its status, all the time."""

    def __init__(self, url: str, connections: AsyncConnections, notes: Notes) -> None:
        self._url, self._connections, self._notes = url, connections, notes
        self._node: int | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(POLL_EVERY_S)

    async def poll(self) -> Status | None:
        """One status, written down; None when the node does not answer, and is forgotten as a leader."""
        start = self._notes.now()
        try:
            answer = await self._connections.send(Send(self._url, _STATUS, POLL_TIMEOUT_S, POLL_TIMEOUT_S))
            if not isinstance(answer, Reply) or answer.status != 200:
                raise ValueError("no status")
            said = json.loads(answer.body)
            status = Status(
                node=said["node"], start=start, at=self._notes.now(), role=said["role"], term=said["term"],
                leader=said["leader"], last_log_index=said["last_log_index"], commit_index=said["commit_index"],
                applied_index=said["applied_index"], state_index=said["state_hash_index"],
                state_hash=said["state_hash"], pid=said["pid"],
            )  # fmt: skip
        except (ValueError, KeyError, TypeError):
            if self._node is not None:
                self._notes.statuses.pop(self._node, None)
            return None
        self._node = status.node
        self._notes.add(status)
        return status
