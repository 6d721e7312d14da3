"""A lean WebSocket client for load: whole frames of text in and out, few microseconds of its own.

Theory: what a client sends must be masked, and a mask of zeros changes nothing; so a frame is built once and sent as
often as wanted. A server must not care, since a mask protects what stands between the two, and here nothing does.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import cast

_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nhost: rmq\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: cm1xLWJlbmNoLXJtcS1iZQ==\r\n\r\n"
)
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class WebSocket(asyncio.Protocol):
    """One connection. `heard` is called with each text; `lost`, once, with the reason, when it is over."""

    def __init__(self, path: str, heard: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._path, self._heard, self._lost = path, heard, lost
        self._buffer = b""
        self._is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(
        cls, host: str, port: int, path: str, heard: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> WebSocket:
        """Connect. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(lambda: cls(path, heard, lost), host, port)
        await socket._is_open
        return socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(_HANDSHAKE.format(path=self._path).encode())

    def send(self, frames: bytes) -> None:
        """Send one frame or several."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("closed")
        self._transport.write(frames)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open.done():
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._is_open.set_exception(ConnectionError(head.split(b"\r\n")[0].decode()))
                return
            self._buffer = rest
            self._is_open.set_result(None)
        self._buffer = self._buffer[self._read(self._buffer) :]

    def _read(self, data: bytes) -> int:
        """Take the whole frames at the beginning. -> their length."""
        at, end = 0, len(data)
        while end - at >= 2:
            length, body = data[at + 1], at + 2
            if length >= 126:
                wide = 2 if length == 126 else 8
                length, body = int.from_bytes(data[body : body + wide], "big"), body + wide
            if end < body + length:
                break
            self._take(data[at] & 15, data[body : body + length])
            at = body + length
        return at

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == TEXT:
            self._heard(payload)
        elif kind == PING:
            self.send(frame(payload, PONG))
        elif kind == CLOSE:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_open.done():
            self._is_open.set_exception(ConnectionError("the connection was lost"))
        self._lost("the connection was lost")

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def frame(payload: bytes, kind: int = TEXT) -> bytes:
    """A client's frame, masked with zeros."""
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x80 | kind, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", 0x80 | kind, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | kind, 0x80 | 127, length)
    return head + bytes(4) + payload
