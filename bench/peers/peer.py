"""The protocol of a peer, and what three processes on loopback have in common."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from bench.loads import Client, How, Load, Taken, run
from bench.servers import Server, Usage

READY_S = 120.0


class Missing(Exception):
    """What must be installed first. Its text is the sentence to print."""


class Peer(Protocol):
    """Three nodes. Begun by `start`, which forgets what was before; ended by `stop`."""

    key: str
    """What PEERS calls it."""
    name: str
    """With version and settings."""
    loads: frozenset[str]
    """The keys of those that it can do."""

    def start(self) -> None:
        """Start three nodes with nothing in them, and wait until they serve. Raises Missing, TimeoutError."""

    def stop(self) -> None:
        """End all of it."""

    async def prepare(self, topic: str) -> int:
        """Make a queue. -> the node that leads it."""

    async def run(self, load: Load, topic: str, size_bytes: int, seconds: float) -> Taken:
        """Do this load on a queue of its own."""

    async def connect(self, node: int, topic: str, size_bytes: int, how: How) -> Client:
        """A connection to one node, for messages of that size. Raises OSError."""

    def kill(self, node: int, how: int) -> None:
        """Send a signal to one node."""

    def restart(self, node: int) -> None:
        """Start a killed node again, and wait until all is as before. Raises TimeoutError."""

    def wait_ready(self) -> None:
        """Wait until all nodes serve. Raises TimeoutError."""

    def usage(self) -> Usage:
        """What all nodes use."""


class ThreeServers:
    """The part of a peer that concerns processes. `command` says how a node is started."""

    NODES: ClassVar[int] = 3

    def __init__(self) -> None:
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self.servers: list[Server] = []

    def begin(self) -> Path:
        """A new folder for data and logs; nodes are started in order."""
        self._scratch = tempfile.TemporaryDirectory(prefix="rmq-bench-", ignore_cleanup_errors=True)
        return Path(self._scratch.name)

    @property
    def folder(self) -> Path:
        """Where data and logs are."""
        assert self._scratch is not None
        return Path(self._scratch.name)

    def launch(self, node: int) -> Server:
        """Start a node's process."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether all nodes serve."""
        raise NotImplementedError

    def start(self) -> None:
        """Start three nodes with nothing in them, and wait until they serve. Raises Missing, TimeoutError."""
        self.begin()
        try:
            self.servers = []
            for node in range(self.NODES):
                self.servers.append(self.launch(node))
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all of it."""
        for server in self.servers:
            server.kill()
        self.servers = []
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def kill(self, node: int, how: int) -> None:
        """Send a signal to one node."""
        self.servers[node].send(how)

    def restart(self, node: int) -> None:
        """Start a killed node again, and wait until all is as before. Raises TimeoutError."""
        self.servers[node].kill()
        self.servers[node] = self.launch(node)
        self.wait_ready()

    def usage(self) -> Usage:
        """What all nodes use."""
        return Usage([server.process.pid for server in self.servers])

    def wait_ready(self) -> None:
        """Wait until all nodes serve. Raises TimeoutError."""
        until(self.is_ready, f"{type(self).__name__} is not ready; see the logs in {self.folder}")


class ByClients(ThreeServers):
    """A peer whose loads are run by clients outside."""

    async def prepare(self, topic: str) -> int:
        """Make a queue. -> the node that leads it."""
        raise NotImplementedError

    async def connect(self, node: int, topic: str, size_bytes: int, how: How) -> Client:
        """A connection to one node."""
        raise NotImplementedError

    async def run(self, load: Load, topic: str, size_bytes: int, seconds: float) -> Taken:
        """Do this load on a queue of its own."""
        leader = await self.prepare(topic)
        node = (leader + 1) % self.NODES if load.through == "follower" else leader

        async def connect(how: How) -> Client:
            return await self.connect(node, topic, size_bytes, how)

        return await run(load, connect, seconds)


def until(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait until it holds. Raises TimeoutError with the text."""
    deadline = time.monotonic() + READY_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.05)
