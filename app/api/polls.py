"""Long polls: requests that wait for a message, woken one at a time.

Theory: a publish that woke every waiter of its topic would make each of them ask the log for one message. So waiters
stand in lines, one for each subscription of a topic. The machine's notice wakes the waiter that came first in each line
of the topic, provided that this node's own state shows something for that subscription; and only who got messages wakes
the next one, if there are more. A waiter that leaves after it was woken hands its turn on. Each line has one watch on
the machine, whatever the number of its waiters.

Rules of this file: everything but `notice` runs on the event loop; `notice` may be called from the thread
that applies.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from app.api.calls import ClientGone


class _Result(Protocol):
    @property
    def messages(self) -> Sequence[Any]: ...

    @property
    def more(self) -> bool: ...

    @property
    def final(self) -> bool: ...


class Caller(Protocol):
    """Who waits, as far as this file has to know: `disconnected` returns when nobody waits any more."""

    async def disconnected(self) -> None: ...


T = TypeVar("T", bound=_Result)
Place = tuple[str, str]
"""A topic and a subscription of it."""


class Watchable(Protocol):
    """The part of a state machine that this file needs: `callback` runs after a commit that made messages ready."""

    def watch(self, topic: str, callback: Callable[..., None]) -> None: ...

    def unwatch(self, topic: str, callback: Callable[..., None]) -> None: ...

    def ready(self, topic: str, subscription: str) -> int | None: ...


class _Line:
    """Who waits in one place. `members` counts those whose turn has come, too, until they leave."""

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
        self._lines: dict[Place, _Line] = {}
        self._end: asyncio.Task[None] | None = None

    @property
    def are_over(self) -> bool:
        """Whether the node stops, so that nobody waits any more."""
        return self._stopping.is_set()

    def waiting(self) -> int:
        """How many requests wait."""
        return sum(line.members for line in self._lines.values())

    async def receive(
        self, caller: Caller, place: Place, wait_s: float, take: Callable[[], Awaitable[T]],
        give_back: Callable[[T], Awaitable[None]],
    ) -> T:  # fmt: skip
        """`take` until it brings messages, or says that it never will, for `wait_s` at most; the last, empty, result
        otherwise.

        Raises ClientGone when the client hangs up while it waits, after `give_back` of what was taken for it; and
        whatever `take` raises.
        """
        deadline = asyncio.get_running_loop().time() + wait_s
        gone = asyncio.ensure_future(caller.disconnected())
        # In line before it looks, so that a message which comes while it looks is not missed.
        turn = self._enter(place)
        try:
            received = await take()
            while not (received.messages or received.final) and await self._turn_comes(
                turn, gone, deadline, at_once=received.more
            ):
                next_turn = self._enter(place)
                self._leave(place, turn, hand_on=False)
                turn = next_turn
                received = await take()
            empty = not received.messages
            if not empty and gone.done():
                await give_back(received)
                raise ClientGone
        except BaseException:
            self._leave(place, turn, hand_on=True)
            raise
        finally:
            gone.cancel()
        self._leave(place, turn, hand_on=not empty or received.final)
        return received

    async def _turn_comes(
        self, turn: asyncio.Future[None], gone: asyncio.Future[None], deadline: float, *, at_once: bool
    ) -> bool:
        """Wait, unless it is the turn already; False when the time is over or the node stops."""
        timeout_s = deadline - asyncio.get_running_loop().time()
        if timeout_s > 0 and not at_once and not self._stopping.is_set():
            await asyncio.wait((turn, gone), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise ClientGone
        return (turn.done() or (at_once and timeout_s > 0)) and not self._stopping.is_set()

    def _enter(self, place: Place) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if self._end is None:
            self._end = loop.create_task(self._wake_all_when_stopping())
        line = self._lines.get(place)
        if line is None:

            def notice(*_: object) -> None:
                loop.call_soon_threadsafe(self._wake, place)

            line = self._lines[place] = _Line(notice)
            self._machine.watch(place[0], notice)
        turn: asyncio.Future[None] = loop.create_future()
        line.members += 1
        line.waiting.append(turn)
        return turn

    def _leave(self, place: Place, turn: asyncio.Future[None], *, hand_on: bool) -> None:
        """Step out of the line. `hand_on`: a turn that came is the next one's, as there may be messages."""
        line = self._lines[place]
        if not turn.done():
            line.waiting.remove(turn)
            turn.cancel()
        if hand_on:
            self._wake(place)
        line.members -= 1
        if line.members == 0:
            assert not line.waiting
            del self._lines[place]
            self._machine.unwatch(place[0], line.notice)

    def _wake(self, place: Place) -> None:
        """The next one's turn, if this node's own state has something for it; what it has not applied yet brings its
        own notice."""
        line = self._lines.get(place)
        if line is not None and line.waiting and self._machine.ready(*place) != 0:
            line.waiting.popleft().set_result(None)

    async def _wake_all_when_stopping(self) -> None:
        await self._stopping.wait()
        for line in list(self._lines.values()):
            while line.waiting:
                line.waiting.popleft().set_result(None)
