"""A single node without Raft: the real state machine in memory, fed in the order of the calls.

What a test wants to see go wrong it says with `fail`, `lost` and `leader`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from app.broker import Item, Machine
from app.broker.commands import BadCommand, Receive, Receives, Tick, decode, encode
from app.config import Endpoint, NodeAddress, Settings
from app.node.errors import NodeError, OutcomeUnknown
from app.node.status import DiskStatus, MemberStatus, NodeStatus, PeerStatus

ADDRESSES = tuple(
    NodeAddress(
        Endpoint("127.0.0.1", 8001 + n), f"http://127.0.0.1:{8001 + n}", Endpoint("127.0.0.1", 9001 + n),
        Endpoint("127.0.0.1", 9001 + n),
    )
    for n in range(3)
)  # fmt: skip


def settings(**changes: object) -> Settings:
    """Settings of node 0 of three, with changes."""
    return dataclasses.replace(Settings(node=0, nodes=ADDRESSES), **changes)


class FakeNode:
    """Stands where `app.node.service.Node` stands."""

    def __init__(self) -> None:
        self.id = 0
        self.settings = settings()
        self.machine = Machine.open(":memory:")
        self.stopping = asyncio.Event()
        self.leader: int | None = 0
        self.ready = True
        self.free_bytes: int | None = 1000
        self.fail: NodeError | None = None
        """Raised by every operation and barrier."""
        self.fails: type | None = None
        """Of the operations only commands of this kind raise it."""
        self.lost = 0
        """So many commands take effect, but their answers are lost (unless they may be retried)."""
        self.meanwhile: bytes | None = None
        """A command of somebody else, between one whose answer is lost and its retry."""
        self.hangs = False
        """Operations never end."""
        self.holds: type | None = None
        """Commands of this kind wait."""
        self.slow_s = 0.0
        """Answers are late by so much."""
        self.submitted = 0
        self.received = 0
        """How many receives were asked for, alone or several in one command."""
        self.barriers = 0
        self.ahead_ms = 0
        """How far log time is ahead of the clock."""

    async def submit(self, command: bytes, *, timeout_s: float, retry: bool = False, grows: bool = False) -> bytes:
        """Apply at once."""
        assert 0 < timeout_s <= 5
        if self.hangs:
            await asyncio.Event().wait()
        while self.holds is not None and isinstance(decode(command), self.holds):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # Set by the test's thread, which an event is not for.
        if self.fail is not None and (self.fails is None or isinstance(decode(command), self.fails)):
            raise self.fail
        self.submitted += 1
        with suppress(BadCommand):
            asked = decode(command)
            self.received += len(asked.receives) if isinstance(asked, Receives) else isinstance(asked, Receive)
        result = self.apply(command)
        if self.lost:
            self.lost -= 1
            if not retry:
                raise OutcomeUnknown("the answer was lost")
            if self.meanwhile is not None:
                self.apply(self.meanwhile)
            result = self.apply(command)
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        return result

    def apply(self, command: bytes) -> bytes:
        """What the machine answers."""
        item = Item(self.machine.applied_index + 1, 1, time.time_ns() // 1_000_000 + self.ahead_ms, command)
        result = self.machine.apply([item])[0]
        assert result is not None
        return result

    def pass_time(self, seconds: float) -> None:
        """Log time goes on, and what is due is done."""
        self.ahead_ms += round(seconds * 1000)
        self.apply(encode(Tick()))

    async def read_barrier(self, *, timeout_s: float) -> None:
        """Always fresh."""
        self.barriers += 1
        if self.fail is not None:
            raise self.fail

    async def transfer(self, to: int | None, *, timeout_s: float) -> int:
        """Make another one the leader."""
        if to is not None and to not in range(3):
            raise ValueError(f"there is no node {to}; write a number from 0 to 2")
        if self.fail is not None:
            raise self.fail
        self.leader = 1 if to is None else to
        return self.leader

    def leader_id(self) -> int | None:
        """Whoever the test says."""
        return self.leader

    def leader_url(self) -> str | None:
        """Its address for clients."""
        return None if self.leader is None else ADDRESSES[self.leader].client_url

    def is_ready(self) -> bool:
        """Whatever the test says."""
        return self.ready

    def status(self) -> NodeStatus:
        """Of node 0."""
        index, digest = self.machine.state_hash()
        return NodeStatus(
            node=0, role="Leader" if self.leader == 0 else "Follower", term=1, leader=self.leader, first_log_index=1,
            last_log_index=index, commit_index=index, applied_index=index, state_hash=digest, state_hash_index=index,
            pid=os.getpid(), version="0.0.0", ready=self.ready, disk_full=False, elections_started=1,
            strangers_refused=0, syncs=0, uptime_s=1.0,
        )  # fmt: skip

    def peers(self) -> list[PeerStatus]:
        """One that lags, and one of which nothing is known; none where another node leads."""
        lags = {1: 3, 2: None} if self.leader == 0 else {}
        return [PeerStatus(id=n, lag=lag, reachable=lag is not None) for n, lag in lags.items()]

    def disk(self) -> DiskStatus:
        """Whatever the test says is free."""
        return DiskStatus(
            disk_free_bytes=self.free_bytes, disk_owed_bytes=20, disk_reserve_bytes=30, log_size_bytes=40,
            state_size_bytes=50,
        )  # fmt: skip

    async def cluster(self) -> list[MemberStatus]:
        """Node 0, and two that do not answer."""
        return [
            MemberStatus(
                id=n, url=ADDRESSES[n].client_url, peer=str(ADDRESSES[n].peer), reachable=n == 0,
                lag=0 if n == 0 else None, status=self.status() if n == 0 else None,
            )
            for n in range(3)
        ]  # fmt: skip

    @contextmanager
    def failing(self, error: NodeError) -> Iterator[None]:
        """Every operation fails meanwhile."""
        self.fail = error
        try:
            yield
        finally:
            self.fail = None
