"""Waiting for so many answers on one connection: a counter with one waiter, cheaper than a future for each."""

from __future__ import annotations

import asyncio


class Countdown:
    """`wait` for what was awaited to `come`. One waiter at a time."""

    def __init__(self) -> None:
        self._left = 0
        self._future: asyncio.Future[None] | None = None
        self._failure: str | None = None

    async def wait(self, count: int) -> None:
        """Return when `count` more have come than were waited for before. Raises ConnectionError, RuntimeError."""
        self._left += count
        if self._failure is not None:
            raise ConnectionError(self._failure)
        if self._left > 0:
            self._future = asyncio.get_running_loop().create_future()
            await self._future

    def come(self, count: int = 1) -> None:
        """So many have come."""
        self._left -= count
        if self._left <= 0 and self._future is not None and not self._future.done():
            self._future.set_result(None)

    def fail(self, text: str) -> None:
        """Nothing will come any more: the connection is lost."""
        self._failure = text
        if self._future is not None and not self._future.done():
            self._future.set_exception(ConnectionError(text))

    def refuse(self, text: str) -> None:
        """What came is not what was wanted."""
        if self._future is not None and not self._future.done():
            self._future.set_exception(RuntimeError(text))
