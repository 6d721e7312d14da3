"""etcd as a queue, through its HTTP gateway: a message is a key, a batch is a transaction of 100 (its limit is 128).

etcd has no consumers. What stands for one: each client takes the oldest keys of a range of its own with one
DeleteRange that returns them, so there is no waiting, no lease, and no two clients that want the same message.
etcd syncs by default; there is one setting.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import urllib.request
from collections import defaultdict
from typing import Any

from bench.http import Connection, request_bytes
from bench.loads import Client, How
from bench.peers.peer import ByClients, Missing
from bench.servers import Server, free_ports

BATCH = 100
QUOTA_BYTES = 8 << 30


class Etcd(ByClients):
    """Three members."""

    key = "etcd"
    loads = frozenset({"one", "many", "batches", "take-batches"})

    def __init__(self) -> None:
        super().__init__()
        self.name = "etcd, HTTP JSON, synced"
        self._numbers: defaultdict[tuple[str, str], itertools.count[int]] = defaultdict(itertools.count)

    def start(self) -> None:
        """Start three members with nothing in them, and wait until they serve. Raises Missing, TimeoutError."""
        program = os.environ.get("ETCD") or shutil.which("etcd")
        if not program:
            raise Missing("etcd is missing: apt-get install etcd-server, or name it in ETCD.")
        self._program = program
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        self.name = f"etcd {version.split()[2]}, HTTP JSON, synced"
        ports = free_ports(6)
        self._ports, self._far_ports = ports[:3], ports[3:]
        self._numbers.clear()
        super().start()

    def launch(self, node: int) -> Server:
        """Start a member's process."""
        far, near = (f"http://127.0.0.1:{ports[node]}" for ports in (self._far_ports, self._ports))
        members = ",".join(f"n{each}=http://127.0.0.1:{port}" for each, port in enumerate(self._far_ports))
        options = {
            "name": f"n{node}", "data-dir": str(self.folder / f"node-{node}"), "initial-cluster": members,
            "listen-peer-urls": far, "initial-advertise-peer-urls": far, "listen-client-urls": near,
            "advertise-client-urls": near, "quota-backend-bytes": str(QUOTA_BYTES), "logger": "zap",
        }  # fmt: skip
        command = [self._program, *(f"--{name}={value}" for name, value in options.items())]
        return Server(command, self.folder / f"node-{node}.log")

    def is_ready(self) -> bool:
        """Whether all members know a leader."""
        try:
            for port in self._ports:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                    if json.load(answer)["health"] != "true":
                        return False
        except OSError:
            return False
        return True

    async def prepare(self, topic: str) -> int:
        """Nothing is to be made. -> the leader."""
        for node, port in enumerate(self._ports):
            try:
                connection = await Connection.open("127.0.0.1", port)
            except OSError:
                continue
            _, answer = await connection.request(request_bytes("POST", "/v3/maintenance/status", b"{}"))
            connection.close()
            status = json.loads(answer)
            if status["leader"] == status["header"]["member_id"]:
                return node
        raise RuntimeError("no member says that it leads")

    async def connect(self, node: int, topic: str, size_bytes: int, how: How) -> Client:
        """A connection to one member, for messages of that size. Raises OSError."""
        connection = await Connection.open("127.0.0.1", self._ports[node])
        return KeysClient(connection, topic, size_bytes, self._numbers)


class KeysClient:
    """The first, second … client that publishes to a topic writes keys of its own range; so with those that take."""

    def __init__(
        self, connection: Connection, topic: str, size_bytes: int,
        numbers: defaultdict[tuple[str, str], itertools.count[int]],
    ) -> None:  # fmt: skip
        self._connection, self._topic, self._numbers = connection, topic, numbers
        self._value = base64.b64encode(b"x" * size_bytes).decode()
        self._ranges: dict[str, int] = {}
        self._next = {"publish": 0, "consume": 0}

    def _key(self, what: str, number: int) -> str:
        if what not in self._ranges:
            self._ranges[what] = next(self._numbers[self._topic, what])
        return base64.b64encode(b"%b/%06d/%012d" % (self._topic.encode(), self._ranges[what], number)).decode()

    def _put(self) -> dict[str, Any]:
        self._next["publish"] += 1
        return {"key": self._key("publish", self._next["publish"]), "value": self._value}

    async def publish(self, count: int) -> None:
        """A put, or transactions of 100 puts, one after the other."""
        if count == 1:
            await self._ask("/v3/kv/put", self._put())
            return
        for done in range(0, count, BATCH):
            puts = [{"request_put": self._put()} for _ in range(min(BATCH, count - done))]
            await self._ask("/v3/kv/txn", {"success": puts})

    async def consume(self, count: int) -> int:
        """Delete the next keys of the range, and get what they were."""
        first = self._next["consume"] + 1
        self._next["consume"] += count
        bounds = {"key": self._key("consume", first), "range_end": self._key("consume", first + count)}
        found = await self._ask("/v3/kv/deleterange", {**bounds, "prev_kv": True})
        return found.count(b'"mod_revision"')

    async def _ask(self, path: str, body: object) -> bytes:
        request = request_bytes("POST", path, json.dumps(body).encode())
        status, answer = await self._connection.request(request)
        if status != 200:
            raise RuntimeError(f"{path} was answered {status}: {answer[:200]!r}")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
