"""Long polls: requests that wait for a message, woken one at a time.

Theory: a publish that woke every waiter of its topic would make each of them ask the log for one message.
So the machine's notice wakes the waiter that came first, and only who got messages wakes the next one, if this
node's own state shows more. A waiter that leaves after it was woken hands its turn on. Each topic that somebody
waits for has one watch on the machine, whatever the number of waiters.

Rules of this file: everything but `notice` runs on the event loop; `notice` may be called from the thread
that applies.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from app.api.calls import Call, ClientGone
from app.broker import TopicInfo


class _Result(Protocol):
    @property
    def messages(self) -> Sequence[Any]: ...


T = TypeVar("T", bound=_Result)


class Watchable(Protocol):
    """The part of a state machine that this file needs: `callback` runs after a commit that brought messages."""

    def watch(self, topic: str, callback: Callable[..., None]) -> None: ...

    def unwatch(self, topic: str, callback: Callable[..., None]) -> None: ...

    def topic(self, name: str) -> TopicInfo | None: ...


class _Line:
    """Who waits for one topic. `members` counts those whose turn has come, too, until they leave."""

    __slots__ = ("members", "notice", "waiting")

    def __init__(self, notice: Callable[..., None]) -> None:
        self.notice = notice
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.members = 0


class LongPolls:
    """The waiters of one node. `stopping` ends them all."""

    def __init__(self, machine: Watchable, stopping: asyncio.Event) -> None:
        self._machine = machine
        self._stopping = stopping
        self._lines: dict[str, _Line] = {}
        self._end: asyncio.Task[None] | None = None

    def waiting(self) -> int:
        """How many requests wait."""
        return sum(line.members for line in self._lines.values())

    async def receive(self, call: Call, topic: str, wait_s: float, take: Callable[[], Awaitable[T]]) -> T:
        """`take` until it brings messages, for `wait_s` at most; the last, empty, result otherwise.

        Raises ClientGone when the client hangs up while it waits, and whatever `take` raises.
        """
        deadline = asyncio.get_running_loop().time() + wait_s
        gone = asyncio.ensure_future(call.disconnected())
        # In line before it looks, so that a message which comes while it looks is not missed.
        turn = self._enter(topic)
        try:
            received = await take()
            while not received.messages and await self._turn_comes(turn, gone, deadline):
                next_turn = self._enter(topic)
                self._leave(topic, turn, hand_on=False)
                turn = next_turn
                received = await take()
            empty = not received.messages
        except BaseException:
            self._leave(topic, turn, hand_on=True)
            raise
        finally:
            gone.cancel()
        self._leave(topic, turn, hand_on=not empty)
        return received

    async def _turn_comes(self, turn: asyncio.Future[None], gone: asyncio.Future[None], deadline: float) -> bool:
        """Wait; False when the time is over or the node stops."""
        timeout_s = deadline - asyncio.get_running_loop().time()
        if timeout_s > 0 and not self._stopping.is_set():
            await asyncio.wait((turn, gone), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise ClientGone
        return turn.done() and not self._stopping.is_set()

    def _enter(self, topic: str) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if self._end is None:
            self._end = loop.create_task(self._wake_all_when_stopping())
        line = self._lines.get(topic)
        if line is None:

            def notice(*_: object) -> None:
                loop.call_soon_threadsafe(self._wake, topic)

            line = self._lines[topic] = _Line(notice)
            self._machine.watch(topic, notice)
        turn: asyncio.Future[None] = loop.create_future()
        line.members += 1
        line.waiting.append(turn)
        return turn

    def _leave(self, topic: str, turn: asyncio.Future[None], *, hand_on: bool) -> None:
        """Step out of the line. `hand_on`: a turn that came is the next one's, as there may be messages."""
        line = self._lines[topic]
        if not turn.done():
            line.waiting.remove(turn)
            turn.cancel()
        if hand_on and self._may_hold(topic):
            self._wake(topic)
        line.members -= 1
        if line.members == 0:
            assert not line.waiting
            del self._lines[topic]
            self._machine.unwatch(topic, line.notice)

    def _may_hold(self, topic: str) -> bool:
        """Whether this node's own state has a message left; one that it has not applied yet brings its own notice."""
        info = self._machine.topic(topic)
        return info is None or info.messages > 0

    def _wake(self, topic: str) -> None:
        line = self._lines.get(topic)
        if line is not None and line.waiting:
            line.waiting.popleft().set_result(None)

    async def _wake_all_when_stopping(self) -> None:
        await self._stopping.wait()
        for topic, line in list(self._lines.items()):
            while line.waiting:
                self._wake(topic)
