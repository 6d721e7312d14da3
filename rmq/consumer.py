"""Consuming with threads: an iterator, and workers.

    for message in client.consume("orders"):         one by one, in the caller's thread
        ...

    @client.consume("orders", concurrency=8)         in threads of its own
    def work(message): ...

    work.run()                                       until SIGTERM, or `work.stop()`

Rules of this file: a message leaves `_held` before it is settled, so that nobody extends what is over; whatever was
received is worked on or given back, also when the consumer stops.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
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
    from rmq.client import Client

GLANCE_S = 0.2
Work = Callable[[Message], object]


class _Hand:
    """The messages in hand, whose leases a thread extends from `with` to its end."""

    def __init__(self, client: Client, plan: Plan) -> None:
        self._client, self._plan = client, plan
        self._held: dict[str, Message] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._extend, name=f"rmq-leases-{plan.topic}", daemon=True)

    def __enter__(self) -> _Hand:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def __len__(self) -> int:
        return len(self._held)

    def receive(self, most: int) -> list[Message]:
        """What comes within the plan's wait; none while there is no majority. Raises what will not pass,
        and what ended the thread."""
        plan = self._plan
        if self._failure is not None:
            raise self._failure
        try:
            received = self._client.receive(
                plan.topic, max=most, wait_s=plan.wait_s, lease_s=plan.lease_s, subscription=plan.subscription
            )
        except errors.Error as error:
            if not passes(error):
                raise
            say_waiting("cannot receive", error)
            self._over.wait(PAUSE_S)
            return []
        with self._lock:
            self._held.update((message.token or "", message) for message in received)
        return received

    def ack(self, *messages: Message) -> None:
        """The work is done."""
        self._settle("acked", messages, lambda: self._client.ack(*messages))

    def nack(self, *messages: Message, delay_s: float = 0.0) -> None:
        """It is for somebody else, or for later."""
        self._settle("given back", messages, lambda: self._client.nack(*messages, delay_s=delay_s))

    def give_back(self) -> None:
        """All that is still in hand."""
        self.nack(*list(self._held.values()))

    def _settle(self, how: str, messages: tuple[Message, ...], call: Callable[[], None]) -> None:
        with self._lock:
            for message in messages:
                self._held.pop(message.token or "", None)
        try:
            if messages:
                call()
        except errors.LeaseLost as lost:
            say_lost([message for message in messages if message.token in lost.tokens])
        except errors.Error as error:
            say_unsettled(len(messages), how, error)

    def _extend(self) -> None:
        while not self._over.wait(self._plan.extend_every_s):
            with self._lock:
                held = list(self._held.values())
            try:
                if held:
                    self._client.extend(*held, lease_s=self._plan.lease_s)
            except errors.LeaseLost as lost:
                self._drop(held, lost)
            except errors.Error as error:
                say_waiting("cannot extend leases", error)
            except BaseException as failure:
                self._failure = failure
                return

    def _drop(self, held: list[Message], lost: errors.LeaseLost) -> None:
        with self._lock:
            # One that was settled meanwhile is over, and not lost.
            gone = [each for each in held if each.token in lost.tokens and each.token in self._held]
            for each in gone:
                del self._held[each.token or ""]
        if gone:
            say_lost(gone)


class Consumer:
    """Messages of a topic, as they come: iterate over it, or decorate a function with it. Made by `Client.consume`."""

    def __init__(self, client: Client, plan: Plan) -> None:
        self._client, self._plan = client, plan
        self._stopping = threading.Event()
        self._inside: contextlib.ExitStack | None = None
        self._current: weakref.ref[Generator[Message]] | None = None

    def stop(self) -> None:
        """Finish what is in work, give back the rest, end. May be called from anywhere."""
        self._stopping.set()

    def __call__(self, work: Work) -> Worker:
        """Raises TypeError for an async or a generator function."""
        check_work(work, may_be_async=False)
        return Worker(self._client, self._plan, work)

    def __enter__(self) -> Consumer:
        self._inside = contextlib.ExitStack()
        self._inside.enter_context(stop_at_signals(self.stop, wanted=self._plan.signals))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._inside is not None
        with self._inside:
            current = self._current() if self._current is not None else None
            if current is not None:
                current.close()

    def __iter__(self) -> Iterator[Message]:
        """One message after the other. It is acked when the next one is asked for, and given back if the loop is left
        before: `break` and exceptions alike."""
        found = self._messages()
        # Held here, it would outlive its loop: it holds this object, too.
        self._current = weakref.ref(found)
        return found

    def _messages(self) -> Generator[Message]:
        ready: list[Message] = []
        idle_since = time.monotonic()
        with _Hand(self._client, self._plan) as hand:
            try:
                while not self._stopping.is_set():
                    if not ready:
                        ready = hand.receive(self._plan.capacity)
                    if not ready:
                        if self._plan.is_idle(idle_since):
                            return
                        continue
                    yield ready[0]
                    hand.ack(ready.pop(0))
                    idle_since = time.monotonic()
            finally:
                hand.nack(*ready)


class Worker:
    """A function that is called with each message of a topic. It is still the function: call it with a message to try
    it."""

    def __init__(self, client: Client, plan: Plan, work: Work) -> None:
        self._client, self._plan, self._work = client, plan, work
        self._has_run = False
        self._stopping = threading.Event()
        self._settled: queue.SimpleQueue[tuple[Message, float | None] | None]
        self._room: threading.Semaphore
        self._failure: BaseException | None = None

    def __call__(self, message: Message) -> object:
        return self._work(message)

    def stop(self) -> None:
        """Finish what is in work, give back the rest; `run` returns then. Before the first `run` it stops that one.
        May be called from anywhere."""
        self._stopping.set()

    def run(self, *, signals: bool = True) -> None:
        """Work until `stop`, or until `idle_s` without a message. Raises what ends a consumer for good, such as
        TopicNotFound, or SystemExit from the work.

        `signals`: SIGTERM and SIGINT stop it, too, where this is the main thread and the program has no handler of its
        own for them; at the end all is as it was. With False, here or in `consume`, it touches none."""
        plan, self._failure = self._plan, None
        if self._has_run:
            self._stopping.clear()
        self._has_run = True
        self._room, self._settled = threading.Semaphore(plan.capacity), queue.SimpleQueue()
        with stop_at_signals(self.stop, wanted=signals and plan.signals), _Hand(self._client, plan) as hand:
            settler = threading.Thread(target=self._settle, args=(hand,), name=f"rmq-acks-{plan.topic}", daemon=True)
            settler.start()
            pool = ThreadPoolExecutor(plan.concurrency, thread_name_prefix=f"rmq-{plan.topic}")
            fetcher = threading.Thread(target=self._fetch, args=(hand, pool), name=f"rmq-{plan.topic}-in", daemon=True)
            fetcher.start()
            try:
                while fetcher.is_alive():
                    # A signal that another thread gets does not wake this one: so it looks up now and then.
                    fetcher.join(GLANCE_S)
            finally:
                # Also where a handler of the program's own raises here.
                self.stop()
                fetcher.join()
                pool.shutdown()
                self._settled.put(None)
                settler.join()
                hand.give_back()
        if self._failure is not None:
            raise self._failure

    def _fetch(self, hand: _Hand, pool: ThreadPoolExecutor) -> None:
        idle_since = time.monotonic()
        try:
            while not self._stopping.is_set():
                if not self._room.acquire(timeout=0.2):
                    idle_since = time.monotonic()
                    continue
                slots = 1
                while slots < self._plan.capacity and self._room.acquire(blocking=False):
                    slots += 1
                received = hand.receive(slots)
                if slots > len(received):
                    self._room.release(slots - len(received))
                for message in received:
                    pool.submit(self._do, message)
                if received or len(hand):
                    idle_since = time.monotonic()
                elif self._plan.is_idle(idle_since):
                    return
        except BaseException as failure:
            self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        """This ends the worker; `run` raises the first one."""
        self._failure = self._failure or failure
        self.stop()

    def _do(self, message: Message) -> None:
        self._settled.put((message, 0.0 if self._stopping.is_set() else self._work_on(message)))

    def _work_on(self, message: Message) -> float | None:
        """-> None where it went well, else the seconds until the message is handed out again."""
        try:
            check_done(self._work(message))
        except BaseException as failure:
            delay_s = self._plan.delay_s(message)
            say_failed(message, delay_s)
            if not isinstance(failure, Exception):
                # SystemExit, most likely: the work wants the program to end, and `run` is where it can.
                self._fail(failure)
            return delay_s
        return None

    def _settle(self, hand: _Hand) -> None:
        try:
            while self._settle_some(hand):
                pass
        except BaseException as failure:
            self._fail(failure)

    def _settle_some(self, hand: _Hand) -> bool:
        """Acks and nacks, as many in a call as have gathered. -> whether there may be more."""
        gathered = [self._settled.get()]
        with contextlib.suppress(queue.Empty):
            while len(gathered) < 1000:
                gathered.append(self._settled.get_nowait())
        ends = [end for end in gathered if end is not None]
        if ends:
            # The next ones may come while these are being settled: all go into the nodes' log together.
            self._room.release(len(ends))
        hand.ack(*(message for message, delay_s in ends if delay_s is None))
        for delay_s in {delay_s for _, delay_s in ends if delay_s is not None}:
            hand.nack(*(message for message, each in ends if each == delay_s), delay_s=delay_s)
        return None not in gathered
