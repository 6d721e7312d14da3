"""Long polls: requests that wait for a message, each in its turn.

Theory: a publish that woke every waiter of its topic would make each of them ask the log for one message. So waiters
stand in lines, one for each subscription of a topic, and ask when their turn has come. The machine's notice gives a
turn to the one that came first in each line of the topic, provided that this node's own state shows more for that
subscription than those want whose turn it is. Who got messages gives turns to two more, if there is more, so that many
messages at once soon reach as many; who asked in vain to nobody, since what is ready may be held by a group; and who
could not ask to the next one. Who comes stands at the end: who has just been served waits for those before him. But who
has never asked does so in a moment, since this node's own state may be an old one, and nobody is to be told that there
is nothing who has not asked.

Each line has one watch on the machine, whatever the number of its waiters.

Rules of this file: no notice is lost. One that could give no turn is remembered, and whoever comes, or is done asking,
gives it. Everything but `notice` runs on the event loop; `notice` may be called from the thread that applies.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from app.api.calls import ClientGone
from app.broker.errors import StateFull

PATIENCE_S = 0.1
"""Who has not asked yet does so after this, whether its turn has come or not; and who asks for longer keeps nobody
waiting."""
SPREAD = 2
"""Who has got messages gives a turn to so many."""


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


class _Turn:
    """One waiter's, for `wanted` messages at most. `counts`: it has come, and is young, so that these may be gone."""

    __slots__ = ("came", "counts", "given_at", "wanted")

    def __init__(self, wanted: int) -> None:
        self.wanted, self.counts, self.given_at = wanted, False, 0.0
        self.came: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Line:
    """Who waits in one place. `members` counts those whose turn has come, too, until they leave."""

    __slots__ = ("_given", "is_missed", "is_timed", "members", "notice", "place", "waiting", "wanted")

    def __init__(self, place: Place, notice: Callable[..., None]) -> None:
        self.place, self.notice = place, notice
        self.waiting: deque[_Turn] = deque()
        self.members = 0
        self.is_missed = self.is_timed = False
        """Whether there was something for which nobody got a turn; whether somebody will look at that again."""
        self.wanted = 0
        """By those whose turn counts."""
        self._given: deque[_Turn] = deque()

    def stand(self, wanted: int) -> _Turn:
        """A place at the end."""
        turn = _Turn(wanted)
        self.waiting.append(turn)
        return turn

    def give(self, turn: _Turn, now: float) -> None:
        """It is the turn of one who waits. Who takes long at it does not hold up the others."""
        self.forget_old(now)
        self.waiting.remove(turn)
        self.wanted += turn.wanted
        turn.counts, turn.given_at = True, now
        self._given.append(turn)
        turn.came.set_result(None)

    def forget_old(self, now: float) -> None:
        """Turns that were given some time ago do not count any more."""
        while self._given and (not self._given[0].counts or self._given[0].given_at < now - PATIENCE_S):
            self._discount(self._given.popleft())

    def withdraw(self, turn: _Turn) -> None:
        """One who waits, or whose turn it is, does so no more."""
        if turn.came.done():
            self._discount(turn)
        else:
            self.waiting.remove(turn)

    def _discount(self, turn: _Turn) -> None:
        if turn.counts:
            turn.counts = False
            self.wanted -= turn.wanted


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

    def is_waited(self, place: Place) -> bool:
        """Whether somebody waits there for his turn."""
        line = self._lines.get(place)
        return line is not None and bool(line.waiting)

    async def receive(
        self, caller: Caller, place: Place, wait_s: float, take: Callable[[], Awaitable[T]],
        give_back: Callable[[T], Awaitable[None]], *, wanted: int, again: bool = False,
    ) -> T:  # fmt: skip
        """`take` up to `wanted` messages, until there are some, or it says that it never will bring any, for `wait_s`
        at most; the last, empty, result otherwise. `again`: the same caller has asked before, and is owed no look where
        this node's own state shows nothing, until its time is over.

        Raises ClientGone when the client hangs up while it waits, after `give_back` of what was taken for it; and
        whatever `take` raises.
        """
        gone = asyncio.ensure_future(caller.disconnected())
        line = self._enter(place)
        is_alone = line.members == 1
        try:
            patience_s = wait_s if again else 0 if is_alone else PATIENCE_S
            turn = line.stand(wanted)
            received = await self._in_line(line, turn, gone, wait_s, patience_s, take, is_alone=is_alone)
        finally:
            gone.cancel()
            self._leave(line)
        if received.messages and gone.done():
            await give_back(received)
            raise ClientGone
        return received

    async def _in_line(
        self, line: _Line, turn: _Turn, gone: asyncio.Future[None], wait_s: float, patience_s: float,
        take: Callable[[], Awaitable[T]], *, is_alone: bool,
    ) -> T:  # fmt: skip
        now = asyncio.get_running_loop().time
        deadline = now() + wait_s
        until = now() + min(wait_s, patience_s)
        received, is_vain = None, False
        try:
            if is_alone or line.is_missed:
                self._wake(line)
            while True:
                await self._turn_comes(turn, gone, until - now())
                if received is not None and (self._stopping.is_set() or not turn.came.done()):
                    return received
                if not turn.came.done():
                    line.give(turn, now())
                received = await take()
                is_vain = not (received.messages or received.final)
                if not is_vain or self._stopping.is_set() or now() >= deadline:
                    return received
                until = deadline
                line.withdraw(turn)
                turn, is_vain = line.stand(turn.wanted), False
                if received.more:
                    line.give(turn, now())
                elif line.is_missed:
                    self._wake(line)
        finally:
            line.withdraw(turn)
            if turn.came.done() and (line.is_missed or not is_vain):
                for _ in range(SPREAD if received is not None and received.messages else 1):
                    self._wake(line)

    async def _turn_comes(self, turn: _Turn, gone: asyncio.Future[None], timeout_s: float) -> None:
        """Wait for it, for so long. Raises ClientGone."""
        if timeout_s > 0 and not (turn.came.done() or self._stopping.is_set()):
            await asyncio.wait((turn.came, gone), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise ClientGone

    def _enter(self, place: Place) -> _Line:
        loop = asyncio.get_running_loop()
        if self._end is None:
            self._end = loop.create_task(self._wake_all_when_stopping())
        line = self._lines.get(place)
        if line is None:

            def notice(*_: object) -> None:
                loop.call_soon_threadsafe(self._notice, place)

            line = self._lines[place] = _Line(place, notice)
            self._machine.watch(place[0], notice)
        line.members += 1
        return line

    def _leave(self, line: _Line) -> None:
        line.members -= 1
        if line.members == 0:
            assert not line.waiting
            del self._lines[line.place]
            self._machine.unwatch(line.place[0], line.notice)

    def _notice(self, place: Place) -> None:
        line = self._lines.get(place)
        if line is not None:
            self._wake(line)

    def _wake(self, line: _Line) -> None:
        """The next one's turn, if this node's own state has something for it; what it has not applied yet brings its
        own notice."""
        now = asyncio.get_running_loop().time()
        line.forget_old(now)
        line.is_missed = False
        try:
            ready = self._machine.ready(*line.place)
        except StateFull:
            ready = None  # Nobody knows, so let the log be asked.
        if ready == 0:
            return
        if line.waiting and (ready is None or ready > line.wanted):
            line.give(line.waiting[0], now)
            return
        line.is_missed = True
        if line.waiting and not line.is_timed:
            line.is_timed = True
            asyncio.get_running_loop().call_later(PATIENCE_S, self._look_again, line)

    def _look_again(self, line: _Line) -> None:
        """Whoever kept others waiting may still be asking."""
        line.is_timed = False
        if line.is_missed:
            self._wake(line)

    async def _wake_all_when_stopping(self) -> None:
        await self._stopping.wait()
        now = asyncio.get_running_loop().time()
        for line in self._lines.values():
            while line.waiting:
                line.give(line.waiting[0], now)
