"""What the nodes that answer say of the cluster, put together into one picture.

Theory. Each node that answers tells of all members as it sees them. The picture is that of the highest term, of one who
knows the leader first, and of who sees more; a member that is out of its sight, but answers for itself, is shown as it
says. Members that applied the same log up to the same entry are in the same state: where they say different hashes of
one entry, in whichever answers, the replicas have diverged. A hash that most of all members say is taken for the right
one; where there is none, all of them differ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rmq.topics import Cluster, Member


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row(Member):
    """A member in a picture. `silent_s`: how long it has not answered; None where it answers, or nobody knows.
    `state_differs`: from that of the others, at the same entry of the log."""

    silent_s: float | None
    state_differs: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The cluster at one moment, as `node` tells of it. Where nobody answers, `error` says why, and `members` are those
    that are known from before."""

    at: datetime
    node: int | None
    leader: int | None
    term: int | None
    members: Sequence[Row]
    error: str | None


def of_answers(answers: Sequence[Cluster], silent_s: Mapping[int, float]) -> Picture:
    """The picture that one or more nodes give. `silent_s`: by node."""
    found, differ = merged(answers), differing(answers)
    rows = [
        Row(
            **_fields(each), silent_s=None if each.reachable else silent_s.get(each.node),
            state_differs=each.node in differ,
        )
        for each in found.members
    ]  # fmt: skip
    now = datetime.now(UTC)
    return Picture(at=now, node=found.node, leader=found.leader, term=found.term, members=rows, error=None)


def of_silence(known: Sequence[Member], silent_s: Mapping[int, float], error: str) -> Picture:
    """The picture while nobody answers: of the members that are known, nothing."""
    unknown: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Member))
    rows = []
    for each in known:
        kept = {"node": each.node, "url": each.url, "peer": each.peer, "reachable": False}
        rows.append(Row(**unknown | kept, silent_s=silent_s.get(each.node), state_differs=False))
    return Picture(at=datetime.now(UTC), node=None, leader=None, term=None, members=rows, error=error)


def merged(answers: Sequence[Cluster]) -> Cluster:
    """One picture of those of one or more nodes."""
    best = max(answers, key=lambda each: (each.term, each.leader is not None, sum(m.reachable for m in each.members)))
    own = {each.node: member for each in answers for member in each.members if member.node == each.node}
    members = [member if member.reachable else own.get(member.node, member) for member in best.members]
    return Cluster(best.node, best.leader, best.term, members)


def differing(answers: Sequence[Cluster]) -> set[int]:
    """The nodes whose states are not what others say of the same entry."""
    said: dict[int, dict[str, set[int]]] = {}
    for member in (member for each in answers for member in each.members):
        if member.state_hash is not None and member.state_hash_index is not None:
            said.setdefault(member.state_hash_index, {}).setdefault(member.state_hash, set()).add(member.node)
    found = set[int]()
    for by_hash in said.values():
        if len(by_hash) > 1:
            few = (nodes for nodes in by_hash.values() if 2 * len(nodes) <= len(answers[0].members))
            found.update(*few)
    return found


def _fields(member: Member) -> dict[str, Any]:
    return {field.name: getattr(member, field.name) for field in dataclasses.fields(Member)}
