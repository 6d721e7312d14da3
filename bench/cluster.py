"""Three nodes as local processes on free ports, in a directory that goes away."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from typing import Any

START_TIMEOUT_S = 20


class LocalCluster:
    """A context: `ports` are the client ports by node; `kill` and `start` single nodes."""

    def __init__(self, nodes: int = 3):
        self._directory = tempfile.TemporaryDirectory(prefix="rmq-bench-")
        free = _free_ports(2 * nodes)
        self.ports, peer_ports = free[:nodes], free[nodes:]
        addresses = [
            {"ip": "127.0.0.1", "port": port, "internal_port": peer}
            for port, peer in zip(self.ports, peer_ports, strict=True)
        ]
        self._config = os.path.join(self._directory.name, "cluster.json")
        with open(self._config, "w", encoding="utf-8") as file:
            json.dump({"addresses": addresses}, file)
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * nodes

    def __enter__(self) -> LocalCluster:
        for node in range(len(self.ports)):
            self.start(node)
        self.wait_for_leader()
        return self

    def __exit__(self, *_: object) -> None:
        for node, process in enumerate(self.processes):
            if process is not None:
                self.kill(node)
        self._directory.cleanup()

    def start(self, node: int) -> None:
        """Start one node; its log goes to a file beside its data."""
        command = [sys.executable, "-m", "app", "--config", self._config, "--node", str(node)]
        command += ["--data-dir", self._directory.name]
        with open(os.path.join(self._directory.name, f"node-{node}.log"), "ab") as output:
            self.processes[node] = subprocess.Popen(command, stdout=output, stderr=output)

    def kill(self, node: int, how: int = signal.SIGKILL) -> None:
        """End one node."""
        process = self.processes[node]
        assert process is not None
        process.send_signal(how)
        process.wait()
        self.processes[node] = None

    def status(self, node: int) -> dict[str, Any] | None:
        """What the node says of itself; None when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[node]}/status", timeout=1) as answer:
                return json.load(answer)
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def wait_for_leader(self) -> int:
        """The leader that all live nodes agree on. Raises TimeoutError."""
        deadline = time.monotonic() + START_TIMEOUT_S
        alive = [node for node, process in enumerate(self.processes) if process is not None]
        while time.monotonic() < deadline:
            leaders = {(status or {}).get("leader") for status in map(self.status, alive)}
            if len(leaders) == 1 and None not in leaders:
                return int(leaders.pop())
            time.sleep(0.02)
        raise TimeoutError(f"no leader within {START_TIMEOUT_S} s; see the logs in {self._directory.name}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
