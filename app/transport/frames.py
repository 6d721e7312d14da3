"""Frames on a peer stream: length u32, kind u8 (little endian), then the payload.

The first frame of a stream is HELLO: who dials whom, in which cluster, in which version of this protocol.
Anything that does not begin so is refused by closing the stream.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum

import msgspec

HEAD = struct.Struct("<IB")
PROTOCOL_VERSION = 5
GREETING_BYTES = 1 << 10
"""The largest first frame: a stranger must not make this node hold more for him."""
MAX_FRAME_BYTES = 96 << 20
"""Above one message of entries (1 MiB, or a single entry of the largest body that can be configured)."""


class Frame(IntEnum):
    """The kinds of frames."""

    HELLO = 1
    RAFT = 2
    REQUEST = 3
    RESPONSE = 4


class FrameError(Exception):
    """The stream does not follow this protocol, or comes from a stranger."""


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """The dialler introduces itself and says whom it means to reach."""

    magic: str
    version: int
    cluster: int
    sender: int
    to: int


MAGIC = "RMQ-peer"


def check_hello(payload: bytes, cluster: int, node: int, peers: frozenset[int]) -> int:
    """The sender's id. Raises FrameError with the reason."""
    try:
        hello = msgspec.msgpack.decode(payload, type=Hello)
    except msgspec.DecodeError:
        raise FrameError("the stream does not begin with a greeting of this protocol") from None
    if hello.magic != MAGIC or hello.version != PROTOCOL_VERSION:
        raise FrameError(f"the peer speaks {hello.magic!r} version {hello.version}, not {PROTOCOL_VERSION}")
    if hello.cluster != cluster:
        raise FrameError(f"the peer belongs to another cluster ({hello.cluster:016x}, not {cluster:016x})")
    if hello.to != node or hello.sender not in peers:
        raise FrameError(f"the peer is node {hello.sender} and looks for node {hello.to}; this is node {node}")
    return hello.sender


class FrameReader:
    """Cuts a byte stream into frames. `on_frame(kind, payload)`; FrameError when a length is impossible.

    `limit_bytes`: of a payload; `on_frame` may change it.
    """

    def __init__(self, on_frame: Callable[[int, bytes], None], limit_bytes: int = MAX_FRAME_BYTES):
        self.limit_bytes = limit_bytes
        self._on_frame = on_frame
        self._rest = bytearray()
        self._wanted_bytes = HEAD.size

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted_bytes:
                return  # A large frame arrives in a thousand pieces: look again when it is whole.
            data = bytes(self._rest)
        start, end = 0, len(data)
        self._wanted_bytes = HEAD.size
        while end - start >= HEAD.size:
            length, kind = HEAD.unpack_from(data, start)
            if length > self.limit_bytes:
                raise FrameError(f"a frame of {length} bytes; the largest is {self.limit_bytes}")
            body = start + HEAD.size
            if end - body < length:
                self._wanted_bytes = HEAD.size + length
                break
            self._on_frame(kind, data[body : body + length])
            start = body + length
        self._rest = bytearray(data[start:])
