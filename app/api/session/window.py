"""How much a client may have unanswered. Above it the session reads no further, and TCP tells the client to wait.

Rules of this file: a frame is answered when its answer is on its way, since a client that reads none may say much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

FRAMES = 4096
FRAME_BYTES = 8 << 20


class Window:
    """Counts frames from their reading to their answer."""

    def __init__(self) -> None:
        self._frames = self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    def enter(self, size: int) -> None:
        """A frame of so many bytes was read."""
        self._frames += 1
        self._bytes += size
        if self._frames >= FRAMES or self._bytes >= FRAME_BYTES:
            self._room.clear()

    def leave(self, sizes: Sequence[int]) -> None:
        """Frames of these sizes are answered."""
        self._frames -= len(sizes)
        self._bytes -= sum(sizes)
        if self._frames < FRAMES and self._bytes < FRAME_BYTES:
            self._room.set()

    @property
    def is_full(self) -> bool:
        """Whether there is no room for now."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Return when another frame may be read."""
        await self._room.wait()
