"""One number for the whole state, kept up to date a row at a time.

A row's digest is 128 bits of BLAKE2b over its msgpack. A set of rows has the sum of its rows' digests, modulo 2^128:
adding and removing a row is one addition each, in whatever order the rows came. (Bellare and Micciancio,
"A new paradigm for collision-free hashing", AdHash, 1997; here it finds divergence, it does not resist an attacker.)
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

DIGEST_BYTES = 16
MASK = (1 << 8 * DIGEST_BYTES) - 1

encode_row = msgspec.msgpack.Encoder().encode
"""A row as bytes, exactly as SQLite gives it back: integers, bytes, str, None (no bool)."""


def row_digest(row: tuple[Any, ...]) -> int:
    """The digest of a row."""
    return bytes_digest(encode_row(row))


def bytes_digest(data: bytes) -> int:
    """The digest of a row that is at hand as bytes."""
    return int.from_bytes(blake2b(data, digest_size=DIGEST_BYTES).digest(), "little")


def to_bytes(digest: int) -> bytes:
    """A sum of digests, brought back into its 128 bits, little-endian."""
    return (digest & MASK).to_bytes(DIGEST_BYTES, "little")


def from_bytes(data: bytes) -> int:
    """The inverse of `to_bytes`."""
    return int.from_bytes(data, "little")
