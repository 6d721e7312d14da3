"""A Compose cluster of nodes as the harness sees it: its containers, its networks, calls to its nodes.

Nodes are counted from 0, as in the cluster file; their services are node1, node2, …
Where a cluster comes from and what becomes of it stands in `own` (built for a run) and `attached` (somebody's).

Rules of this file: the engine is asked, and things are found by the labels that Compose gives them. What may have
changed is asked anew, never remembered, except which container is whose. All calls block, in any thread.
"""

from __future__ import annotations

import shutil
import tarfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Self, TypeVar, cast

import httpx
from docker.models.containers import Container
from docker.models.networks import Network

from chaos import engine

PEER_PORT = 9000
READY_S, LEADER_S = 60.0, 15.0
GRACE_S = 8
"""From being told to stop to being killed, as in the Compose file."""

T = TypeVar("T")


class ClusterError(Exception):
    """The cluster does not do what it must. Its text is a sentence that says why."""


class Cluster(ABC):
    """`size` nodes under Compose project `name`; a context between `up` and `down`."""

    data_mib: int | None = None
    """Size of each node's disk; None: the machine's, which is not to be filled."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.nodes = tuple(range(size))
        self.ports: list[int] = []
        """Where clients reach the nodes, on 127.0.0.1; known from `up` on."""
        self.marks: dict[str, Any] = {}
        """What a fault notes when it is injected, for its proof."""
        self._containers: dict[int, Container] = {}
        # No connection is kept: an old one to a node that died since would say nothing of the new one.
        self._http = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), trust_env=False)

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @abstractmethod
    def up(self) -> None:
        """Have it ready for a run. ClusterError; EngineError without an engine; InUse when another run has it."""

    @abstractmethod
    def down(self) -> None:
        """Leave nothing of the run behind. May be called again, and while `up` goes on."""

    def wait_ready(self, nodes: Iterable[int] | None = None, timeout_s: float = READY_S) -> None:
        """Return when all of them (default: all nodes) are ready; ClusterError with the end of a node's log."""
        deadline = time.monotonic() + timeout_s
        for node in self.nodes if nodes is None else nodes:
            while self.get(node, "/readyz") is None:
                if time.monotonic() > deadline:
                    raise ClusterError(f"Node {node} is not ready after {timeout_s:.0f} s:\n{self.logs(node)[-2000:]}")
                time.sleep(0.05)

    def close(self) -> None:
        """Let go of what is held on this side."""
        self._containers.clear()
        self._http.close()

    # -- what it consists of ----------------------------------------------------------------------------

    def container(self, node: int) -> Container:
        """Its container. What its `attrs` say may be old: see `inspect`."""
        if node not in self._containers:
            found = engine.client().containers.list(all=True, filters=self._labels(engine.SERVICE, f"node{node + 1}"))
            self._containers[node] = self._one(found, f"container of node {node}")
        return self._containers[node]

    def image(self, node: int) -> str:
        """The image that its container was made from."""
        return str(self.inspect(node)["Config"]["Image"])

    def volume(self, node: int) -> str:
        """The name of its volume."""
        found = engine.client().volumes.list(filters=self._labels(engine.VOLUME, f"node{node + 1}-data"))
        return str(self._one(found, f"volume of node {node}").name)

    @property
    def peers(self) -> Network:
        """The network between nodes."""
        found = engine.client().networks.list(filters=self._labels(engine.NETWORK, "peers"))
        return self._one(found, "network of peers")

    def inspect(self, node: int) -> dict[str, Any]:
        """All that the engine says of a node's container, now."""
        found: dict[str, Any] = engine.client().api.inspect_container(str(self.container(node).id))
        return found

    def state(self, node: int) -> dict[str, Any]:
        """State as the engine tells it: Running, Paused, ExitCode, Pid, StartedAt …"""
        state: dict[str, Any] = self.inspect(node)["State"]
        return state

    def networks(self, node: int) -> dict[str, str]:
        """The networks that it is on, and its address on each; no address while it does not run."""
        found = self.inspect(node)["NetworkSettings"]["Networks"]
        return {name: each["IPAddress"] for name, each in found.items()}

    def alias(self, node: int) -> str:
        """The name under which its peers know it; on no network but that of the peers."""
        return f"rmq{node + 1}-peer"

    def logs(self, node: int) -> str:
        """All that it printed, over all its restarts, with the time of each line."""
        return self.container(node).logs(timestamps=True).decode("utf-8", "replace")

    def _labels(self, kind: str, value: str) -> dict[str, str | list[str] | bool]:
        return {"label": [f"{engine.PROJECT}={self.name}", f"{kind}={value}"]}

    def _one(self, found: Sequence[T], what: str) -> T:
        if len(found) != 1:
            raise ClusterError(f"{self.name} has {len(found)} of what should be its one {what}: is it up?")
        return found[0]

    # -- calls ------------------------------------------------------------------------------------------

    def url(self, node: int) -> str:
        """Where clients reach the node; known from `up` on."""
        return f"http://127.0.0.1:{self.ports[node]}"

    def call(self, node: int, method: str, path: str, timeout_s: float, body: object = None) -> httpx.Response | None:
        """The answer to a request with a JSON body (None: without), whatever its status; None when none comes."""
        try:
            return self._http.request(method, self.url(node) + path, timeout=timeout_s, json=body)
        except httpx.TransportError:
            return None

    def get(self, node: int, path: str, timeout_s: float = 1.0) -> Any:
        """The decoded answer of a GET, or None when it is not 200 or does not come."""
        answer = self.call(node, "GET", path, timeout_s)
        return answer.json() if answer is not None and answer.status_code == 200 else None

    def leader(self, among: Iterable[int] | None = None, timeout_s: float = LEADER_S) -> int:
        """The node that says that it leads, of several the one in the highest term. ClusterError when none does."""
        deadline = time.monotonic() + timeout_s
        asked = list(self.nodes if among is None else among)
        while time.monotonic() < deadline:
            said = engine.at_once(lambda node: self.get(node, "/status"), asked)
            leading = [(status["term"], status["node"]) for status in said if status and status["role"] == "Leader"]
            if leading:
                return int(max(leading)[1])
            time.sleep(0.02)
        raise ClusterError(f"None of the nodes {asked} led within {timeout_s:.0f} s.")

    def execute(self, node: int, *command: str, check: bool = True) -> str:
        """What a command prints in the node's container, run as the node's user. ClusterError when it fails."""
        code, output = self.container(node).exec_run(list(command))
        text = cast("bytes", output).decode("utf-8", "replace").strip()
        if check and code != 0:
            raise ClusterError(f"A command in node {node} ended with {code}: {text or command}")
        return text

    def on_volume(self, node: int, command: str) -> str:
        """Output of a shell command run as root beside the node, with its volume at /data."""
        output: bytes = engine.client().containers.run(
            self.image(node), ["-c", command], entrypoint="sh", user="0", network_mode="none", remove=True,
            volumes={self.volume(node): {"bind": "/data", "mode": "rw"}}, labels={engine.ADDED: self.name},
        )  # fmt: skip
        return output.decode("utf-8", "replace")

    def data_copy(self, node: int, directory: Path, wanted: Callable[[str], bool] = lambda path: True) -> None:
        """Copy into `directory` those files of a node's data whose path is wanted; while it runs they may be torn."""
        chunks, _ = self.container(node).get_archive("/data")
        with tarfile.open(fileobj=cast("IO[bytes]", _Reader(iter(chunks))), mode="r|") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() and wanted(member.name) else None
                if file is not None:
                    path = directory.joinpath(*Path(member.name).parts[1:])
                    assert path.resolve().is_relative_to(directory.resolve()), member.name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("wb") as copy:
                        shutil.copyfileobj(file, copy, 1 << 20)


class _Reader:
    """The chunks of a stream as a file that `tarfile` reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; empty at the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = chunk
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece
