"""What a node says about itself, and about its cluster."""

from __future__ import annotations

import msgspec

from app.raft import Role

ROLE_NAMES = {
    Role.FOLLOWER: "Follower",
    Role.PRE_CANDIDATE: "Candidate",
    Role.CANDIDATE: "Candidate",
    Role.LEADER: "Leader",
}


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One node at one moment. Indices are positions in the log; `state_hash` is of the state at its index."""

    node: int
    role: str
    term: int
    leader: int | None
    first_log_index: int
    last_log_index: int
    commit_index: int
    applied_index: int
    state_hash: str
    state_hash_index: int
    pid: int
    version: str
    ready: bool
    disk_full: bool
    elections_started: int
    strangers_refused: int
    syncs: int
    uptime_s: float


class PeerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Another member as the leader knows it, without asking."""

    id: int
    lag: int | None
    """Entries of the leader's log that it has not vouched for; None before it is known where the logs meet."""
    reachable: bool
    """It has answered within the longest election timeout."""


class DiskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The disk of this node, and what it takes of it."""

    disk_free_bytes: int | None
    """At the last look, some tenths of a second ago; None before the first."""
    disk_owed_bytes: int
    """What the database is yet to take in of its own log of writes: of what is free, this is spoken for."""
    disk_reserve_bytes: int
    log_size_bytes: int
    state_size_bytes: int


class MemberStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One member as seen from the node that was asked. `status` is None when it did not answer."""

    id: int
    url: str
    peer: str
    reachable: bool
    lag: int | None
    """Entries by which it is behind the leader's commit index, as it said itself; None when unknown."""
    status: NodeStatus | None
