"""Waiting for a future, but not for ever.

Theory: `asyncio.timeout` cancels the task around it, so it needs one, and hot requests have none (`app.api.short_way`).
Here the time's end is a result like others, which the future gets unless it has one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def at_most(timeout_s: float, future: asyncio.Future[Any]) -> Any:
    """The future's result; None when it has none within that time, which is then its result."""
    timer = asyncio.get_running_loop().call_later(timeout_s, resolver(future), None)
    try:
        return await future
    finally:
        timer.cancel()


def resolver(future: asyncio.Future[Any]) -> Callable[[Any], None]:
    """A callback that resolves `future`, unless it is resolved or its waiter has gone."""

    def resolve(outcome: Any) -> None:
        if not future.done():
            future.set_result(outcome)

    return resolve
