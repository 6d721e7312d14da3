"""FastStream over RMQ: a broker in FastStream's style, in one file, to be used as it is or copied.

    broker = RMQBroker("http://localhost:8001,http://localhost:8002,http://localhost:8003")
    app = FastStream(broker)

    @broker.subscriber("orders", concurrency=8)
    @broker.publisher("receipts")
    async def make(order: Order) -> Receipt: ...

Theory: FastStream has no public interface for brokers of others (docs/frameworks.md says what stands in the way), so
this one is no subclass. It is what `FastStream` asks of a broker at run time: `start`, `stop` and `_update_fd_config`.
Handlers are called through FastStream's `apply_types`, with pydantic models, `Depends` and `Context`. The SDK's workers
receive, extend leases, ack what returned and give back what raised. A handler's result is published before its message
is acked, under the message's id: if the message is handed out again, the result is stored once all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from faststream import ContextRepo, apply_types
from pydantic_core import to_jsonable_python

import rmq
from rmq.aio_consumer import AsyncWorker
from rmq.errors import KeyReused, TopicExists

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])
log = logging.getLogger("faststream.rmq")


class RMQBroker:
    """`urls`: of the nodes, as `rmq.AsyncClient` takes them."""

    def __init__(self, urls: str | Sequence[str] | None = None) -> None:
        self.client = rmq.AsyncClient(urls)
        self._context = ContextRepo()
        self._provider: Any = None
        self._subscribers: list[tuple[str, Callable[..., Awaitable[Any]], dict[str, Any]]] = []
        self._publishers: dict[Callable[..., Awaitable[Any]], list[str]] = {}
        self._workers: dict[asyncio.Task[None], AsyncWorker] = {}

    def subscriber(self, topic: str, **options: Any) -> Callable[[Handler], Handler]:
        """The coroutine function is called with the body of each message. `options`: as `AsyncClient.consume` has them.
        `Context("message")` is the `rmq.Message`. It is still the function, to be called in tests."""

        def decorate(handler: Handler) -> Handler:
            self._subscribers.append((topic, handler, options))
            return handler

        return decorate

    def publisher(self, topic: str) -> Callable[[Handler], Handler]:
        """What the function returns goes to this topic, unless it is None. To stand below `subscriber`."""

        def decorate(handler: Handler) -> Handler:
            self._publishers.setdefault(handler, []).append(topic)
            return handler

        return decorate

    async def publish(self, message: Any, topic: str, **fields: Any) -> rmq.Published:
        """Store one message, a pydantic model or whatever JSON can say. `fields`: as `AsyncClient.publish` has them."""
        return await self.client.publish(topic, to_jsonable_python(message), **fields)

    async def connect(self) -> None:
        """Create the topics that are not there. Those that are keep their settings."""
        subscribed = [topic for topic, _, _ in self._subscribers]
        for topic in dict.fromkeys([*subscribed, *(each for topics in self._publishers.values() for each in topics)]):
            with contextlib.suppress(TopicExists):
                await self.client.create_topic(topic)

    async def start(self) -> None:
        """Called by FastStream, after its hooks `on_startup`."""
        await self.connect()
        for topic, handler, options in self._subscribers:
            call = apply_types(handler, dependency_provider=self._provider, context__=self._context)
            worker = self.client.consume(topic, **options)(partial(self._handle, handler, call))
            task = asyncio.create_task(worker.run(signals=False))  # They are the app's.
            task.add_done_callback(self._ended)
            self._workers[task] = worker

    async def stop(self, *_: object) -> None:
        """Finish what is in work, give back the rest. Called by FastStream. Raises what ended a worker for good."""
        for worker in self._workers.values():
            worker.stop()
        try:
            await asyncio.gather(*self._workers)
        finally:
            await self.client.close()

    def _update_fd_config(self, config: Any) -> None:
        """FastStream's, when it gets the broker: the app's context, and its dependencies with their overrides."""
        self._context, self._provider = config.context, config.provider

    async def _handle(self, handler: Any, call: Callable[..., Awaitable[Any]], message: rmq.Message) -> None:
        with self._context.scopes([("message", message), ("logger", log)]):
            result = await call(message.body)
        for topic in self._publishers.get(handler, []) if result is not None else []:
            # With another content, it is from an earlier delivery, and that one stands.
            with contextlib.suppress(KeyReused):
                await self.publish(result, topic, dedup_id=f"{handler.__name__}.{message.id}")

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A worker ends before `stop` only by what will not pass: the app ends, too, and `stop` raises it."""
        app = self._context.get("app")
        if not task.cancelled() and task.exception() is not None and app is not None:
            app.exit()
