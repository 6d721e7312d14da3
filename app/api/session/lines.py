"""Lines: frames that wait for the same topic go to the log together, many in one command, one command at a time.

Theory: a command is on its way for a millisecond or two. What a client says meanwhile gathers, and is the next command:
the busier it is, the larger they are, and no timer is needed. Since no command starts before the one ahead of it is
over, what a client sent first is stored first, also where a leader is lost in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
_log = logging.getLogger("rmq.api")


class Lines(Generic[T]):
    """`first` takes from a topic's line what makes the next command; `carry_out` makes it, and answers."""

    def __init__(
        self, first: Callable[[deque[T]], list[T]], carry_out: Callable[[str, list[T]], Awaitable[None]]
    ) -> None:
        self._first, self._carry_out = first, carry_out
        self._lines: dict[str, deque[T]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, topic: str, item: T) -> None:
        """Put it at the end of its topic's line."""
        line = self._lines.get(topic)
        if line is not None:
            line.append(item)
            return
        self._lines[topic] = deque((item,))
        task = asyncio.get_running_loop().create_task(self._run(topic))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, topic: str) -> None:
        line = self._lines[topic]
        while line:
            try:
                await self._carry_out(topic, self._first(line))
            except Exception:
                _log.exception("a session's command failed")
        del self._lines[topic]

    async def idle(self) -> None:
        """Return when nothing waits and nothing is on its way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def clear(self) -> None:
        """What waits is given up; what is on its way goes on."""
        for line in self._lines.values():
            line.clear()
