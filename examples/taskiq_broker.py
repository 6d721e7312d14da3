"""TaskIQ over RMQ: a broker in one file, to be used as it is or copied.

    broker = RMQBroker("http://localhost:8001,http://localhost:8002,http://localhost:8003", topic="kitchen")

Theory: a kick is a publish under the task's id; when it returns, the task is on the disks of a majority, and the same
kick again is stored once. A worker leases messages and acks each when TaskIQ says so. Until then one coroutine extends
the leases, so a task may take longer than a lease, and only the tasks of a worker that died are executed again: at
least once, and once where no worker dies or is cut off for longer than a lease. While the cluster has no leader, both
sides wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any, Unpack

from taskiq import AckableMessage, AsyncBroker, BrokerMessage

import rmq
from rmq.errors import LeaseLost, OutcomeUnknown, Unavailable
from rmq.topics import NewSettings

log = logging.getLogger("taskiq.rmq")

LABELS = {"delay": ("delay_s", float), "ttl": ("ttl_s", float), "priority": ("priority", int), "group": ("group", str)}
"""TaskIQ's labels that RMQ understands: the argument of `publish`, and its type. Labels arrive as text."""
WAIT_S = 2.0
"""One receive waits so long for the first message, and a stop may have to wait for one receive."""


class RMQBroker(AsyncBroker):
    """`urls`: of the nodes, as `rmq.AsyncClient` takes them. `topic`: created at startup, with these `settings`, such
    as `lease_s` (after so long others get the tasks of a worker that died), `max_deliveries`, `dead_letter_topic`, and
    `priorities`, without which it takes no label `priority`. `batch`: so many tasks are received at once. `longest_s`:
    a message that TaskIQ has not acked by then is handed out again, since nobody tells a broker that a task ended
    without an ack (TaskIQ's `manual` acks, a middleware that raised).
    """

    def __init__(
        self, urls: str | Sequence[str] | None = None, topic: str = "taskiq", *, batch: int = 10,
        longest_s: float = 3600.0, **settings: Unpack[NewSettings],
    ) -> None:  # fmt: skip
        super().__init__()
        self.client = rmq.AsyncClient(urls)
        self._topic, self._settings = topic, settings
        self._batch, self._longest_s, self._lease_s = batch, longest_s, 30.0
        self._held: dict[str, tuple[rmq.Message, float]] = {}
        """By token: messages that are not acked, and until when their leases are extended."""
        self._keeper: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Create the topic, then what TaskIQ does. Raises rmq.Error, TopicExists where it has other settings."""
        self._lease_s = (await self.client.create_topic(self._topic, **self._settings)).lease_s
        await super().startup()

    async def shutdown(self) -> None:
        """What TaskIQ does, then give back what is not acked, at once."""
        try:
            await super().shutdown()
        finally:
            if self._keeper is not None:
                self._keeper.cancel()
            await self._give_back([message for message, _ in self._held.values()])
            await self.client.close()

    async def kick(self, message: BrokerMessage) -> None:
        """Store a task. TaskIQ makes every rmq.Error a SendTaskError, with the rmq.Error as its cause."""
        labels = message.labels
        options: dict[str, Any] = {name: kind(labels[key]) for key, (name, kind) in LABELS.items() if key in labels}
        # TaskIQ's retry middlewares kick again under the same id, and mean another execution.
        dedup_id = f"{message.task_id}.{labels.get('_retries', 0)}"
        headers = {"task": message.task_name, "task-id": message.task_id}
        await self.client.publish(self._topic, message.message, headers=headers, dedup_id=dedup_id, **options)

    async def listen(self) -> AsyncGenerator[bytes | AckableMessage, None]:
        """Tasks as they come; TaskIQ asks for the next one when it has room. What it did not ask for goes back."""
        self._keeper = self._keeper or asyncio.create_task(self._keep_leases())
        ready: list[rmq.Message] = []
        try:
            while True:
                ready = await self._receive()
                while ready:
                    message = ready.pop(0)
                    yield AckableMessage(data=message.body, ack=partial(self._ack, message))
        finally:
            await self._give_back(ready)

    async def _receive(self) -> list[rmq.Message]:
        """What comes within the wait; nothing while there is no majority. Raises what will not pass."""
        receiving = asyncio.ensure_future(self.client.receive(self._topic, max=self._batch, wait_s=WAIT_S))
        try:
            found = await asyncio.shield(receiving)
        except asyncio.CancelledError:
            with contextlib.suppress(rmq.Error):
                await self._give_back(await receiving)
            raise
        except (Unavailable, OutcomeUnknown) as error:
            log.warning("cannot receive tasks, and go on trying: %s", error)
            await asyncio.sleep(0.5)
            return []
        self._held.update((str(message.token), (message, time.monotonic() + self._longest_s)) for message in found)
        return found

    async def _ack(self, message: rmq.Message) -> None:
        self._held.pop(str(message.token), None)
        try:
            await self.client.ack(message)
        except rmq.Error as error:
            log.warning("message %s may be executed again, its ack failed: %s", message.id, error)

    async def _give_back(self, messages: Sequence[rmq.Message]) -> None:
        for message in messages:
            self._held.pop(str(message.token), None)
        try:
            await self.client.nack(*messages)
        except rmq.Error as error:
            log.warning("%d messages come again when their leases end: %s", len(messages), error)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            now = time.monotonic()
            self._held = {token: held for token, held in self._held.items() if now < held[1]}
            try:
                await self.client.extend(*(message for message, _ in self._held.values()), lease_s=self._lease_s)
            except LeaseLost as lost:
                for token in lost.tokens:
                    # What was acked meanwhile is over, and not lost.
                    if held := self._held.pop(token, None):
                        log.warning("message %s may be executed twice, its lease had ended", held[0].id)
            except rmq.Error as error:
                log.warning("cannot extend leases, and go on trying: %s", error)
