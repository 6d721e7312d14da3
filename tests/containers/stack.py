"""A Compose cluster of its own for tests: own project name, own ports, the repository's own files.

Rules of this file: everything goes through the command lines that a user types; a running cluster on the usual
ports is not disturbed; the override that tests add moves ports and advertised URLs, and nothing else, so that
what is tested is what is shipped.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from scripts import containers

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = {3: ["docker-compose.yml"], 5: ["docker-compose.yml", "config/compose.five.yml"]}
CONFIGS = {3: "cluster.three.json", 5: "cluster.five.json"}
READY_S = 60.0
ANSWER_S = 5.0


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def command(*parts: str, check: bool = True, env: dict[str, str] | None = None) -> str:
    """Standard output of a command; on failure its error stands in the message."""
    env = {**os.environ, **(env or {})}
    done = subprocess.run(parts, cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False, env=env)
    assert not check or done.returncode == 0, f"{' '.join(parts)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


class Stack:
    """`size` nodes under project `name`; nodes are counted from 0 as in the cluster file."""

    def __init__(self, directory: Path, name: str, size: int = 3) -> None:
        self.size, self.name = size, name
        self.ports = free_ports(size)
        self.http = httpx.Client(timeout=ANSWER_S)
        self._env = {f"NODE{node + 1}_PORT": str(port) for node, port in enumerate(self.ports)}
        self._override = self._write_override(directory)

    def _write_override(self, directory: Path) -> Path:
        config = json.loads((REPOSITORY / "config" / CONFIGS[self.size]).read_text())
        for node, port in enumerate(self.ports):
            config["nodes"][node]["client"]["advertise"] = f"http://localhost:{port}"
        cluster_file = directory / CONFIGS[self.size]
        cluster_file.write_text(json.dumps(config))
        cluster_file.chmod(0o644)
        mount = f"{cluster_file}:/opt/rmq/config/{CONFIGS[self.size]}:ro"
        override = directory / "override.json"
        services = {f"node{node + 1}": {"volumes": [mount]} for node in range(self.size)}
        override.write_text(json.dumps({"services": services}))
        return override

    def compose(self, *arguments: str) -> str:
        files = [part for name in (*FILES[self.size], str(self._override)) for part in ("-f", name)]
        return command(*containers.compose(), "-p", self.name, *files, *arguments, env=self._env)

    def up(self) -> None:
        self.compose("up", "--detach", "--no-build")
        self.wait_ready()

    def down(self) -> None:
        self.http.close()
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "8")

    def container(self, node: int) -> str:
        """Id of a node's container."""
        return command(
            "docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.name}",
            "--filter", f"label=com.docker.compose.service=node{node + 1}",
        )

    def inspect(self, node: int) -> dict[str, Any]:
        return json.loads(command("docker", "inspect", self.container(node)))[0]

    def execute(self, node: int, *parts: str, check: bool = True) -> str:
        return command("docker", "exec", self.container(node), *parts, check=check)

    def docker(self, verb: str, *nodes: int) -> None:
        """`docker kill`, `start`, `restart` … of nodes, all at once."""
        command("docker", verb, *(self.container(node) for node in nodes))

    def url(self, node: int) -> str:
        return f"http://127.0.0.1:{self.ports[node]}"

    def status(self, node: int) -> dict[str, Any] | None:
        try:
            answer = self.http.get(f"{self.url(node)}/status", timeout=1)
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None

    def leader(self, among: Sequence[int] | None = None, timeout_s: float = 10.0) -> int:
        """The node that says that it leads; with two of them that of the higher term."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            statuses = {node: self.status(node) for node in among or range(self.size)}
            leading = [(s["term"], node) for node, s in statuses.items() if s and s["role"] == "Leader"]
            if leading:
                return max(leading)[1]
            time.sleep(0.02)
        raise AssertionError(f"no leader within {timeout_s} s")

    def wait_ready(self, nodes: Sequence[int] | None = None) -> None:
        deadline = time.monotonic() + READY_S
        for node in nodes or range(self.size):
            while not self._is_ready(node):
                assert time.monotonic() < deadline, command("docker", "logs", "--tail", "30", self.container(node))
                time.sleep(0.05)

    def _is_ready(self, node: int) -> bool:
        try:
            return self.http.get(f"{self.url(node)}/readyz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    def create(self, node: int, topic: str) -> httpx.Response:
        return self.http.put(f"{self.url(node)}/topic", json={"topic": topic})

    def publish(self, node: int, topic: str, message: str) -> httpx.Response:
        return self.http.put(f"{self.url(node)}/message", json={"topic": topic, "message": message})

    def consume(self, node: int, topic: str) -> dict[str, Any]:
        answer = self.http.get(f"{self.url(node)}/message/{topic}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def drain(self, node: int, topic: str) -> list[str]:
        """All messages that wait, in order, taken away."""
        taken = []
        while (answer := self.consume(node, topic))["success"]:
            taken.append(answer["message"])
        return taken
