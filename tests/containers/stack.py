"""A Compose cluster of its own for tests: that of the chaos harness, and the words that tests use of it.

Rules of this file: containers are killed and started by the command lines that a user types; a running cluster on the
usual ports is not disturbed.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from typing import Any

import httpx

from chaos.override import FILES, REPOSITORY
from chaos.own import OwnCluster

__all__ = ["FILES", "REPOSITORY", "Stack", "command", "free_ports"]

ANSWER_S = 10.0


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def command(*parts: str, check: bool = True) -> str:
    """Standard output of a command; on failure its error stands in the message."""
    done = subprocess.run(parts, cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False)
    assert not check or done.returncode == 0, f"{' '.join(parts)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


class Stack(OwnCluster):
    """`size` nodes under project `name`; nodes are counted from 0 as in the cluster file."""

    def __init__(self, name: str, size: int, environment: Mapping[str, str]) -> None:
        super().__init__(name, size, ports=free_ports(size), environment=environment)
        self.http = httpx.Client(timeout=ANSWER_S)

    def down(self) -> None:
        self.http.close()
        super().down()

    def docker(self, verb: str, *nodes: int) -> None:
        """`docker kill`, `start`, `restart` … of nodes, all at once."""
        command("docker", verb, *(str(self.container(node).id) for node in nodes))

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
