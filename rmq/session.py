"""A session with threads: publish without waiting for each answer, and have messages come by themselves.

Three threads share the work: the caller's, which says what it wants; one that sends, so that a slow connection holds up
nobody who reads; one that reads, and connects again when the connection is lost. What is said and heard is `Talk`'s,
under one lock.

A future's callbacks run on the thread that reads. So what they say does not wait for room, which that thread makes; and
what would wait for an answer is refused there.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from types import TracebackType
from typing import Any, Unpack

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from rmq import errors, wire
from rmq.calls import How, new_message
from rmq.messages import Body, Message, NewFields, NewMessage, Published
from rmq.policy import Nodes, Retry, Search
from rmq.talk import Talk

UNANSWERED_MAX = 2000
"""Above it, who publishes waits."""


class Session:
    """Made by `Client.session`; use it in `with`: it is flushed at the end."""

    def __init__(self, nodes: Nodes, retry: Retry, options: Callable[[str], Mapping[str, Any]]) -> None:
        self._nodes, self._retry, self._options = nodes, retry, options
        self._talk, self._search = Talk(), Search(nodes, retry, time.monotonic)
        self._changed = threading.Condition()
        self._process = os.getpid()
        self._is_over = False
        self._over = "The session is over."
        """With the reason, where it is not its user's doing."""
        self._url = ""
        """Of the node that took the connection."""
        self._connection = self._connect()
        self._threads = [
            threading.Thread(target=target, name=f"rmq-session-{target.__name__}", daemon=True)
            for target in (self._read, self._write)
        ]
        self._broken: ClientConnection | None = None
        """A connection that could not be written to: the reader will see it, too."""
        for thread in self._threads:
            thread.start()

    # -- what the caller wants -------------------------------------------------------------------------------

    def publish(self, topic: str, body: Body | NewMessage, **fields: Unpack[NewFields]) -> Future[Published]:
        """Say a message, and go on; `fields` as `Client.publish` has them, but `key`: it has a dedup_id, or gets one.

        What is published to one topic is stored in the order in which it was said. Waits only while 2,000 are
        unanswered. The future's result is the message's place; `flush` waits for all. A callback of it may publish and
        settle, but not wait.
        """
        future: Future[Published] = Future()
        message = new_message(body, **fields)
        with self._saying():
            self._talk.publish(topic, message, self._resolver(future))
        return future

    def ack(self, *held: Message) -> None:
        """These are done. That a lease had ended before is told by the next `flush`."""
        self._settle("ack", held)

    def nack(self, *held: Message, delay_s: float = 0.0) -> None:
        """These are handed out again, after `delay_s`."""
        self._settle("nack", held, delay_s=delay_s)

    def extend(self, *held: Message, lease_s: float) -> None:
        """The leases of these end `lease_s` from now."""
        self._settle("extend", held, lease_s=lease_s)

    def consume(
        self, topic: str, *, credit: int = 100, subscription: str = "default", lease_s: float | None = None,
        idle_s: float | None = None,
    ) -> Iterator[Message]:  # fmt: skip
        """Messages as they come, never more than `credit` of them unsettled: ack each. Ends after `idle_s` without one,
        or when the loop is left; what was not settled then stays leased until the session ends."""
        self._may_wait()
        came: queue.SimpleQueue[Message | errors.Error] = queue.SimpleQueue()
        with self._saying():
            id = self._talk.consume(
                topic, credit=credit, subscription=subscription, lease_s=lease_s, deliver=came.put,
                drop=lambda: _empty(came), failed=came.put,
            )  # fmt: skip
        try:
            while True:
                try:
                    found = came.get(timeout=idle_s)
                except queue.Empty:
                    return
                if isinstance(found, errors.Error):
                    raise found
                yield found
        finally:
            with self._changed:
                self._talk.cancel(id)
                self._changed.notify_all()

    def flush(self, timeout_s: float | None = None) -> None:
        """Return when everything that was said is answered. Raises the first Error of those since the last flush, and
        TimeoutError."""
        self._may_wait()
        with self._changed:
            if not self._changed.wait_for(lambda: not self._talk.unanswered, timeout_s):
                raise TimeoutError(f"{self._talk.unanswered} frames are not answered after {timeout_s} s")
            failed = self._talk.take_failure()
        if failed is not None:
            raise failed

    def close(self) -> None:
        """End the session: what is leased and not settled goes back. Where it looks for a connection, it stops that,
        after `Retry.connect_s` at most. In a forked process it does nothing: the session goes on in the other one."""
        if self._process != os.getpid():
            return
        self._may_wait()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._connection.close()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self.close()

    def _settle(self, how: How, held: Sequence[Message], **fields: float) -> None:
        with self._saying():
            self._talk.settle(how, held, **fields)

    @property
    def _is_in_a_callback(self) -> bool:
        return threading.current_thread() is self._threads[0]

    def _check_process(self) -> None:
        if self._process != os.getpid():
            text = "The session is another process's, from which this one was forked."
            raise errors.ClientClosed(text, code="client_closed")

    def _may_wait(self) -> None:
        self._check_process()
        if self._is_in_a_callback:
            raise RuntimeError("a callback runs on the thread that reads the answers: it cannot wait for one")

    @contextlib.contextmanager
    def _saying(self) -> Iterator[None]:
        """Wait until there is room, and hold the lock."""
        self._check_process()
        with self._changed:
            self._changed.wait_for(
                lambda: self._talk.unanswered < UNANSWERED_MAX or self._is_over or self._is_in_a_callback
            )
            if self._is_over:
                raise errors.CannotConnect(self._over, code="session_over")
            yield
            self._changed.notify_all()

    def _resolver(self, future: Future[Published]) -> Callable[[Published | errors.Error], None]:
        def resolve(found: Published | errors.Error) -> None:
            try:
                if isinstance(found, errors.Error):
                    future.set_exception(found)
                else:
                    future.set_result(found)
            except InvalidStateError:
                # Its user has cancelled it, perhaps just now. The message was said.
                pass

        return resolve

    # -- the connection --------------------------------------------------------------------------------------

    def _connect(self) -> ClientConnection:
        """A connection with whichever node takes one. Raises Error when the time is over."""
        while True:
            url = self._nodes.current
            try:
                made = connect(wire.session_url(url), open_timeout=self._retry.connect_s, **self._options(url))
                # Some releases connect now, some did with the line before.
                connection: ClientConnection = made.__enter__()
                self._search.found()
                self._url = url
                return connection
            except (OSError, WebSocketException) as failure:
                error = wire.session_refused(url, failure)
            self._pause(self._search.failed(url, error))

    def _pause(self, seconds: float) -> None:
        """Raises Error where the session ends meanwhile."""
        with self._changed:
            if self._changed.wait_for(lambda: self._is_over, seconds):
                raise errors.CannotConnect(self._over, code="session_over")

    def _read(self) -> None:
        try:
            while self._read_to_the_end():
                pass
        finally:
            self._give_up()

    def _read_to_the_end(self) -> bool:
        """Take what one connection says. -> whether there is another one."""
        try:
            for text in self._connection:
                self._hear(text)
        except WebSocketException:
            pass
        except errors.Error as error:
            self._end(error)
            return False
        with self._changed:
            if self._is_over:
                return False
        return self._connect_again()

    def _give_up(self) -> None:
        with self._changed:
            self._is_over = True
            self._talk.give_up(errors.OutcomeUnknown(self._over, code="session_over"))
            self._changed.notify_all()

    def _hear(self, text: str | bytes) -> None:
        with self._changed:
            self._talk.hear(text)
            self._changed.notify_all()

    def _connect_again(self) -> bool:
        with self._changed:
            was_of_use = self._talk.is_of_use
            self._talk.begin_again()
        self._connection.close()
        try:
            self._pause(self._search.lost(self._url, was_of_use=was_of_use))
            connection = self._connect()
        except errors.Error as error:
            self._end(error)
            return False
        with self._changed:
            is_wanted = not self._is_over
            if is_wanted:
                self._connection = connection
                self._changed.notify_all()
        if not is_wanted:
            connection.close()
        return is_wanted

    def _end(self, error: errors.Error) -> None:
        """What is unanswered fails for this reason, unless the session was closed."""
        with self._changed:
            if not self._is_over:
                self._over = f"The session is over: {error.detail}"

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_over or (self._talk.has_frame and self._connection is not self._broken)
                )
                if self._is_over:
                    return
                connection, frame = self._connection, self._talk.next_frame()
            try:
                connection.send(frame, text=True)
            except WebSocketException:
                self._broken = connection


def _empty(came: queue.SimpleQueue[Message | errors.Error]) -> None:
    """The program takes from it at the same time."""
    with contextlib.suppress(queue.Empty):
        while True:
            came.get_nowait()
