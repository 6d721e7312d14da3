"""The nouns of the log: entries, hard state, membership, snapshots.

Rules of this file: plain frozen data, no behaviour beyond arithmetic on itself. Every struct is
`array_like`, so that on the wire and on disk it is a short msgpack array, never a map.

Terms and indices are integers that start at 1; index 0 with term 0 is the point before the log's first
entry. A node's id is its position in the cluster file. (Raft paper, section 5.2 and Fig. 2.)
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

NOBODY = -1
"""The vote of a node that has not voted in its term."""


class Role(IntEnum):
    """Where a node stands in its term (paper 5.1; the pre-candidate: dissertation 9.6)."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class Kind(IntEnum):
    """What an entry's bytes mean to the node that applies it."""

    COMMAND = 0
    """Opaque to Raft: an envelope for the state machine."""
    NOOP = 1
    """The first entry of every term (dissertation 6.4). No bytes."""
    CONFIGURATION = 2
    """A msgpack `Configuration`; in force from the moment it is in the log (dissertation 4.1)."""


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One slot of the log. Two entries of equal index and term are the same entry (Log Matching)."""

    index: int
    term: int
    kind: int
    data: bytes


class HardState(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What must be on disk before any answer that relies on it (Fig. 2: persistent state)."""

    term: int = 0
    vote: int = NOBODY


class Member(msgspec.Struct, array_like=True, frozen=True):
    """One voter. `incarnation` names the disk behind the id, so that a wiped disk is a stranger; 0: never seen."""

    id: int
    incarnation: int = 0


class Configuration(msgspec.Struct, array_like=True, frozen=True):
    """The voters, sorted by id. Majority counts are taken over exactly these."""

    members: tuple[Member, ...]

    def ids(self) -> tuple[int, ...]:
        """The ids of all voters, in order."""
        return tuple(member.id for member in self.members)

    def incarnation(self, node: int) -> int:
        """The disk last admitted under this id; 0 when none was, or when the id is no member."""
        for member in self.members:
            if member.id == node:
                return member.incarnation
        return 0

    def admitting(self, node: int, incarnation: int) -> Configuration:
        """The same voters, with `node` standing on the disk `incarnation`."""
        return Configuration(tuple(Member(m.id, incarnation) if m.id == node else m for m in self.members))


class SnapshotMeta(msgspec.Struct, array_like=True, frozen=True):
    """What a snapshot replaces: every entry up to and with `index`. `size_bytes`, `checksum`: of its one file.

    The checksum is the CRC-32 that the driver of the sender knows; 0: none is known.
    """

    index: int
    term: int
    configuration: Configuration
    size_bytes: int
    checksum: int = 0
