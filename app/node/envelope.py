"""What a command wears in the log: its group, and the leader's time when it was proposed.

Time is data: the state machine's clock is the largest stamp that it has applied, so leases and windows end at
the same log index on every replica. Layout, little endian: version u8, group u32, time_ms u64, command bytes.
"""

from __future__ import annotations

import struct

VERSION = 1
_HEAD = struct.Struct("<BIQ")


def seal(group: int, time_ms: int, command: bytes) -> bytes:
    """The entry's bytes for `command`, stamped."""
    return _HEAD.pack(VERSION, group, time_ms) + command


def unseal(data: bytes) -> tuple[int, bytes]:
    """(time_ms, command) of an entry's bytes. Raises ValueError on a version that this program does not know."""
    version, _group, time_ms = _HEAD.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"entry of envelope version {version}; this program reads version {VERSION}: upgrade it")
    return time_ms, data[_HEAD.size :]
