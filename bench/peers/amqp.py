"""As much of AMQP 0-9-1 as a load needs: one channel, confirmed publishes, deliveries under a prefetch.

Theory: a frame is a kind, a channel, a length, the payload and the byte 0xCE. A publish is three of them, which are the
same for each message: they are built once. Of what a broker says only the confirmations and the tags matter.
"""

from __future__ import annotations

import asyncio
import struct
from typing import cast

from bench.counting import Countdown

METHOD, HEADER, END = 1, 2, b"\xce"
CONNECTION_START, CONNECTION_TUNE, CONNECTION_OPEN_OK = (10, 10), (10, 30), (10, 41)
CONNECTION_CLOSE, CHANNEL_CLOSE = (10, 50), (20, 40)
CONNECTION_START_OK, CONNECTION_TUNE_OK, CONNECTION_OPEN = (10, 11), (10, 31), (10, 40)
CHANNEL_OPEN, CHANNEL_OPEN_OK, QUEUE_DECLARE, QUEUE_DECLARE_OK = (20, 10), (20, 11), (50, 10), (50, 11)
CONFIRM_SELECT, CONFIRM_SELECT_OK, BASIC_QOS, BASIC_QOS_OK = (85, 10), (85, 11), (60, 10), (60, 11)
BASIC_PUBLISH, BASIC_CONSUME, BASIC_CONSUME_OK, BASIC_DELIVER = (60, 40), (60, 20), (60, 21), (60, 60)
BASIC_GET, BASIC_GET_OK, BASIC_GET_EMPTY, BASIC_ACK, BASIC_NACK = (60, 70), (60, 71), (60, 72), (60, 80), (60, 120)
_head = struct.Struct("!BHL")


def frame(kind: int, payload: bytes, channel: int = 1) -> bytes:
    """One frame."""
    return _head.pack(kind, channel, len(payload)) + payload + END


def method(name: tuple[int, int], arguments: bytes = b"", channel: int = 1) -> bytes:
    """A frame that calls a method."""
    return frame(METHOD, struct.pack("!HH", *name) + arguments, channel)


def short(text: str) -> bytes:
    """A short string."""
    return bytes([len(text)]) + text.encode()


def long(data: bytes) -> bytes:
    """A long string, or a table."""
    return struct.pack("!L", len(data)) + data


def publication(queue: str, body: bytes) -> bytes:
    """The three frames of a persistent message to this queue."""
    persistent = struct.pack("!HHQHB", 60, 0, len(body), 1 << 12, 2)
    call = method(BASIC_PUBLISH, b"\0\0" + short("") + short(queue) + b"\0")
    return call + frame(HEADER, persistent) + frame(3, body)


class Channel(asyncio.Protocol):
    """One connection with one channel. `confirmed` counts what the broker acked; `tags` are those of deliveries."""

    def __init__(self) -> None:
        self.confirmed = Countdown()
        self.tags: list[int] = []
        self._tags_came = asyncio.Event()
        self._acked = 0
        self._buffer = b""
        self._reply: asyncio.Future[bytes] | None = None
        self._awaited: tuple[tuple[int, int], ...] = ()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int) -> Channel:
        """Connect, log in, open the channel, ask for confirmations. Raises OSError."""
        _, channel = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        await channel.call(b"AMQP\0\0\x09\x01", CONNECTION_START)
        login = long(b"") + short("PLAIN") + long(b"\0guest\0guest") + short("en_US")
        await channel.call(method(CONNECTION_START_OK, login, 0), CONNECTION_TUNE)
        tune = method(CONNECTION_TUNE_OK, struct.pack("!HLH", 8, 131072, 0), 0)
        await channel.call(tune + method(CONNECTION_OPEN, short("/") + b"\0\0", 0), CONNECTION_OPEN_OK)
        await channel.call(method(CHANNEL_OPEN, short("")), CHANNEL_OPEN_OK)
        await channel.call(method(CONFIRM_SELECT, b"\0"), CONFIRM_SELECT_OK)
        return channel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def write(self, data: bytes) -> None:
        """Send frames. Raises ConnectionError."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("closed")
        self._transport.write(data)

    async def call(self, data: bytes, *awaited: tuple[int, int]) -> bytes:
        """Send frames, wait for one of these methods. -> its payload, method first."""
        self._reply, self._awaited = asyncio.get_running_loop().create_future(), awaited
        self.write(data)
        return await self._reply

    async def next_tags(self, idle_s: float) -> list[int]:
        """The tags of what was delivered since; none after so long without."""
        if not self.tags:
            self._tags_came.clear()
            try:
                async with asyncio.timeout(idle_s):
                    await self._tags_came.wait()
            except TimeoutError:
                return []
        tags, self.tags = self.tags, []
        return tags

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        at, end = 0, len(data)
        while end - at >= 8:
            kind, _, length = _head.unpack_from(data, at)
            if end - at < length + 8:
                break
            if kind == METHOD:
                self._take(data[at + 7 : at + 7 + length])
            at += length + 8
        self._buffer = data[at:]

    def _take(self, payload: bytes) -> None:
        name = struct.unpack_from("!HH", payload)
        if name == BASIC_ACK:
            (tag, multiple) = struct.unpack_from("!QB", payload, 4)
            self.confirmed.come(tag - self._acked if multiple else 1)
            self._acked = self._acked + 1 if not multiple else tag
        elif name == BASIC_DELIVER:
            self.tags.append(struct.unpack_from("!Q", payload, 5 + payload[4])[0])
            self._tags_came.set()
        elif name in self._awaited and self._reply is not None and not self._reply.done():
            self._reply.set_result(payload)
        elif name in (BASIC_NACK, CONNECTION_CLOSE, CHANNEL_CLOSE):
            self._end(payload[4:100].decode("utf-8", "replace"))

    def _end(self, text: str) -> None:
        self.confirmed.fail(text)
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionError(text))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection was lost")

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()
