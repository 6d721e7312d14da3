"""PySyncObj with a journal, ticking as fast as it can: its best, in which a client is a call inside the leader.

The journal is written, and never synced: what was acknowledged can be lost when machines lose their power.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import json
import socket
import sys
from typing import Any

from bench.loads import How, Load, Taken
from bench.peers.peer import Missing, ThreeServers, until
from bench.servers import Server, free_ports


class PySyncObj(ThreeServers):
    """Three nodes, each asked over a port of its own."""

    key = "pysyncobj"
    loads = frozenset({"one", "many", "pipelined", "take-one", "take-batches"})

    def __init__(self) -> None:
        super().__init__()
        self.name = "PySyncObj, journal not synced"
        self._ports: list[int] = []

    def start(self) -> None:
        """Start three nodes with nothing in them, and wait until they serve. Raises Missing, TimeoutError."""
        if importlib.util.find_spec("pysyncobj") is None:
            raise Missing("PySyncObj is missing: pip install -r bench/requirements.txt.")
        self.name = f"PySyncObj {importlib.metadata.version('pysyncobj')}, journal not synced, client inside the node"
        ports = free_ports(6)
        self._ports, self._far = ports[:3], [f"127.0.0.1:{port}" for port in ports[3:]]
        super().start()

    def launch(self, node: int) -> Server:
        """Start a node's process."""
        others = [far for far in self._far if far != self._far[node]]
        command = [sys.executable, "-m", "bench.peers.pysyncobj_node", "--own", self._far[node], "--others", *others]
        command += ["--port", str(self._ports[node]), "--journal", str(self.folder / f"node-{node}.journal")]
        return Server(command, self.folder / f"node-{node}.log")

    def is_ready(self) -> bool:
        """Whether all nodes are up to date, under one leader."""
        found = [self._status(node) for node in range(self.NODES)]
        leaders = {status["leader"] for status in found if status is not None and status["ready"]}
        return None not in found and len(leaders) == 1 and leaders < set(self._far)

    def _status(self, node: int) -> dict[str, Any] | None:
        try:
            with socket.create_connection(("127.0.0.1", self._ports[node]), timeout=2) as connection:
                connection.sendall(b'{"what":"status"}\n')
                found: dict[str, Any] = json.loads(connection.makefile("rb").readline())
                return found
        except (OSError, ValueError):
            return None

    async def prepare(self, topic: str) -> int:
        """There is one queue, which each load leaves as it was, or longer. -> the leader."""
        leaders: list[str] = []

        def is_led() -> bool:
            leaders[:] = [status["leader"] for node in range(self.NODES) if (status := self._status(node))]
            return bool(leaders) and leaders[0] in self._far

        until(is_led, "no node of PySyncObj knows a leader")
        return self._far.index(leaders[0])

    async def run(self, load: Load, topic: str, size_bytes: int, seconds: float) -> Taken:
        """Have the leader do it."""
        client = await self.connect(await self.prepare(topic), topic, size_bytes, "asked")
        found = await client.ask({"what": "load", "load": load.key, "size_bytes": size_bytes, "seconds": seconds})
        client.close()
        return Taken(*found)

    async def connect(self, node: int, topic: str, size_bytes: int, how: How) -> Asking:
        """A connection that asks this node to publish."""
        return Asking(*await asyncio.open_connection("127.0.0.1", self._ports[node]), size_bytes)


class Asking:
    """Asks a node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size_bytes: int) -> None:
        self._reader, self._writer, self._size_bytes = reader, writer, size_bytes

    async def publish(self, count: int) -> None:
        """Have the node publish `count` messages."""
        await self.ask({"what": "publish", "size_bytes": self._size_bytes, "count": count})

    async def consume(self, count: int) -> int:
        """Never asked for: loads run inside."""
        raise NotImplementedError

    async def ask(self, what: dict[str, Any]) -> Any:
        """Its answer. Raises ConnectionError, RuntimeError."""
        self._writer.write(json.dumps(what).encode() + b"\n")
        line = await self._reader.readline()
        if not line:
            raise ConnectionError("the connection was lost")
        found = json.loads(line)
        if isinstance(found, dict) and "error" in found:
            raise RuntimeError(found["error"])
        return found

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
