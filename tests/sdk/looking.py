"""How tests of the client look at what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import rmq

QUICK = rmq.Retry(total_s=5)
HELLO = {"op": "hello", "node": 0, "version": "0.1.0", "frame_bytes_max": 1 << 20}
"""What a node says first in a session."""


def left(queue: rmq.Client) -> tuple[int, int]:
    """Messages of the topic `t` that are stored, and those of them that are leased."""
    topic = queue.topic("t")
    return topic.messages, topic.subscriptions[0].leased


async def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.01)
