"""What `bench` and `verify` share: topics of their own that go away whatever happens, and how Ctrl-C reaches them.

Theory. Both run on one event loop. A signal never breaks into the middle of something there: it sets an event, or it
cancels the one task that does the work, and that task's `finally` deletes the topics. For the deletion a short time is
enough where there is a cluster, and where there is none a longer one would not help: then the sentence says what is
left, and the command that removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from rmq import errors
from rmq.aio import AsyncClient
from rmq.policy import Retry

T = TypeVar("T")
BRIEF = Retry(total_s=3.0, attempt_s=2.0, connect_s=1.0)
"""For what is not worth waiting for."""


def new_name(command: str) -> str:
    """How the names of a run's topics begin."""
    return f"rmq-{command}-{secrets.token_hex(4)}"


class OwnTopics:
    """A context: the topics made here are deleted at its end."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._names: list[str] = []

    async def create(self, client: AsyncClient, name: str) -> None:
        """Make one. Raises Error."""
        self._names.append(name)
        try:
            await client.create_topic(name)
        except errors.Unavailable:
            # It did not happen, so there is nothing to delete. After any other error there may be.
            self._names.remove(name)
            raise

    async def __aenter__(self) -> OwnTopics:
        return self

    async def __aexit__(self, *_: object) -> None:
        async with AsyncClient(self._urls, retry=BRIEF) as client:
            try:
                while self._names:
                    with contextlib.suppress(errors.TopicNotFound):
                        await client.delete_topic(self._names[-1])
                    self._names.pop()
            except errors.Error as error:
                for name in self._names:
                    text = f"rmq: the topic {name} could not be deleted ({error.code}): `rmq topic rm {name} --yes`."
                    print(text, file=sys.stderr)


def run(work: Callable[[asyncio.Event], Coroutine[Any, Any, T]], *, patient: bool = False) -> T:
    """What the coroutine returns. SIGTERM cancels it; so does Ctrl-C, where it is `patient` the second one: the first
    one sets the event. Raises KeyboardInterrupt then, or SystemExit."""
    caught: list[int] = []

    async def guarded() -> T | None:
        loop, task, enough = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
        assert task is not None

        def handle(number: int) -> None:
            if number == signal.SIGINT and patient and not enough.is_set():
                enough.set()
            elif not caught:
                caught.append(number)
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            # Not everywhere, nor in a thread: then Ctrl-C cancels, as asyncio has it.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, handle, number)
        try:
            return await work(enough)
        except asyncio.CancelledError:
            if not caught:
                raise
            return None

    result = asyncio.run(guarded())
    if caught:
        raise KeyboardInterrupt if caught[0] == signal.SIGINT else SystemExit(128 + caught[0])
    return result  # type: ignore[return-value]  # it is None where something was caught, and then only
