"""A session with tasks: publish without waiting for each answer, and have messages come by themselves.

Two tasks beside the caller's: one that sends, one that reads, and connects again when the connection is lost. What is
said and heard is `Talk`'s; everything runs on one event loop, so nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Unpack

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from rmq import errors, wire
from rmq.calls import How, new_message
from rmq.messages import Body, Message, NewFields, NewMessage, Published
from rmq.policy import Nodes, Retry, Search
from rmq.session import UNANSWERED_MAX
from rmq.talk import Talk


class AsyncSession:
    """Made by `AsyncClient.session`; use it in `async with`: it is flushed at the end."""

    def __init__(self, nodes: Nodes, retry: Retry, options: Callable[[str], Mapping[str, Any]]) -> None:
        self._nodes, self._retry, self._options = nodes, retry, options
        self._talk = Talk()
        self._search: Search
        self._changed = asyncio.Condition()
        self._is_over = False
        self._over = "The session is over."
        """With the reason, where it is not its user's doing."""
        self._connection: ClientConnection
        self._url = ""
        """Of the node that took it."""
        self._broken: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> AsyncSession:
        self._search = Search(self._nodes, self._retry, time.monotonic)
        self._connection = await self._connect()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self.flush()
        finally:
            await self.close()

    # -- what the caller wants -------------------------------------------------------------------------------

    async def publish(
        self, topic: str, body: Body | NewMessage, **fields: Unpack[NewFields]
    ) -> asyncio.Future[Published]:
        """Say a message, and go on; `fields` as `AsyncClient.publish` has them, but `key`: it has a dedup_id, or gets
        one.

        What is published to one topic is stored in the order in which it was said. Waits only while 2,000 are
        unanswered. The future's result is the message's place; `flush` waits for all.
        """
        future: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        message = new_message(body, **fields)
        await self._room()
        self._talk.publish(topic, message, self._resolver(future))
        await self._tell()
        return future

    async def ack(self, *held: Message) -> None:
        """These are done. That a lease had ended before is told by the next `flush`."""
        await self._settle("ack", held)

    async def nack(self, *held: Message, delay_s: float = 0.0) -> None:
        """These are handed out again, after `delay_s`."""
        await self._settle("nack", held, delay_s=delay_s)

    async def extend(self, *held: Message, lease_s: float) -> None:
        """The leases of these end `lease_s` from now."""
        await self._settle("extend", held, lease_s=lease_s)

    async def consume(
        self, topic: str, *, credit: int = 100, subscription: str = "default", lease_s: float | None = None,
        idle_s: float | None = None,
    ) -> AsyncIterator[Message]:  # fmt: skip
        """Messages as they come, never more than `credit` of them unsettled: ack each. Ends after `idle_s` without one,
        or when the loop is left; what was not settled then stays leased until the session ends."""
        came: asyncio.Queue[Message | errors.Error] = asyncio.Queue()
        await self._room()
        id = self._talk.consume(
            topic, credit=credit, subscription=subscription, lease_s=lease_s, deliver=came.put_nowait,
            drop=lambda: _empty(came), failed=came.put_nowait,
        )  # fmt: skip
        await self._tell()
        try:
            while True:
                try:
                    async with asyncio.timeout(idle_s):
                        found = await came.get()
                except TimeoutError:
                    return
                if isinstance(found, errors.Error):
                    raise found
                yield found
        finally:
            self._talk.cancel(id)
            await self._tell()

    async def flush(self) -> None:
        """Return when everything that was said is answered. Raises the first Error of those since the last flush."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._talk.unanswered)
        failed = self._talk.take_failure()
        if failed is not None:
            raise failed

    async def close(self) -> None:
        """End the session: what is leased and not settled goes back. Where it looks for a connection, it stops that,
        after `Retry.connect_s` at most."""
        self._is_over = True
        await self._tell()
        await self._connection.close()
        await asyncio.gather(*self._tasks)

    async def _settle(self, how: How, held: Sequence[Message], **fields: float) -> None:
        await self._room()
        self._talk.settle(how, held, **fields)
        await self._tell()

    async def _room(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._talk.unanswered < UNANSWERED_MAX or self._is_over)
        if self._is_over:
            raise errors.CannotConnect(self._over, code="session_over")

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _resolver(self, future: asyncio.Future[Published]) -> Callable[[Published | errors.Error], None]:
        def resolve(found: Published | errors.Error) -> None:
            if isinstance(found, errors.Error):
                if not future.done():
                    future.set_exception(found)
                    # It is told by `flush` as well: nobody need ask the future.
                    future.exception()
            elif not future.done():
                future.set_result(found)

        return resolve

    # -- the connection --------------------------------------------------------------------------------------

    async def _connect(self) -> ClientConnection:
        """A connection with whichever node takes one. Raises Error when the time is over."""
        while True:
            url = self._nodes.current
            try:
                connection: ClientConnection = await connect(
                    wire.session_url(url), open_timeout=self._retry.connect_s, **self._options(url)
                )
                self._search.found()
                self._url = url
                return connection
            except (OSError, WebSocketException) as failure:
                error = wire.session_refused(url, failure)
            await self._pause(self._search.failed(url, error))

    async def _pause(self, seconds: float) -> None:
        """Raises Error where the session ends meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._is_over)
        if self._is_over:
            raise errors.CannotConnect(self._over, code="session_over")

    async def _read(self) -> None:
        try:
            while await self._read_to_the_end():
                pass
        finally:
            self._is_over = True
            self._talk.give_up(errors.OutcomeUnknown(self._over, code="session_over"))
            await self._tell()

    async def _read_to_the_end(self) -> bool:
        """Take what one connection says. -> whether there is another one."""
        try:
            async for text in self._connection:
                self._talk.hear(text)
                await self._tell()
        except WebSocketException:
            pass
        except errors.Error as error:
            self._end(error)
            return False
        return not self._is_over and await self._connect_again()

    async def _connect_again(self) -> bool:
        was_of_use = self._talk.is_of_use
        self._talk.begin_again()
        await self._connection.close()
        try:
            await self._pause(self._search.lost(self._url, was_of_use=was_of_use))
            connection = await self._connect()
        except errors.Error as error:
            self._end(error)
            return False
        if self._is_over:
            await connection.close()
            return False
        self._connection = connection
        await self._tell()
        return True

    def _end(self, error: errors.Error) -> None:
        """What is unanswered fails for this reason, unless the session was closed."""
        if not self._is_over:
            self._over = f"The session is over: {error.detail}"

    async def _write(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: self._is_over or (self._talk.has_frame and self._connection is not self._broken)
                )
            if self._is_over:
                return
            connection, frame = self._connection, self._talk.next_frame()
            try:
                await connection.send(frame, text=True)
            except WebSocketException:
                self._broken = connection


def _empty(came: asyncio.Queue[Message | errors.Error]) -> None:
    while not came.empty():
        came.get_nowait()
