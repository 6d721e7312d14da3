"""A queue in memory and a clock that goes on as it is read: what a load is tried on without a cluster."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace


def clock() -> SimpleNamespace:
    """In place of `time`: each reading is a millisecond after the last one."""
    readings = itertools.count()
    return SimpleNamespace(perf_counter=lambda: next(readings) / 1000)


class Made:
    """A client of a queue in memory."""

    def __init__(self, queue: list[int]) -> None:
        self.queue, self.is_open = queue, True

    async def publish(self, count: int) -> None:
        await asyncio.sleep(0)
        self.queue += [0] * count

    async def consume(self, count: int) -> int:
        await asyncio.sleep(0)
        taken = min(count, len(self.queue))
        del self.queue[:taken]
        return taken

    def close(self) -> None:
        self.is_open = False
