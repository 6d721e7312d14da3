"""One node as its HTTP side sees it: submit a command, read, ask for the status, hand leadership over.

Any node takes any operation. What needs the leader goes to the leader, here or over the peer streams; while
there is none, the operation waits for one until its time is up. An operation that surely did not happen is
tried again within that time; one whose outcome is unknown is tried again only if it carries a key (`retry`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable

import msgspec

from app.broker.machine import Machine
from app.config import Settings
from app.node.errors import NodeError, NoQuorum, NotCommitted, OutcomeUnknown, Overloaded, ShuttingDown
from app.node.protocols import Disk
from app.node.rpc import Method, Outcome, Rpc
from app.node.runner import GroupRunner, NotLeading
from app.node.status import ROLE_NAMES, DiskStatus, MemberStatus, NodeStatus, PeerStatus
from app.node.waiting import Deadlines, at_most, resolver
from app.raft import NotLeader, decode, encode
from app.raft.messages import AnyMessage, AppendEntries
from app.transport import Frame, PeerNetwork
from app.version import VERSION

log = logging.getLogger("rmq.node")

STATUS_TIMEOUT_S = 0.25
PAUSE_S = 0.01
"""Between two tries of an operation that a node refused at once."""
LEADERLESS_PAUSE_S = 0.1
"""The same while no leader is known: the news of one ends it sooner, and all who wait must not load the loop."""


class Node:
    """See the module. `settings.me` holds the own addresses; `machine` may be read directly for stale reads."""

    def __init__(self, settings: Settings, machine: Machine):
        self.settings, self.machine = settings, machine
        self.id = settings.node
        self.stopping = asyncio.Event()
        peers = {peer: address.peer for peer, address in enumerate(settings.nodes) if peer != self.id}
        self.network = PeerNetwork(
            node=self.id,
            cluster=settings.cluster_id,
            bind=settings.me.peer_bind,
            addresses=peers,
            on_frame=self._on_frame,
            on_lost=self._on_lost,
        )
        self.rpc = Rpc(self.network, self._serve)
        self._waiting_for_news: dict[asyncio.Future[None], None] = {}
        """In the order in which they came, which is that in which they go on."""
        self._deadlines = Deadlines()
        self._last_leader: int | None = None
        self._ready_at: int | None = None
        self._started_at = time.monotonic()

    def attach(self, runner: GroupRunner, disk: Disk) -> None:
        """Give the node the group that it serves. Called once, before `start` of anything."""
        self.runner, self._disk = runner, disk
        runner.on_change = self._announce
        runner.on_note = lambda note: log.log(logging.WARNING if note.grave else logging.INFO, note.text)

    def send(self, message: AnyMessage) -> None:
        """The runner's way to its peers (`Transport`)."""
        self.network.send(message.to, Frame.RAFT, encode(message))

    # -- operations -------------------------------------------------------------------------------------

    async def submit(self, command: bytes, *, timeout_s: float, retry: bool = False, grows: bool = False) -> bytes:
        """The state machine's answer to `command`. Raises NodeError.

        `retry`: the command carries a key, so it may be sent again after an unknown outcome. `grows`: refuse
        it with DiskFull when the disks that it needs are full.
        """
        deadline = time.monotonic() + timeout_s
        method = Method.SUBMIT_GROWING if grows else Method.SUBMIT
        doubt: OutcomeUnknown | None = None
        while (left_s := deadline - time.monotonic()) > 0:
            outcome = await self._try(method, command, left_s)
            if isinstance(outcome, bytes):
                return outcome
            if isinstance(outcome, OutcomeUnknown):
                doubt = outcome
                if not retry:
                    raise outcome
            elif isinstance(outcome, NodeError) and type(outcome) is not NotCommitted:
                raise doubt or outcome
            await self._leader_may_change(left_s)
        raise doubt or self._no_quorum(timeout_s)

    async def read_barrier(self, *, timeout_s: float) -> None:
        """Return once the local machine holds all that was committed when this was called.

        Raises NoQuorum, or Overloaded."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            outcome = await self._try(Method.READ_INDEX, b"", left_s)
            if isinstance(outcome, bytes):
                applied = asyncio.get_running_loop().create_future()
                token = self.runner.when_applied(index := int.from_bytes(outcome, "big"), resolver(applied))
                try:
                    await self._deadlines.at_most(deadline - time.monotonic(), applied)
                finally:
                    self.runner.forget(token)
                if self.runner.applied_index >= index:
                    return
                break
            if isinstance(outcome, Overloaded):
                raise outcome
            await self._leader_may_change(left_s)
        raise self._no_quorum(timeout_s)

    async def transfer(self, to: int | None, *, timeout_s: float) -> int:
        """Hand leadership to `to`, or to the most advanced other member. Returns the new leader's id.

        Raises ValueError when `to` is no other member, NoQuorum when it did not happen in time.
        """
        body = b"" if to is None else str(to).encode()
        if to is not None and to not in range(len(self.settings.nodes)):
            raise ValueError(f"there is no node {to}; write a number from 0 to {len(self.settings.nodes) - 1}")
        deadline = time.monotonic() + timeout_s
        asked: int | None = None
        while (left_s := deadline - time.monotonic()) > 0:
            leader = self.leader_id()
            moved = leader == to if to is not None else asked is not None and leader != asked
            if leader is not None and moved:
                return leader
            if asked is None and isinstance(await self._try(Method.TRANSFER, body, left_s), bytes):
                asked = leader
            await self._leader_may_change(left_s)
        raise NoQuorum(f"leadership did not move within {timeout_s:.1f} s; ask /v1/cluster where it is")

    async def _try(self, method: Method, body: bytes, timeout_s: float) -> Outcome:
        """One attempt, at whoever leads as far as this node knows."""
        if self.stopping.is_set() and self.runner.core.leader is None and self.leader_id() is None:
            return ShuttingDown("this node is stopping: ask another one")
        leader = self.leader_id()
        if leader is None:
            return NotLeading(None)
        if leader != self.id:
            return await self.rpc.ask(leader, method, body, timeout_s)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._serve(method, body, resolver(future))
        outcome: Outcome | None = await self._deadlines.at_most(timeout_s, future)
        if outcome is None:
            return OutcomeUnknown(f"no majority confirmed it within {timeout_s:.2f} s; it may still happen")
        return outcome

    def _no_quorum(self, waited_s: float) -> NoQuorum:
        return NoQuorum(
            f"no leader with a majority was found within {waited_s:.2f} s; "
            f"a majority of {len(self.settings.nodes)} nodes must be up and connected"
        )

    async def _leader_may_change(self, left_s: float) -> None:
        pause_s = LEADERLESS_PAUSE_S if self.leader_id() is None else PAUSE_S
        news = asyncio.get_running_loop().create_future()
        self._waiting_for_news[news] = None
        try:
            await at_most(min(pause_s, left_s), news)
        finally:
            del self._waiting_for_news[news]

    # -- the serving side of operations -----------------------------------------------------------------

    def _serve(self, method: int, body: bytes, reply: Callable[[Outcome], None]) -> None:
        """Answer a question as the leader; from here or from a peer."""
        if method in (Method.SUBMIT, Method.SUBMIT_GROWING):
            self.runner.submit(body, method == Method.SUBMIT_GROWING, reply)
        elif method == Method.READ_INDEX:
            self.runner.read(lambda index: reply(index.to_bytes(8, "big") if isinstance(index, int) else index))
        elif method == Method.STATUS:
            reply(msgspec.msgpack.encode(self.status()))
        elif method == Method.TRANSFER:
            try:
                self.runner.transfer(int(body) if body else self._successor())
                reply(b"")
            except (NotLeader, ValueError):
                reply(NotLeading(self.leader_id()))

    def _successor(self) -> int:
        """Of the other members that answer, the one whose log is furthest. Raises ValueError when there is none."""
        core = self.runner.core
        if core.leader is None or not core.leader.progress:
            raise ValueError("no other member to hand leadership to")
        progress, most_ticks = core.leader.progress, core.tuning.election_min_ticks
        return max(progress, key=lambda peer: (progress[peer].silent_ticks < most_ticks, progress[peer].match))

    # -- what the node knows ----------------------------------------------------------------------------

    def leader_id(self) -> int | None:
        """Who leads, as far as this node knows."""
        return self.runner.core.leader_id

    def leader_url(self) -> str | None:
        """The leader's base URL for clients."""
        leader = self.leader_id()
        return None if leader is None else self.settings.nodes[leader].client_url

    def is_ready(self) -> bool:
        """Whether a leader is known and all is applied that was committed when this node first heard of it."""
        if self.stopping.is_set() or self.leader_id() is None:
            return False
        core = self.runner.core
        if core.leader is not None:
            return self.runner.applied_index >= core.leader.first_index
        return self._ready_at is not None and self.runner.applied_index >= self._ready_at

    def status(self) -> NodeStatus:
        """This node, now."""
        core = self.runner.core
        hash_index, state_hash = self.machine.state_hash()
        return NodeStatus(
            node=self.id,
            role=ROLE_NAMES[core.role],
            term=core.term,
            leader=core.leader_id,
            first_log_index=core.log.first_index,
            last_log_index=core.log.last_index,
            commit_index=core.log.commit_index,
            applied_index=self.runner.applied_index,
            state_hash=state_hash,
            state_hash_index=hash_index,
            pid=os.getpid(),
            version=VERSION,
            ready=self.is_ready(),
            disk_full=self._disk.full,
            elections_started=core.elections_started,
            strangers_refused=core.strangers_refused + self.network.refused,
            syncs=getattr(self._disk, "syncs", 0),
            uptime_s=round(time.monotonic() - self._started_at, 3),
        )

    def peers(self) -> list[PeerStatus]:
        """The other members, as this node knows them while it leads; none while it does not."""
        leader = self.runner.core.leader
        if leader is None:
            return []
        return [PeerStatus(id=peer, lag=leader.lag(peer), reachable=leader.hears(peer)) for peer in leader.progress]

    def disk(self) -> DiskStatus:
        """The disk, and what this node takes of it."""
        return DiskStatus(
            disk_free_bytes=self._disk.free_bytes,
            disk_owed_bytes=self.machine.owed_bytes,
            disk_reserve_bytes=self.settings.disk_reserve_bytes,
            log_size_bytes=self.runner.compaction.log.size_bytes(),
            state_size_bytes=self.machine.size_bytes,
        )

    async def cluster(self) -> list[MemberStatus]:
        """Every member, asked at once; one that does not answer in time is unreachable.

        This node tells of itself when the others have answered, so that its own row is of the moment of the whole. What
        it committed while it waited for them is not counted as their lag.
        """
        ids = range(len(self.settings.nodes))
        committed = self.runner.core.log.commit_index
        found = await asyncio.gather(*(self._status_of(peer) for peer in ids if peer != self.id))
        statuses = [*found[: self.id], self.status(), *found[self.id :]]
        leaders = [status for status in statuses if status is not None and status.role == "Leader"]
        commit = max((committed if each.node == self.id else each.commit_index for each in leaders), default=None)
        return [
            MemberStatus(
                id=peer,
                url=self.settings.nodes[peer].client_url,
                peer=str(self.settings.nodes[peer].peer),
                reachable=status is not None,
                lag=None if status is None or commit is None else max(0, commit - status.applied_index),
                status=status,
            )
            for peer, status in zip(ids, statuses, strict=True)
        ]

    async def _status_of(self, peer: int) -> NodeStatus | None:
        outcome = await self.rpc.ask(peer, Method.STATUS, b"", STATUS_TIMEOUT_S)
        return msgspec.msgpack.decode(outcome, type=NodeStatus) if isinstance(outcome, bytes) else None

    # -- events -----------------------------------------------------------------------------------------

    def _on_frame(self, peer: int, kind: int, payload: bytes) -> None:
        if kind != Frame.RAFT:
            self.rpc.on_frame(peer, kind, payload)
            return
        message = decode(payload)
        if message.sender != peer:
            return
        if self._ready_at is None and isinstance(message, AppendEntries) and message.leader_commit:
            self._ready_at = message.leader_commit
        self.runner.deliver(message)

    def _on_lost(self, peer: int) -> None:
        self.rpc.give_up(peer, f"the connection to node {peer} was lost")
        self.runner.peer_lost(peer)

    def _announce(self) -> None:
        """Role, term or leader changed: wake whoever waits for a leader, or for a former one's answer."""
        core, leader = self.runner.core, self.leader_id()
        following = "no leader known" if leader is None else f"node {leader} leads"
        log.info("%s in term %d, %s; last entry %d", core.role.name, core.term, following, core.log.last_index)
        if leader is not None and leader != self._last_leader:
            if self._last_leader is not None:
                self.rpc.give_up(self._last_leader, f"node {leader} leads now, and node {self._last_leader} is silent")
            self._last_leader = leader
        for news in self._waiting_for_news:
            resolver(news)(None)
