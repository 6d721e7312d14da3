"""The cluster as clients see it: its members, and the transfer of leadership.

Rules of this file: the list of members comes from the answering node, which asks the others; one that cannot
be reached is listed as such, and is no error. What the answer says of the whole is what its own row says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.api import schemas
from app.api.bodies import BodyDecoder, read_body, require_json
from app.api.calls import JSON, NO_STORE, Answer, Call
from app.api.operations import BODY, WRITES, Json, Operation, answer, body, ref
from app.api.params import Query
from app.api.problems import Problem, sentence
from app.api.routes import OPERATION_TIMEOUT_S

if TYPE_CHECKING:
    from app.config import Settings
    from app.node.service import Node
    from app.node.status import MemberStatus

_transfer_body = BodyDecoder(schemas.Transfer)
_SAID = (
    "role", "term", "leader", "first_log_index", "last_log_index", "commit_index", "applied_index", "state_hash",
    "state_hash_index", "version", "ready", "disk_full",
)  # fmt: skip


class ClusterRoutes:
    """The routes of the cluster over one node."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._node = node
        self._limit_bytes = settings.body_limit_bytes

    async def look(self, call: Call) -> Answer:
        """GET /v1/cluster."""
        Query(call)
        members = await self._node.cluster()
        own = members[self._node.id].status
        assert own is not None
        found = schemas.Cluster(
            node=own.node, leader=own.leader, term=own.term, members=[_member(member) for member in members]
        )
        return Answer(200, msgspec.json.encode(found), (JSON, NO_STORE))

    async def transfer(self, call: Call) -> Answer:
        """POST /v1/cluster/transfer."""
        Query(call)
        content, to = await read_body(call, self._limit_bytes), None
        if content:
            require_json(call)
            to = _transfer_body.decode(content).to
        try:
            leader = await self._node.transfer(None if to is None else int(to), timeout_s=OPERATION_TIMEOUT_S)
        except ValueError as error:
            raise Problem("unknown_node", sentence(str(error))) from None
        return Answer(200, msgspec.json.encode(schemas.Transferred(leader=leader)))

    def operations(self) -> list[Operation]:
        """The routes, in the order of the documentation."""
        return [self._look(), self._transfer()]

    def _look(self) -> Operation:
        return Operation(
            method="GET", path="/v1/cluster", name="get_cluster", tag="cluster", summary="Look at the cluster",
            description="All voters with role, term, positions in the log and lag, as the answering node sees them.",
            handler=self.look, errors=("invalid_parameter",),
            answers={200: answer("The cluster", ref(schemas.Cluster), {"Two of three reachable": _example()})},
        )  # fmt: skip

    def _transfer(self) -> Operation:
        return Operation(
            method="POST", path="/v1/cluster/transfer", name="transfer_leadership", tag="cluster",
            summary="Hand the leadership over",
            description="The leader brings the other node up to date first; the answer names the new leader.",
            handler=self.transfer,
            body=body(ref(schemas.Transfer), {"To a node": {"to": 1}, "To the most advanced": {}}, required=False),
            answers={200: answer("The new leader", ref(schemas.Transferred), {"Handed over": {"leader": 1}})},
            errors=("invalid_parameter", *BODY, "unknown_node", *WRITES),
        )  # fmt: skip


def _member(member: MemberStatus) -> schemas.ClusterMember:
    """A member with what it said of itself, if it answered."""
    said = {} if member.status is None else {name: getattr(member.status, name) for name in _SAID}
    return schemas.ClusterMember(
        node=member.id, url=member.url, peer=member.peer, reachable=member.reachable, lag=member.lag, **said
    )


def _example() -> Json:
    up = {
        "reachable": True, "term": 3, "leader": 0, "first_log_index": 1, "last_log_index": 1204, "commit_index": 1204,
        "applied_index": 1204, "state_hash": "9f2c41d07ab35e8843c3ce1313ef2ab6", "state_hash_index": 1204,
        "version": "0.1.0", "ready": True, "disk_full": False, "lag": 0,
    }  # fmt: skip
    down = dict.fromkeys(up) | {"reachable": False, "role": None}
    members = [{"role": "Leader", **up}, {"role": "Follower", **up}, down]
    for number, member in enumerate(members):
        member |= {"node": number, "url": f"http://127.0.0.1:{8001 + number}", "peer": f"127.0.0.1:{9001 + number}"}
    return {"node": 0, "leader": 0, "term": 3, "members": members}
