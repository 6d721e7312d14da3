"""The bytes of the log: segment headers and records.

A segment file is one header block of 4096 bytes, then records back to back, then what is no record here up to its size:
zeros, or what the file held when it was another segment.

    header   magic 8s | version u32 | crc u32 | flags u32 | fields u64 (see `Header`) | zeros to 4096
             crc: over the whole block but itself. Every later version keeps magic, version, crc and block size in
             place, so that an unknown version can be told from a damaged one.
    record   header_crc u32 | data_crc u32 | length u32 | batch_start u32 | marker 3s | kind u8 |
             group u64 | index u64 | term u64 | data

`batch_start` is the offset in this segment at which the unsynced batch that the record belongs to began: all before
it was durable when the record was written. That one number tells a torn tail from damage: a hole at X with a later
record whose `batch_start` is above X was durable once.

`header_crc` starts from a seed that depends on the log's identity, the segment's sequence and the record's offset.
A record found in any other place is therefore no record: neither stale blocks, nor a misdirected write, nor a
user's message that imitates a record, can be taken for one.

Rules of this file: pure functions between bytes and values; little endian; no file is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from zlib import crc32

import msgspec

from app.raft.types import Entry, HardState

MAGIC = b"RMQ-LOG\0"
VERSION = 1
HEADER_BYTES = 4096
RECORD_BYTES = 44
"""Of a record without its data."""
HARD_STATE = 255
"""The record kind that carries a term and a vote; no entry may use it."""
HARD_STATE_BYTES = RECORD_BYTES + 8

_MASK = 0xFFFFFFFF
_PREFIX = Struct("<8sII")
_FIELDS = Struct("<I9QqQ")
# 0xF5 and above occur in no UTF-8 text, so a search for records is not slowed down by ordinary messages.
MARKER = b"\xf5\xfa\xf7"
MARKER_OFFSET = 16
_RECORD = Struct("<IIII3sBQQQ")
_AFTER_CRC = Struct("<III3sBQQQ")
_CRC = Struct("<I")
_VOTE = Struct("<q")
_RESET = 1

assert _RECORD.size == RECORD_BYTES and _AFTER_CRC.size == RECORD_BYTES - _CRC.size


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """Whose log this is. All are unsigned 64-bit. `incarnation` names the disk; the stored one wins on opening."""

    cluster: int
    group: int
    node: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment knows before its first record.

    Entries above `base_index` in earlier segments are dead. With `reset` everything in earlier segments is. The
    segment before this one ended, durably, at `previous_end_bytes`.
    """

    identity: Identity
    sequence: int
    size_bytes: int
    base_index: int
    base_term: int
    hard_state: HardState
    previous_end_bytes: int
    reset: bool

    def seed(self) -> int:
        """Where the checksums of this segment's records start from."""
        identity = self.identity
        text = f"{identity.cluster}.{identity.group}.{identity.node}.{identity.incarnation}.{self.sequence}"
        return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "little")

    def encode(self) -> bytes:
        """The whole block."""
        identity = self.identity
        fields = _FIELDS.pack(
            _RESET if self.reset else 0,
            identity.cluster,
            identity.group,
            identity.node,
            identity.incarnation,
            self.sequence,
            self.size_bytes,
            self.base_index,
            self.base_term,
            self.hard_state.term,
            self.hard_state.vote,
            self.previous_end_bytes,
        )
        fields += bytes(HEADER_BYTES - _PREFIX.size - len(fields))
        prefix = _PREFIX.pack(MAGIC, VERSION, 0)
        return _PREFIX.pack(MAGIC, VERSION, _block_crc(prefix + fields)) + fields


def _block_crc(block: bytes) -> int:
    return crc32(block[_PREFIX.size :], crc32(block[: _PREFIX.size - _CRC.size]))


def header_version(block: bytes) -> int | None:
    """The format version of an intact header block; None when it is damaged or no header at all."""
    if len(block) != HEADER_BYTES:
        return None
    magic, version, crc = _PREFIX.unpack_from(block)
    return version if magic == MAGIC and crc == _block_crc(block) else None


def decode_header(block: bytes) -> Header:
    """The header in a block that `header_version` has found intact and of this version."""
    assert header_version(block) == VERSION
    flags, cluster, group, node, incarnation, sequence, size, index, term, voted, vote, previous_end = (
        _FIELDS.unpack_from(block, _PREFIX.size)
    )
    identity = Identity(cluster, group, node, incarnation)
    return Header(identity, sequence, size, index, term, HardState(voted, vote), previous_end, bool(flags & _RESET))


def encode_hard_state(seed: int, offset: int, batch_start: int, group: int, state: HardState) -> bytes:
    """A whole record of `HARD_STATE_BYTES`."""
    parts: list[bytes] = []
    encode_entries(seed, offset, batch_start, group, (Entry(0, state.term, HARD_STATE, _VOTE.pack(state.vote)),), parts)
    return b"".join(parts)


def decode_hard_state(term: int, data: bytes) -> HardState:
    """The inverse, from a record's term and data."""
    return HardState(term, _VOTE.unpack(data)[0])


def record_at(view: memoryview, at: int, offset: int, seed: int) -> tuple[int, int, int, int, int] | None:
    """(length of data, batch_start, kind, index, term) of the record at `at`, or None where none is whole and valid.

    `offset`: where in the segment the byte `view[at]` lies.
    """
    found = record_head_at(view, at, offset, seed)
    if found is None:
        return None
    data_crc, length, batch_start, kind, index, term = found
    start = at + RECORD_BYTES
    if start + length > len(view) or crc32(view[start : start + length]) != data_crc:
        return None
    return length, batch_start, kind, index, term


def record_head_at(view: memoryview, at: int, offset: int, seed: int) -> tuple[int, int, int, int, int, int] | None:
    """(data_crc, length, batch_start, kind, index, term), whatever became of the data; None where no head is valid."""
    if at + RECORD_BYTES > len(view):
        return None
    crc, data_crc, length, batch_start, marker, kind, _, index, term = _RECORD.unpack_from(view, at)
    if marker != MARKER or crc32(view[at + 4 : at + RECORD_BYTES], (seed + offset) & _MASK) != crc:
        return None
    return data_crc, length, batch_start, kind, index, term


def encode_entries(
    seed: int, offset: int, batch_start: int, group: int, entries: Sequence[Entry], parts: list[bytes]
) -> tuple[list[int], list[int]]:
    """Add the records of `entries` to `parts`, the first to stand at `offset`; their (offsets, data lengths)."""
    offsets: list[int] = []
    lengths: list[int] = []
    pack, pack_crc, add = _AFTER_CRC.pack, _CRC.pack, parts.append
    for entry in entries:
        data = entry.data
        length = len(data)
        rest = pack(crc32(data), length, batch_start, MARKER, entry.kind, group, entry.index, entry.term)
        add(pack_crc(crc32(rest, (seed + offset) & _MASK)))
        add(rest)
        add(data)
        offsets.append(offset)
        lengths.append(length)
        offset += RECORD_BYTES + length
    return offsets, lengths
