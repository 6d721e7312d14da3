"""One client's connection as the session needs it.

Rules of this file: whoever sends need not ask whether the client is still there; a frame for one that is gone is
dropped. `gone` is set once, and stays.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from app.api.calls import Receive, Send

_encode = msgspec.json.Encoder().encode


class Wire:
    """Frames in, frames out."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.gone = asyncio.Event()

    async def next(self) -> list[bytes] | None:
        """The next frames, text or binary alike (`websocket_protocol`); None when the client is gone."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self.gone.set()
            return None
        frames: list[bytes] = message["frames"]
        return frames

    async def say(self, *frames: msgspec.Struct | msgspec.Raw) -> None:
        """Send frames. Waits while the client does not read."""
        await self._pass({"type": "websocket.send", "frames": [*map(_encode, frames)]})

    async def close(self, code: int, reason: str) -> None:
        """The last that is sent."""
        await self._pass({"type": "websocket.close", "code": code, "reason": reason})
        self.gone.set()

    async def _pass(self, message: dict[str, Any]) -> None:
        if self.gone.is_set():
            return
        try:
            await self._send(message)
        except OSError:
            # The server's word for a client that has hung up (ASGI, "send after disconnect").
            self.gone.set()
