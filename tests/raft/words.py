"""How the transcripts put things: entries as index/term (`4-5/t2`), a message in one line, a change in a few words."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from app.raft import AnyMessage, Entry, RaftCore, Role
from app.raft.messages import (
    AppendEntries,
    AppendReply,
    InstallSnapshot,
    RequestVote,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)
from app.raft.types import NOBODY

ROLES = {
    Role.FOLLOWER: "follower",
    Role.PRE_CANDIDATE: "pre-candidate",
    Role.CANDIDATE: "candidate",
    Role.LEADER: "leader",
}


def spans(points: Iterable[tuple[int, int]]) -> str:
    """(index, term) points as `1-3/t1 4/t2`; `-` for none."""
    points = list(points)
    starts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(points)) if b != (a[0] + 1, a[1])), len(points)]
    parts = []
    for start, stop in pairwise(starts):
        if start < stop:
            first, last = points[start][0], points[stop - 1][0]
            parts.append(f"{first}{f'-{last}' if last > first else ''}/t{points[start][1]}")
    return " ".join(parts) or "-"


def of_entries(entries: Iterable[Entry]) -> str:
    return spans((entry.index, entry.term) for entry in entries)


def of_message(message: AnyMessage) -> str:
    """What a message says, in one line."""
    term = f"t{message.term}"
    match message:
        case RequestVote():
            name = "PreVote" if message.pre else "RequestVote"
            tail = " by transfer" if message.transfer else ""
            return f"{name} {term} last {message.last_log_index}/t{message.last_log_term}{tail}"
        case VoteReply():
            return f"{'PreVoteReply' if message.pre else 'VoteReply'} {term} {'yes' if message.granted else 'no'}"
        case AppendEntries():
            round_ = f" round {message.round}" if message.round else ""
            prev = f"{message.prev_log_index}/t{message.prev_log_term}"
            if message.entries:
                said = f"AppendEntries {term} after {prev}: {of_entries(message.entries)}"
            else:
                said = f"Heartbeat {term} at {prev}"
            return f"{said} commit {message.leader_commit}{round_}"
        case AppendReply():
            round_ = f" round {message.round}" if message.round else ""
            if message.success:
                return f"AppendReply {term} match {message.match_index}{round_}"
            hint = f"{message.hint_index}/t{message.hint_term}"
            return f"AppendReply {term} no to {message.prev_log_index}, try {hint}{round_}"
        case InstallSnapshot():
            end = message.offset + len(message.data)
            at = f"{message.meta.index}/t{message.meta.term}"
            return f"InstallSnapshot {term} of {at} bytes {message.offset}-{end} of {message.meta.size_bytes}"
        case SnapshotReply():
            return f"SnapshotReply {term} of {message.index} has {message.next_offset} bytes"
        case TimeoutNow():
            return f"TimeoutNow {term}"
    raise AssertionError(f"nobody sends {message}")


class Facts(NamedTuple):
    """A core at one moment, for comparison."""

    role: Role
    term: int
    vote: int
    leader: int | None
    commit: int
    base: int
    log: tuple[tuple[int, int], ...]


def facts(core: RaftCore) -> Facts:
    log = core.log
    points = tuple((index, log.term(index)) for index in range(log.first_index, log.last_index + 1))
    return Facts(core.role, core.term, core.vote, core.leader_id, log.commit_index, log.base_index, points)


def changes(before: Facts, after: Facts) -> list[str]:
    """What became of a core, in a few words."""
    said = []
    if (before.role, before.term) != (after.role, after.term):
        said.append(f"{ROLES[after.role]} in t{after.term}")
    if after.vote not in (before.vote, NOBODY) or (after.vote != NOBODY and after.term > before.term):
        said.append(f"votes n{after.vote}")
    if after.leader != before.leader and after.role == Role.FOLLOWER and after.leader is not None:
        said.append(f"follows n{after.leader}")
    kept = {point for point in before.log if point in after.log}
    gone = [point for point in before.log if point not in kept and point[0] > after.base]
    come = [point for point in after.log if point not in kept and point[0] > before.base]
    if gone:
        said.append(f"cuts {spans(gone)}")
    if after.base > before.base:
        said.append(f"begins behind {after.base}")
    if come:
        said.append(f"appends {spans(come)}")
    if after.commit > before.commit:
        said.append(f"commits {after.commit}")
    return said
