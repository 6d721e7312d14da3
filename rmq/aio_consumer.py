"""Consuming with tasks: an iterator, and workers.

    async for message in client.consume("orders"):         one by one
        ...

    @client.consume("orders", concurrency=8)               in tasks of their own
    async def work(message): ...

    await work.run()                                       until SIGTERM, or `work.stop()`

Rules of this file: as in `consumer`. Everything runs on one event loop, so nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from rmq import errors
from rmq.consuming import (
    PAUSE_S,
    Plan,
    check_done,
    check_work,
    passes,
    say_failed,
    say_lost,
    say_unsettled,
    say_waiting,
)
from rmq.messages import Message
from rmq.stopping import stop_at_signals

if TYPE_CHECKING:
    from rmq.aio import AsyncClient

Work = Callable[[Message], Awaitable[object] | object]
Task = asyncio.Task[None]
End = tuple[Message, float | None]
"""A message, and how its work ended: None for well, else the seconds until it is handed out again."""


class _Hand:
    """The messages in hand, whose leases a task extends from `async with` to its end."""

    def __init__(self, client: AsyncClient, plan: Plan) -> None:
        self._client, self._plan = client, plan
        self._held: dict[str, Message] = {}
        self._failure: BaseException | None = None

    async def __aenter__(self) -> _Hand:
        self._task = asyncio.create_task(self._extend())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    def __len__(self) -> int:
        return len(self._held)

    async def receive(self, most: int) -> list[Message]:
        """What comes within the plan's wait; none while there is no majority. Raises what will not pass,
        and what ended the task."""
        plan = self._plan
        if self._failure is not None:
            raise self._failure
        try:
            received = await self._client.receive(
                plan.topic, max=most, wait_s=plan.wait_s, lease_s=plan.lease_s, subscription=plan.subscription
            )
        except errors.Error as error:
            if not passes(error):
                raise
            say_waiting("cannot receive", error)
            await asyncio.sleep(PAUSE_S)
            return []
        self._held.update((message.token or "", message) for message in received)
        return received

    def leave(self, messages: Sequence[Message]) -> None:
        """These are in hand no longer."""
        for message in messages:
            self._held.pop(message.token or "", None)

    async def ack(self, *messages: Message) -> None:
        """The work is done."""
        await self._settle("acked", messages, lambda: self._client.ack(*messages))

    async def nack(self, *messages: Message, delay_s: float = 0.0) -> None:
        """It is for somebody else, or for later."""
        await self._settle("given back", messages, lambda: self._client.nack(*messages, delay_s=delay_s))

    async def give_back(self) -> None:
        """All that is still in hand."""
        await self.nack(*list(self._held.values()))

    async def _settle(self, how: str, messages: tuple[Message, ...], call: Callable[[], Awaitable[None]]) -> None:
        self.leave(messages)
        try:
            if messages:
                await call()
        except errors.LeaseLost as lost:
            say_lost([message for message in messages if message.token in lost.tokens])
        except errors.Error as error:
            say_unsettled(len(messages), how, error)

    async def _extend(self) -> None:
        while True:
            await asyncio.sleep(self._plan.extend_every_s)
            held = list(self._held.values())
            try:
                if held:
                    await self._client.extend(*held, lease_s=self._plan.lease_s)
            except errors.LeaseLost as lost:
                # One that was settled meanwhile is over, and not lost.
                gone = [each for each in held if each.token in lost.tokens and each.token in self._held]
                for each in gone:
                    del self._held[each.token or ""]
                if gone:
                    say_lost(gone)
            except errors.Error as error:
                say_waiting("cannot extend leases", error)
            except Exception as failure:
                self._failure = failure
                return


class AsyncConsumer:
    """Messages of a topic, as they come: iterate over it, or decorate a coroutine function with it. Made by
    `AsyncClient.consume`."""

    def __init__(self, client: AsyncClient, plan: Plan) -> None:
        self._client, self._plan = client, plan
        self._stopping = asyncio.Event()
        self._current: AsyncGenerator[Message] | None = None
        self._inside: contextlib.ExitStack | None = None

    def stop(self) -> None:
        """Finish what is in work, give back the rest, end. On the event loop's thread."""
        self._stopping.set()

    def __call__(self, work: Work) -> AsyncWorker:
        """`work` is an async function; a plain one is done when it returns, and holds up the loop until then. Raises
        TypeError for a generator function."""
        check_work(work, may_be_async=True)
        return AsyncWorker(self._client, self._plan, work)

    async def __aenter__(self) -> AsyncConsumer:
        self._inside = contextlib.ExitStack()
        self._inside.enter_context(stop_at_signals(_from_anywhere(self.stop), wanted=self._plan.signals))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._inside is not None
        current, self._current = self._current, None
        inside, self._inside = self._inside, None
        with inside:
            if current is not None:
                await current.aclose()

    def __aiter__(self) -> AsyncIterator[Message]:
        """One message after the other. It is acked when the next one is asked for, and given back if the loop is left
        before: `break` and exceptions alike. Inside `async with` that is done when it ends; without, the event loop
        does it after the loop was left, as far as it and the client live so long."""
        found = self._messages()
        if self._inside is not None:
            # Held without need, it would outlive its loop: it holds this object, too.
            self._current = found
        return found

    async def _messages(self) -> AsyncGenerator[Message]:
        ready: list[Message] = []
        idle_since = time.monotonic()
        async with _Hand(self._client, self._plan) as hand:
            try:
                while not self._stopping.is_set():
                    if not ready:
                        ready = await hand.receive(self._plan.capacity)
                    if not ready:
                        if self._plan.is_idle(idle_since):
                            return
                        continue
                    yield ready[0]
                    await hand.ack(ready.pop(0))
                    idle_since = time.monotonic()
            finally:
                await hand.nack(*ready)


class AsyncWorker:
    """A coroutine function that is called with each message of a topic. It is still the function: call it with a
    message to try it."""

    def __init__(self, client: AsyncClient, plan: Plan, work: Work) -> None:
        self._client, self._plan, self._work = client, plan, work
        self._has_run = False
        self._stopping = asyncio.Event()
        self._room = asyncio.Event()
        self._settled: asyncio.Queue[End | None]
        self._ready: asyncio.Queue[Message | None]
        self._failure: BaseException | None = None

    def __call__(self, message: Message) -> Awaitable[object] | object:
        return self._work(message)

    def stop(self) -> None:
        """Finish what is in work, give back the rest; `run` returns then. Before the first `run` it stops that one.
        On the event loop's thread."""
        self._stopping.set()
        self._room.set()

    async def run(self, *, signals: bool = True) -> None:
        """Work until `stop`, or until `idle_s` without a message. Raises what ends a consumer for good, such as
        TopicNotFound, or SystemExit from the work. `signals`: as for `Worker.run`.

        Cancelled, it finishes what is in work and gives back the rest, as at `stop`; cancelled again, it cancels what
        is in work, and gives that back, too."""
        self._settled, self._ready, self._room = asyncio.Queue(), asyncio.Queue(), asyncio.Event()
        if self._has_run:
            self._stopping.clear()
        self._has_run = True
        self._failure = None
        with stop_at_signals(_from_anywhere(self.stop), wanted=signals and self._plan.signals):
            async with _Hand(self._client, self._plan) as hand:
                settler = asyncio.create_task(self._settle(hand))
                workers = [asyncio.create_task(self._do()) for _ in range(self._plan.concurrency)]
                try:
                    await self._fetch(hand)
                finally:
                    await self._wind_up(hand, workers, settler)
        if self._failure is not None:
            raise self._failure

    async def _wind_up(self, hand: _Hand, workers: Sequence[Task], settler: Task) -> None:
        self.stop()
        while not self._ready.empty():
            if (message := self._ready.get_nowait()) is not None:
                self._settled.put_nowait((message, 0.0))
        for _ in workers:
            self._ready.put_nowait(None)
        cancelled = await _end_of(*workers, cancel=True)
        self._settled.put_nowait(None)
        cancelled |= await _end_of(settler)
        # Where the event loop itself ends, it has cancelled the settler, too.
        cancelled |= await _end_of(asyncio.create_task(self._give_back(hand)))
        if cancelled:
            raise asyncio.CancelledError

    def _fail(self, failure: BaseException) -> None:
        """This ends the worker; `run` raises the first one."""
        self._failure = self._failure or failure
        self.stop()

    async def _fetch(self, hand: _Hand) -> None:
        idle_since = time.monotonic()
        while not self._stopping.is_set():
            room = self._plan.capacity - len(hand)
            if room < 1:
                self._room.clear()
                await self._room.wait()
                idle_since = time.monotonic()
                continue
            received = await hand.receive(room)
            for message in received:
                self._ready.put_nowait(message)
            if received or len(hand):
                idle_since = time.monotonic()
            elif self._plan.is_idle(idle_since):
                return

    async def _do(self) -> None:
        while (message := await self._ready.get()) is not None:
            delay_s = 0.0 if self._stopping.is_set() else await self._work_on(message)
            self._settled.put_nowait((message, delay_s))

    async def _work_on(self, message: Message) -> float | None:
        """-> None where it went well, else the seconds until the message is handed out again."""
        task = asyncio.current_task()
        assert task is not None
        try:
            result = self._work(message)
            check_done(await result if inspect.isawaitable(result) else result)
            if task.cancelling():
                # The work has cancelled the task that it is in: that comes out at the next wait, which is here.
                await asyncio.sleep(0)
        except (Exception, asyncio.CancelledError, SystemExit, KeyboardInterrupt) as failure:
            if isinstance(failure, asyncio.CancelledError):
                # `run` may have been cancelled just now, too, and gets its turn to say so.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
                if self._stopping.is_set():
                    return 0.0
            delay_s = self._plan.delay_s(message)
            say_failed(message, delay_s)
            if not isinstance(failure, Exception | asyncio.CancelledError):
                # The work wants the program to end, and `run` is where it can.
                self._fail(failure)
            return delay_s
        finally:
            while task.cancelling():
                # It was meant for the work: this task ends with `run`.
                task.uncancel()
        return None

    async def _settle(self, hand: _Hand) -> None:
        try:
            while await self._settle_some(hand):
                pass
        except Exception as failure:
            self._fail(failure)

    async def _settle_some(self, hand: _Hand) -> bool:
        """Acks and nacks, as many in a call as have gathered. -> whether there may be more."""
        gathered = [await self._settled.get()]
        while len(gathered) < 1000 and not self._settled.empty():
            gathered.append(self._settled.get_nowait())
        ends = [end for end in gathered if end is not None]
        done = [message for message, delay_s in ends if delay_s is None]
        hand.leave(done)
        # The next ones may come while these are being acked: all go into the nodes' log together.
        self._room.set()
        await hand.ack(*done)
        for delay_s in {delay_s for _, delay_s in ends if delay_s is not None}:
            await hand.nack(*(message for message, each in ends if each == delay_s), delay_s=delay_s)
        self._room.set()
        return None not in gathered

    async def _give_back(self, hand: _Hand) -> None:
        try:
            await hand.give_back()
        except Exception as failure:
            self._fail(failure)


async def _end_of(*tasks: Task, cancel: bool = False) -> bool:
    """Wait until these have ended, come what may. -> whether the caller was cancelled meanwhile; with `cancel` so were
    they, then."""
    cancelled = False
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            cancelled = True
            for task in tasks if cancel else ():
                task.cancel()
    return cancelled


def _from_anywhere(stop: Callable[[], None]) -> Callable[[], object]:
    """`stop`, to be called on any thread, and in the handler of a signal."""
    return partial(asyncio.get_running_loop().call_soon_threadsafe, stop)
