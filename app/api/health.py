"""Is the process alive, and may it be sent work? For supervisors and load balancers.

Rules of this file: neither route touches the cluster, so that both are answered at once in any state. HEAD is answered
like GET, with no body, since it is what many a prober sends (`wget --spider`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec

from app.api import schemas
from app.api.calls import JSON, NO_STORE, Answer, Call
from app.api.operations import Operation, answer, ref
from app.api.problems import Problem

if TYPE_CHECKING:
    from app.node.service import Node


class Health:
    """The routes over one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def live(self, call: Call) -> Answer:
        """GET /livez."""
        return _ok("alive")

    async def ready(self, call: Call) -> Answer:
        """GET /readyz."""
        if self._node.stopping.is_set():
            raise Problem("shutting_down", "This node is stopping.")
        if not self._node.is_ready():
            raise Problem("not_ready", "This node knows no leader yet, or has not caught up since its start.")
        return _ok("ready")

    def operations(self) -> list[Operation]:
        """The routes, in the order of the documentation."""
        found = [
            Operation(
                method="GET", path="/livez", name="get_liveness", tag="operations", summary="Is the process alive?",
                description="200 as long as the event loop turns.", handler=self.live,
                answers={200: answer("Alive", ref(schemas.Health), {"Alive": {"status": "alive"}})},
            ),
            Operation(
                method="GET", path="/readyz", name="get_readiness", tag="operations", summary="May it be sent work?",
                description="200 once the node knows a leader and has applied what was committed at its start.",
                handler=self.ready, errors=("not_ready", "shutting_down"),
                answers={200: answer("Ready", ref(schemas.Health), {"Ready": {"status": "ready"}})},
            ),
        ]  # fmt: skip
        return [*found, *map(_head, found)]


def _head(get: Operation) -> Operation:
    """The same, answered with its status alone."""
    return dataclasses.replace(
        get, method="HEAD", name=get.name.replace("get", "head"), description="As GET, with no body.",
        answers={200: {"description": "As GET"}},
    )  # fmt: skip


def _ok(status: str) -> Answer:
    return Answer(200, msgspec.json.encode(schemas.Health(status=status)), (JSON, NO_STORE))
