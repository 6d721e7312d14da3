"""Nodes, three by default, as local processes on free ports, in a directory that goes away."""

from __future__ import annotations

import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from typing import Any

from bench.servers import hold_ports

START_TIMEOUT_S = 60


class LocalCluster:
    """A context: `ports` are the client ports by node; `kill` and `start` single nodes.

    `directory`: where the nodes keep their data and logs; by default one that goes away at the end.
    """

    def __init__(self, nodes: int = 3, directory: str | None = None):
        self._scratch = tempfile.TemporaryDirectory(prefix="rmq-")
        self.directory = directory or self._scratch.name
        held, self._held = hold_ports(2 * nodes)
        self.ports, peer_ports = held[:nodes], held[nodes:]
        addresses = [
            {"ip": "127.0.0.1", "port": port, "internal_port": peer}
            for port, peer in zip(self.ports, peer_ports, strict=True)
        ]
        self._config = os.path.join(self._scratch.name, "cluster.json")
        with open(self._config, "w", encoding="utf-8") as file:
            json.dump({"addresses": addresses}, file)
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * nodes

    def __enter__(self) -> LocalCluster:
        try:
            for node in range(len(self.ports)):
                self.start(node)
            self.wait_for_leader()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node, process in enumerate(self.processes):
            if process is not None:
                self.kill(node)
        for held in self._held:
            held.close()
        self._scratch.cleanup()

    def start(self, node: int) -> None:
        """Start one node; its log goes to a file beside its data."""
        command = [sys.executable, "-m", "app", "--config", self._config, "--node", str(node)]
        command += ["--data-dir", self.directory]
        with open(os.path.join(self.directory, f"node-{node}.log"), "ab") as output:
            self.processes[node] = subprocess.Popen(command, stdout=output, stderr=output)

    def kill(self, node: int, how: int = signal.SIGKILL) -> None:
        """End one node."""
        process = self.processes[node]
        assert process is not None
        process.send_signal(how)
        process.wait()
        self.processes[node] = None

    def storage(self, node: int) -> str:
        """The directory that holds all that this node must not lose."""
        (found,) = glob.glob(os.path.join(self.directory, "*", f"node-{node}"))
        return found

    def status(self, node: int) -> dict[str, Any] | None:
        """What the node says of itself; None when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[node]}/status", timeout=1) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def term(self) -> int:
        """The leader's term: how many elections there were; 0 when it does not answer."""
        status = self.status(self.wait_for_leader())
        return int(status["term"]) if status else 0

    def create_topic(self, topic: str) -> None:
        """Create a topic through the leader."""
        url = f"http://127.0.0.1:{self.ports[self.wait_for_leader()]}/v1/topics/{topic}"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5).close()

    def wait_for_leader(self) -> int:
        """The leader that all live nodes agree on, itself among them. Raises TimeoutError."""
        deadline = time.monotonic() + START_TIMEOUT_S
        alive = [node for node, process in enumerate(self.processes) if process is not None]
        while time.monotonic() < deadline:
            statuses = {node: self.status(node) or {} for node in alive}
            leaders = {status.get("leader") for status in statuses.values()}
            if len(leaders) == 1 and any(status.get("role") == "Leader" for status in statuses.values()):
                return int(leaders.pop() or 0)
            time.sleep(0.02)
        raise TimeoutError(f"no leader within {START_TIMEOUT_S} s; see the logs in {self.directory}")
