"""A cluster of real nodes in a test's hands: where it is, who leads, and how to break it.

Theory. Ports are held from the cluster's birth to its end: a socket that is bound and does not listen keeps everybody
else away from a port, but not the node, which sets SO_REUSEADDR as it does; so two pytest processes never meet, also
between a kill and the next start. (Only Linux permits that; elsewhere the ports are free just before the first start.)

What is asked of a node is asked over HTTP, as anybody can. A leader is the one that a majority of the nodes that can be
reached by their peers names, itself among them: a leader that was cut off says for a moment longer that it leads.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

import rmq
from rmq.testing.server import Server

T = TypeVar("T")
HOST = "127.0.0.1"
GLANCE_S = 0.005
ANSWER_S = 1.0
TIMEOUT_S = 30.0
LOG_LINES = 40
SETTING = re.compile(r"  [a-z_]+ = ")
"""A line of the report with which a node's log begins."""


class Cluster:
    """Running nodes, numbered from 0. A context; `wait_ready` says when they can be used. Made by the plugin.

    The faults may be called from any thread and return when they have happened. Each raises ValueError for a node that
    there is not, and RuntimeError for one that cannot be broken so.
    """

    def __init__(self, server: Server, size: int, *, shared: bool = False) -> None:
        server.check()
        self._server, self._shared = server, shared
        self._ports, self._held = _hold_ports(2 * size)
        self._paused: set[int] = set()
        self._isolated: set[int] = set()
        self._killed: set[int] = set()
        self.nodes = range(size)
        """The numbers of the nodes."""
        self.urls = [f"http://{HOST}:{port}" for port in self._ports[:size]]
        """The nodes' URLs, by number: what `rmq.Client` takes."""
        self._id, self._directory = server.ask("open", self._ports[:size], self._ports[size:])
        if sys.platform != "linux":
            self._release()
        for node in self.nodes:
            server.ask("start", self._id, node)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all nodes and remove their files."""
        try:
            self._server.ask("close", self._id)
        finally:
            self._release()

    # -- looking ----------------------------------------------------------------------------------------------

    def leader(self, timeout_s: float = TIMEOUT_S) -> int:
        """Who leads; waits until a majority is agreed. Raises TimeoutError, and RuntimeError where a node ended by
        itself."""
        return self._wait(self._find_leader, timeout_s, "agreed on a leader")

    def wait_ready(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until all nodes that are not killed, paused or isolated are ready and follow one leader. Raises as
        `leader`."""
        self._wait(self._find_ready, timeout_s, "became ready")

    def log(self, node: int) -> str:
        """What the node has written to its log so far."""
        self._check(node)
        try:
            with open(f"{self._directory}/node-{node}.log", encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def log_end(self, node: int) -> str:
        """The last lines of it, and what has become of the node."""
        states = ("killed", self._killed), ("paused", self._paused), ("isolated", self._isolated)
        what = ", ".join(name for name, nodes in states if node in nodes) or "running"
        lines = [line for line in self.log(node).splitlines() if not SETTING.match(line)]
        return "\n".join([f"({what}; {self.urls[node]})", *lines[-LOG_LINES:]])

    def client(self) -> rmq.Client:
        """A client of this cluster. It reads no certificates, which takes longer than all else in it."""
        return rmq.Client(self.urls, verify=False)

    # -- breaking ---------------------------------------------------------------------------------------------

    def kill(self, node: int) -> None:
        """SIGKILL: the process is gone, what it has synced is on its disk."""
        self._fault("kill", node)
        self._killed.add(node)
        self._paused.discard(node)

    def start(self, node: int) -> None:
        """Start a node that was killed, with the data that it had; it becomes ready in its own time."""
        self._fault("start", node)
        self._killed.discard(node)

    def pause(self, node: int) -> None:
        """SIGSTOP: its connections stand and nothing answers, as on a machine that hangs."""
        self._fault("pause", node)
        self._paused.add(node)

    def resume(self, node: int) -> None:
        """SIGCONT: it goes on as if nothing had been."""
        self._fault("resume", node)
        self._paused.discard(node)

    def isolate(self, node: int) -> None:
        """Cut it off from all other nodes, without a word to either side. Clients reach it still."""
        if len(self.nodes) == 1:
            raise RuntimeError("a single node has no others to be isolated from: take three, @pytest.mark.rmq(nodes=3)")
        self._fault("isolate", node)
        self._isolated.add(node)

    def heal(self) -> None:
        """All nodes reach each other again. What was paused or killed stays so."""
        self._server.ask("heal", self._id)
        self._isolated.clear()

    def wipe(self) -> None:
        """Delete all topics, with everything in them."""
        with self.client() as client:
            for topic in list(client.topics()):
                client.delete_topic(topic.name)

    # -- how --------------------------------------------------------------------------------------------------

    def _check(self, node: int) -> None:
        if node not in self.nodes:
            raise ValueError(f"there is no node {node!r}: the nodes are numbered from 0 to {len(self.nodes) - 1}")

    def _fault(self, name: str, node: int) -> None:
        self._check(node)
        if self._shared:
            raise RuntimeError(
                f"cannot {name} node {node}: this cluster is shared with other tests; mark this test with "
                "@pytest.mark.rmq(shared=False) to give it one of its own"
            )
        if name in ("pause", "resume") and node in self._killed:
            raise RuntimeError(f"cannot {name} node {node}: it was killed, start it first")
        self._server.ask(name, self._id, node)

    def _usable(self) -> list[int]:
        broken = self._killed | self._paused | self._isolated
        return [node for node in self.nodes if node not in broken]

    def _find_leader(self, least: int = 1) -> int | None:
        """Whom a majority, and at least so many, of those that are not broken name in one term."""
        named: dict[tuple[int, int], set[int]] = {}
        for node in self._usable():
            status = self._get(node, "/status")
            if status and status["leader"] is not None:
                named.setdefault((status["leader"], status["term"]), set()).add(node)
        least = max(least, len(self.nodes) // 2 + 1)
        return next((leader for (leader, _), by in named.items() if leader in by and len(by) >= least), None)

    def _find_ready(self) -> int | None:
        usable = self._usable()
        is_ready = all(self._get(node, "/readyz") for node in usable)
        return self._find_leader(len(usable)) if is_ready else None

    def _get(self, node: int, path: str) -> Any:
        """The JSON that a node answers; None where it does not answer, or with an error."""
        connection = http.client.HTTPConnection(HOST, self._ports[node], timeout=ANSWER_S)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            return json.loads(response.read()) if response.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def _wait(self, look: Callable[[], T | None], timeout_s: float, what: str) -> T:
        deadline = time.monotonic() + timeout_s
        while (found := look()) is None:
            for node, code in self._server.ask("ended", self._id).items():
                raise RuntimeError(f"node {node} ended by itself with exit code {code}; its log: {self.log_end(node)}")
            if time.monotonic() > deadline:
                logs = "\n".join(f"node {node} {self.log_end(node)}" for node in self.nodes)
                raise TimeoutError(f"the cluster {what} not within {timeout_s:g} s; the logs of its nodes:\n{logs}")
            time.sleep(GLANCE_S)
        return found

    def _release(self) -> None:
        for each in self._held:
            each.close()


def _hold_ports(count: int) -> tuple[list[int], list[socket.socket]]:
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind((HOST, 0))
    return [each.getsockname()[1] for each in held], held
