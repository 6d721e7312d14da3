"""A lean HTTP/1.1 client for load: one connection, one request at a time, few microseconds of its own.

A general client costs more than the server here, and would be what is measured.
"""

from __future__ import annotations

import asyncio
from typing import cast


class Connection(asyncio.Protocol):
    """One keep-alive connection. `request` returns (status, body); ConnectionError when it breaks."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        """Connect. Raises OSError."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    async def request(self, data: bytes) -> tuple[int, bytes]:
        """Send the bytes of a request, wait for its answer."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._answer

    async def expect(self, request: bytes, expected: int) -> bytes:
        """The same. -> the body; RuntimeError where the answer has another status."""
        status, answer = await self.request(request)
        if status != expected:
            raise RuntimeError(f"{request[:60]!r} was answered {status}: {answer[:200]!r}")
        return answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        _, has_length, after = head.lower().partition(b"content-length:")
        if has_length:
            body = rest if len(rest) >= int(after.split(b"\r\n", 1)[0]) else None
        else:
            body = unchunked(rest) if rest.endswith(b"0\r\n\r\n") else None
        if body is not None and self._answer is not None and not self._answer.done():
            self._buffer = b""
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the connection was lost"))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def unchunked(data: bytes) -> bytes | None:
    """The body that came in chunks; None while it is not whole."""
    parts: list[bytes] = []
    at = 0
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line_end].split(b";")[0], 16)
        at = line_end + 2 + size + 2
        if size == 0:
            return b"".join(parts)
        parts.append(data[line_end + 2 : at - 2])
    return None


def request_bytes(method: str, path: str, body: bytes, headers: str = "") -> bytes:
    """A whole request with a JSON body."""
    common = f"host: rmq\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\n{common}{headers}\r\n".encode() + body
