"""Turns the loop's clock into ticks.

A loop that was late catches up, but never by more than `most_ticks`: a process that was paused for a minute
cannot tell it from the inside, and must not conclude from it that its leader has been silent for so long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Ticker:
    """Calls `on_ticks(n)` about every `tick_ms`."""

    def __init__(self, tick_ms: int, most_ticks: int, on_ticks: Callable[[int], None]):
        self._tick_s = tick_ms / 1000
        self._most_ticks = most_ticks
        self._on_ticks = on_ticks
        self._handle: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin now."""
        self._loop = loop
        self._last_s = self._loop.time()
        self._handle = self._loop.call_later(self._tick_s, self._fire)

    def stop(self) -> None:
        """No further ticks."""
        if self._handle is not None:
            self._handle.cancel()

    def _fire(self) -> None:
        self._handle = self._loop.call_later(self._tick_s, self._fire)
        now_s = self._loop.time()
        ticks = int((now_s - self._last_s) / self._tick_s)
        if ticks > self._most_ticks:
            ticks = self._most_ticks
            self._last_s = now_s
        else:
            self._last_s += ticks * self._tick_s
        if ticks:
            self._on_ticks(ticks)
