"""Fail-stop for what runs on the event loop.

A loop logs what a callback raises and goes on. After half a turn of the runner, nothing that the core believes
about its disk holds any more: the process must end. So every callable that touches the group goes through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Guard:
    """`on_fatal` gets what a guarded callable raises, on the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_fatal: Callable[[BaseException], None]):
        self._loop, self._on_fatal = loop, on_fatal
        self._closed = False

    def close(self) -> None:
        """Call nothing more: what the callables work on is about to be closed."""
        self._closed = True

    def soon(self, call: Callable[[], None]) -> None:
        """Call it in the loop's next turn."""
        self._loop.call_soon(self.run, call)

    def later(self, delay_ms: int, call: Callable[[], None]) -> None:
        """Call it after a time."""
        self._loop.call_later(delay_ms / 1000, self.run, call)

    def post(self, call: Callable[[], None]) -> None:
        """Call it on the loop, from any thread."""
        self._loop.call_soon_threadsafe(self.run, call)

    def run(self, call: Callable[..., None], *args: Any) -> None:
        """Call it now."""
        if self._closed:
            return
        try:
            call(*args)
        except Exception as error:
            self._on_fatal(error)
