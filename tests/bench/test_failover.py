"""A trial of failover ends, whatever its clients are at when the queue goes on."""

from __future__ import annotations

import asyncio
import signal

import pytest

from bench import failover
from bench.loads import How


class Clients:
    """A peer whose answers come after so many turns of the loop: each client has a rhythm of its own."""

    def __init__(self) -> None:
        self.open = 0
        self.killed: list[int] = []

    async def prepare(self, topic: str) -> int:
        return 0

    async def connect(self, node: int, topic: str, size_bytes: int, how: How) -> Answering:
        self.open += 1
        return Answering(self)

    def kill(self, node: int, how: int) -> None:
        self.killed.append(how)

    def restart(self, node: int) -> None:
        pass


class Answering:
    def __init__(self, peer: Clients) -> None:
        self._peer, self._turns = peer, peer.open

    async def publish(self, count: int) -> None:
        for _ in range(self._turns):
            await asyncio.sleep(0)
        if not self._peer.killed:
            await asyncio.sleep(0.001)

    def close(self) -> None:
        self._peer.open -= 1


def test_a_client_that_is_answered_as_it_is_called_off_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "BEFORE_S", 0.01)
    monkeypatch.setattr(failover, "AFTER_S", 0)

    async def trials() -> None:
        for _ in range(20):
            peer = Clients()
            async with asyncio.timeout(200):
                assert await failover.Trial(peer, "t").run(signal.SIGKILL) >= 0  # type: ignore[arg-type]
            assert peer.killed == [signal.SIGKILL]
            assert peer.open == 0

    asyncio.run(trials())
