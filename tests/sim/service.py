"""What `app.node.service` and `app.node.rpc` do with asyncio, done with virtual time: an operation finds its leader.

The rules are theirs: an operation that surely did not happen is tried again until its time is up; one whose outcome is
unknown only if it carries a key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.node.errors import NodeError, NoQuorum, NotCommitted, OutcomeUnknown
from app.node.runner import NotLeading
from tests.sim.plan import MS

if TYPE_CHECKING:
    from tests.sim.node import SimNode

PAUSE_US = 10 * MS
Outcome = bytes | int | NodeError | NotLeading


@dataclass(slots=True, eq=False)
class Errand:
    """An operation on its way. `command` None: a read. `answer` is called once, or never if this node dies."""

    command: bytes | None
    grows: bool
    keyed: bool
    deadline_us: int
    answer: Callable[[Any], None]
    doubt: OutcomeUnknown | None = None
    over: bool = False
    waits_for: int | None = None


class Service:
    """One life of one node, seen by clients and by its peers."""

    def __init__(self, node: SimNode):
        self._node = node
        self._asked: dict[int, Errand] = {}
        self._next_number = 0
        self._without_leader: list[Errand] = []

    def submit(self, errand: Errand) -> None:
        """A client's operation arrives."""
        self._node.later(max(1, errand.deadline_us - self._node.world.now_us), self._time_is_up, errand)
        self._try(errand)

    def leader_may_have_changed(self) -> None:
        """Whoever waits for a leader tries again."""
        waiting, self._without_leader = self._without_leader, []
        for errand in waiting:
            self._node.later(1, self._try, errand)

    def peer_lost(self, peer: int) -> None:
        """What was asked of this peer may or may not have arrived."""
        for number, errand in list(self._asked.items()):
            if errand.waits_for == peer:
                del self._asked[number]
                self._take(errand, OutcomeUnknown("the connection was lost"))

    def _try(self, errand: Errand) -> None:
        if errand.over:
            return
        node = self._node
        leader = node.core.leader_id
        if leader is None:
            self._without_leader.append(errand)
        elif leader == node.id:
            self._serve(errand.command, errand.grows, lambda outcome: self._take(errand, outcome))
        else:
            self._next_number += 1
            number = self._next_number
            self._asked[number] = errand
            errand.waits_for = leader
            asked = node.world.network.tell(
                node.id, leader, "asked", node.id, node.life, number, errand.command, errand.grows
            )
            if not asked:
                del self._asked[number]
                node.later(PAUSE_US, self._try, errand)

    def asked(self, peer: int, life: int, number: int, command: bytes | None, grows: bool) -> None:
        """A peer's question arrives."""
        tell = self._node.world.network.tell
        self._serve(command, grows, lambda outcome: tell(self._node.id, peer, "answered", life, number, outcome))

    def answered(self, life: int, number: int, outcome: Outcome) -> None:
        """The answer to a question of this or of a former life."""
        errand = self._asked.pop(number, None) if life == self._node.life else None
        if errand is not None:
            self._take(errand, outcome)

    def _serve(self, command: bytes | None, grows: bool, reply: Callable[[Outcome], None]) -> None:
        node = self._node
        if command is not None:
            node.runner.submit(command, grows, lambda outcome: self._served(reply, outcome))
        else:
            floor = node.checks.committed
            node.runner.read(lambda outcome: self._read(reply, floor, outcome))

    def _served(self, reply: Callable[[Outcome], None], outcome: Outcome) -> None:
        self._node.world.coverage.served(outcome)
        reply(outcome)

    def _read(self, reply: Callable[[Outcome], None], floor: int, outcome: Outcome) -> None:
        self._node.world.coverage.served_read(outcome)
        if isinstance(outcome, int):
            self._node.checks.read_confirmed(self._node, floor, outcome)
        reply(outcome)

    def _take(self, errand: Errand, outcome: Outcome) -> None:
        """An attempt is over."""
        if errand.over:
            return
        errand.waits_for = None
        stays_unknown = isinstance(outcome, OutcomeUnknown) and not errand.keyed and errand.command is not None
        if isinstance(outcome, int):
            self._node.runner.when_applied(outcome, lambda _: self._end(errand, None))
        elif isinstance(outcome, bytes) or stays_unknown:
            self._end(errand, outcome)
        elif isinstance(outcome, NodeError) and type(outcome) not in (NotCommitted, OutcomeUnknown):
            self._end(errand, errand.doubt or outcome)
        else:
            if isinstance(outcome, OutcomeUnknown):
                errand.doubt = outcome
            self._node.later(PAUSE_US, self._try, errand)

    def _time_is_up(self, errand: Errand) -> None:
        under_way = errand.command is not None and errand not in self._without_leader
        doubt = OutcomeUnknown("no answer in time") if under_way else None
        self._end(errand, errand.doubt or doubt or NoQuorum("no leader in time"))

    def _end(self, errand: Errand, outcome: bytes | NodeError | None) -> None:
        if not errand.over:
            errand.over = True
            errand.answer(outcome)
