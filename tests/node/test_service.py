"""How an operation finds its leader, waits for one, and moves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace

import msgspec
import pytest

from app.broker.machine import Machine
from app.config import Settings
from app.config.cluster_file import parse
from app.node.errors import NoQuorum, Overloaded
from app.node.rpc import Method, Outcome
from app.node.runner import NotLeading
from app.node.service import Node
from app.raft import Role

ADDRESSES = [{"ip": "127.0.0.1", "port": 1 + node, "internal_port": 101 + node} for node in range(3)]


class Group:
    """A runner whose leader the test names."""

    def __init__(self) -> None:
        log = SimpleNamespace(last_index=0)
        self.core = SimpleNamespace(leader=None, leader_id=None, role=Role.FOLLOWER, term=1, log=log)
        self.held: set[int] = set()
        self.applied_index = 0

    def when_applied(self, index: int, _done: Callable[[None], None]) -> int:
        self.held.add(index)
        return index

    def forget(self, token: int) -> None:
        self.held.discard(token)


class Scene:
    """Node 0 of three, its group, and the attempts that it made."""

    def __init__(self, outcome: Callable[[int], Outcome]):
        self.group, self.tries = Group(), 0
        self.node = Node(Settings(node=0, nodes=parse({"addresses": ADDRESSES}).nodes), Machine.open(":memory:"))
        self.node.attach(self.group, SimpleNamespace(full=False))  # type: ignore[arg-type]

        async def attempt(_method: Method, _body: bytes, _timeout_s: float) -> Outcome:
            self.tries += 1
            return outcome(self.tries)

        self.node._try = attempt  # type: ignore[method-assign]

    def lead(self, leader: int | None) -> None:
        self.group.core.leader_id = leader
        self.node._announce()


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(scenario())


def test_waiting_for_a_leader_costs_little_and_ends_when_there_is_one() -> None:
    async def scenario() -> None:
        scene = Scene(lambda _: b"done" if scene.group.core.leader_id is not None else NotLeading(None))
        waiting = asyncio.ensure_future(scene.node.submit(b"", timeout_s=5))
        await asyncio.sleep(0.35)
        assert scene.tries <= 5, "a thousand waiting clients must not keep the loop from electing a leader"
        scene.lead(1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert waiting.done(), "it does not wait for the end of its pause"
        assert await waiting == b"done"
        scene.node.machine.close()

    run(scenario)


def test_a_read_that_finds_too_much_waiting_says_so_at_once() -> None:
    async def scenario() -> None:
        scene = Scene(lambda _: Overloaded("4096 reads are waiting already"))
        with pytest.raises(Overloaded):
            await scene.node.read_barrier(timeout_s=5)
        assert scene.tries == 1
        scene.node.machine.close()

    run(scenario)


def test_a_read_that_times_out_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        scene = Scene(lambda _: (1000).to_bytes(8, "big"))
        with pytest.raises(NoQuorum):
            await scene.node.read_barrier(timeout_s=0.05)
        assert scene.group.held == set()
        scene.node.machine.close()

    run(scenario)


def test_the_leader_that_is_asked_to_go_is_not_its_own_successor() -> None:
    """Asked while no leader was known: the one that turns up first is the one that hands over."""

    async def scenario() -> None:
        scene = Scene(lambda _: b"")
        moving = asyncio.ensure_future(scene.node.transfer(None, timeout_s=5))
        await asyncio.sleep(0.05)
        scene.lead(1)
        await asyncio.sleep(0.05)
        assert not moving.done()
        scene.lead(2)
        assert await moving == 2
        scene.node.machine.close()

    run(scenario)


def test_a_look_at_the_cluster_tells_of_its_own_node_when_the_others_have_answered() -> None:
    """An election may end meanwhile; an entry committed meanwhile is no lag of those that could not know of it."""

    async def scenario() -> None:
        scene = Scene(lambda _: b"")
        core = scene.group.core
        core.role, core.leader_id, core.elections_started, core.strangers_refused = Role.FOLLOWER, 1, 0, 0
        core.log = SimpleNamespace(first_index=1, last_index=7, commit_index=7)
        scene.group.applied_index = 7
        follower = msgspec.structs.replace(scene.node.status(), node=1)

        async def ask(_peer: int, _method: Method, _body: bytes, _timeout_s: float) -> Outcome:
            core.role, core.leader_id, core.term, core.log.commit_index = Role.LEADER, 0, 2, 9
            scene.group.applied_index = 9
            return msgspec.msgpack.encode(follower)

        scene.node.rpc.ask = ask  # type: ignore[method-assign]
        own, other, _ = await scene.node.cluster()
        assert own.status is not None
        assert (own.status.role, own.status.term, own.status.leader) == ("Leader", 2, 0)
        assert (own.lag, other.lag) == (0, 0)
        scene.node.machine.close()

    run(scenario)


def test_the_successor_is_the_member_that_answers_and_is_furthest() -> None:
    async def scenario() -> None:
        scene = Scene(lambda _: b"")
        far, near, silent = (SimpleNamespace(silent_ticks=t, match=m) for t, m in ((0, 10), (3, 90), (500, 100)))
        tuning = SimpleNamespace(election_min_ticks=25)
        scene.group.core.tuning = tuning
        scene.group.core.leader = SimpleNamespace(progress={1: far, 2: near, 3: silent})
        assert scene.node._successor() == 2
        scene.node.machine.close()

    run(scenario)
