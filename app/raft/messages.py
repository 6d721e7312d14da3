"""What nodes say to each other, and what a core says to itself once its disk has answered.

Rules of this file: every message carries the cluster, the group, both ends and the sender's term, so that a
stranger, a misdelivered frame and a stale leader are each refused by looking at the message alone. An
`incarnation` names the disk behind a node id (see `Configuration`).

A core also writes to itself: `VoteReply` (its own vote), `Persisted` and `SnapshotStaged`. They stand in
`Ready.after` like any answer that vouches for durable state, so a vote or a match index counts only from
the moment it is on disk, whoever cast it.

| message           | who sends it            | source                        |
| ----------------- | ----------------------- | ----------------------------- |
| RequestVote       | (pre-)candidate         | paper 5.2, dissertation 9.6   |
| AppendEntries     | leader; empty: heartbeat| paper 5.3                     |
| InstallSnapshot   | leader, chunk by chunk  | paper 7                       |
| TimeoutNow        | leader to its successor | dissertation 3.10             |
"""

from __future__ import annotations

import msgspec

from app.raft.types import Entry, SnapshotMeta


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """The fields that all messages share."""

    cluster: int
    group: int
    sender: int
    to: int
    term: int


class RequestVote(Message, tag=1, frozen=True):
    """A candidate asks for a vote; with `pre`, whether it would get one in `term`, which it has not entered yet."""

    last_log_index: int
    last_log_term: int
    incarnation: int
    """The voter's disk as the candidate knows it; a voter on another disk has forgotten its votes and refuses."""
    pre: bool = False
    transfer: bool = False
    """The leader itself asked for this election: the voter's loyalty to a live leader does not apply."""


class VoteReply(Message, tag=2, frozen=True):
    """`term` is the term asked about when granted, the voter's own when refused."""

    granted: bool
    pre: bool
    incarnation: int


class AppendEntries(Message, tag=3, frozen=True):
    """Entries that follow (prev_log_index, prev_log_term); none: a heartbeat that still checks the log."""

    prev_log_index: int
    prev_log_term: int
    leader_commit: int
    round: int
    """The latest round of leadership confirmation (read index); the reply echoes it."""
    entries: list[Entry] = []


class AppendReply(Message, tag=4, frozen=True):
    """Success: the log matches the leader's, durably up to `match_index`. Refusal: where to look next.

    A refusal names the place that was refused (`prev_log_index`) and a hint: the follower's term at the
    largest index that could match, so that one round trip skips a whole term (paper 5.3, end).
    """

    success: bool
    match_index: int
    prev_log_index: int
    hint_index: int
    hint_term: int
    round: int
    incarnation: int
    crowded: bool
    """The disk there has no room for what makes the data grow. It takes entries as long as its log can."""


class InstallSnapshot(Message, tag=5, frozen=True):
    """One chunk of a snapshot's file. The core leaves `data` empty; the driver fills it on the way out."""

    meta: SnapshotMeta
    offset: int
    data: bytes = b""
    done: bool = False


class SnapshotReply(Message, tag=6, frozen=True):
    """The follower holds the first `next_offset` bytes of the snapshot at `index`."""

    index: int
    next_offset: int
    incarnation: int


class TimeoutNow(Message, tag=7, frozen=True):
    """Stand for election at once: the leader hands over."""


class Persisted(Message, tag=8, frozen=True):
    """To itself: this term, the entry (index, entry_term) and all before it are durable here.

    Believed in its own term alone. A later leader may have the entry replaced, and the one after it put back:
    the log then says (index, entry_term) again while the disk is still to write both.
    """

    index: int
    entry_term: int


class SnapshotStaged(Message, tag=9, frozen=True):
    """To itself: the whole file of this snapshot is durable here, and not yet in force."""

    meta: SnapshotMeta


AnyMessage = (
    RequestVote
    | VoteReply
    | AppendEntries
    | AppendReply
    | InstallSnapshot
    | SnapshotReply
    | TimeoutNow
    | Persisted
    | SnapshotStaged
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)


def encode(message: AnyMessage) -> bytes:
    """The message as msgpack bytes."""
    return _encoder.encode(message)


def decode(data: bytes | memoryview) -> AnyMessage:
    """The message in `data`. Raises msgspec.DecodeError on anything else."""
    return _decoder.decode(data)
