"""Waiting for a future, but not for ever.

Theory: `asyncio.timeout` cancels the task around it, so it needs one, and hot requests have none (`app.api.short_way`).
Here the time's end is a result like others, which the future gets unless it has one. A timer for each is set
and cancelled for nothing: those whose time is nearly never over share one, which looks at them now and then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

LOOK_S = 0.05


async def at_most(timeout_s: float, future: asyncio.Future[Any]) -> Any:
    """The future's result; None when it has none within that time, which is then its result."""
    timer = asyncio.get_running_loop().call_later(timeout_s, resolver(future), None)
    try:
        return await future
    finally:
        timer.cancel()


class Deadlines:
    """Many futures that somebody waits for."""

    def __init__(self) -> None:
        self._due_s: dict[asyncio.Future[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def at_most(self, timeout_s: float, future: asyncio.Future[Any]) -> Any:
        """As above; the time may be longer by `LOOK_S`."""
        self._due_s[future] = time.monotonic() + timeout_s
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        try:
            return await future
        finally:
            del self._due_s[future]

    def _look(self) -> None:
        now_s = time.monotonic()
        for future, due_s in self._due_s.items():
            if due_s <= now_s:
                resolver(future)(None)
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look) if self._due_s else None


def resolver(future: asyncio.Future[Any]) -> Callable[[Any], None]:
    """A callback that resolves `future`, unless it is resolved or its waiter has gone."""

    def resolve(outcome: Any) -> None:
        if not future.done():
            future.set_result(outcome)

    return resolve
