"""The table of settings, and what follows from them: the cluster's id and where a node keeps its state.

Rules of this file: one row for each setting, defaults with the reason in the help; a `Settings` that exists
is valid, however it was made. To add a setting, add a row: flag, variable, file key, help and report follow.

Times of the election: dissertation 3.9 asks for broadcast time << election timeout << time between failures.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping

from app.config.cluster_file import NodeAddress
from app.config.table import ConfigError, a_path, at_least, between, check, one_of, rows, setting, shown

LOG_LEVELS = ("debug", "info", "warning", "error")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """All that a node is told. Made by `load`, or directly in tests; ConfigError when it cannot be used."""

    cluster: str = "rmq"
    """The cluster's name: part of its id, so that strangers on a wrong port are told apart."""
    node: int
    """This node's place in `nodes`, from 0."""
    nodes: tuple[NodeAddress, ...]
    """All nodes of the cluster as it first starts, this one included; 1 to 19."""
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)
    """Where each setting that is not the default came from, by name, for the report at start."""

    data_dir: str = setting(
        ".rmq/data", "", "directory of the log and the queue's state; relative to the working directory", a_path
    )
    log_level: str = setting("info", "", "how much is printed: " + ", ".join(LOG_LEVELS), one_of(LOG_LEVELS))
    tick_ms: int = setting(10, "ms", "the clock's step; all other times of Raft are counted in it", between(1, 1000))
    heartbeat_ms: int = setting(50, "ms", "how often a leader lets its followers hear of it", between(1, 60_000))
    election_timeout_min_ms: int = setting(
        250, "ms", "silence after which a follower may stand for election; at least 3 heartbeats", between(3, 600_000)
    )
    election_timeout_max_ms: int = setting(
        500, "ms", "upper end of the random draw of that silence; above the minimum", between(4, 600_000)
    )
    classic_strict: bool = setting(
        False, "", "followers refuse the classic routes instead of forwarding them to the leader"
    )
    body_limit_bytes: int = setting(MIB, "bytes", "largest body of a request; above it 413", between(1, 64 * MIB))
    request_timeout_s: float = setting(10.0, "s", "time that a client has to send one request", between(0.1, 3600))
    classic_timeout_ms: int = setting(
        800, "ms", "time within which a classic request is answered, if only with 503 or 504", between(50, 60_000)
    )
    inbox_limit: int = setting(
        4096, "", "operations that may wait for the log at once; above it 429 with Retry-After", between(1, 1_000_000)
    )
    segment_bytes: int = setting(
        16 * MIB, "bytes", "size of one file of the log, allocated ahead", between(64 * KIB, GIB)
    )
    compact_bytes: int = setting(
        128 * MIB, "bytes", "size of the log above which entries that the state holds are dropped", at_least(MIB)
    )
    log_retain_bytes: int = setting(
        64 * MIB, "bytes", "log kept then, so that a slow follower needs no snapshot; below compact_bytes", at_least(0)
    )
    snapshot_chunk_bytes: int = setting(
        256 * KIB, "bytes", "piece in which a snapshot is sent to a follower", between(4 * KIB, 16 * MIB)
    )
    dedup_window_s: int = setting(
        300, "s", "`dedup_window_s` of a topic that is created without one; the same on every node",
        between(1, 86_400),
    )
    disk_reserve_bytes: int = setting(
        64 * MIB, "bytes", "free space kept on the disk; below it whatever makes data grow gets 507", at_least(0)
    )
    disk_stall_ms: int = setting(
        1500, "ms", "a leader whose disk has not answered for so long gives up the leadership", between(50, 600_000)
    )
    shutdown_timeout_s: float = setting(
        3.5, "s", "time for the requests in flight once the process was told to stop", between(0.1, 600)
    )

    def __post_init__(self) -> None:
        if not 0 <= self.node < len(self.nodes):
            last = len(self.nodes) - 1
            raise ConfigError(f"node {self.node} is not in the cluster file: write a number from 0 to {last}.")
        for row in rows(type(self)).values():
            try:
                check(row, getattr(self, row.name))
            except ConfigError as error:
                raise ConfigError(f"{row.name} {error}") from None
        self._check_times()
        if self.log_retain_bytes >= self.compact_bytes:
            raise ConfigError(
                f"log_retain_bytes must be below compact_bytes ({self.compact_bytes}), not {self.log_retain_bytes}."
            )

    def _check_times(self) -> None:
        low, high, heartbeat = self.election_timeout_min_ms, self.election_timeout_max_ms, self.heartbeat_ms
        if heartbeat < self.tick_ms:
            raise ConfigError(f"heartbeat_ms must be at least tick_ms ({self.tick_ms}), not {heartbeat}.")
        if low < 3 * heartbeat:
            raise ConfigError(
                f"election_timeout_min_ms must be at least 3 heartbeats ({3 * heartbeat}), not {low}: "
                "raise it or lower heartbeat_ms."
            )
        if high - low < self.tick_ms:
            raise ConfigError(
                f"election_timeout_max_ms must be above election_timeout_min_ms ({low}) by a tick or more, not {high}."
            )

    def __repr__(self) -> str:
        """Masked, so that a traceback or a log line cannot leak a secret."""
        values = ", ".join(f"{row.name}={shown(row, getattr(self, row.name))}" for row in rows(type(self)).values())
        return f"Settings(cluster={self.cluster!r}, node={self.node}, nodes={len(self.nodes)}, {values})"

    @property
    def me(self) -> NodeAddress:
        """The addresses of this node."""
        return self.nodes[self.node]

    @property
    def cluster_id(self) -> int:
        """A u64 made from the cluster's name and every node's addresses, in order: equal on all its nodes.

        Of the clients' side it is the address that is bound: what is advertised may change without a new cluster.
        """
        addresses = [f"{node.client_bind.canonical} {node.peer.canonical}" for node in self.nodes]
        text = "\n".join([self.cluster, *addresses])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    @property
    def storage_dir(self) -> str:
        """Absolute directory of this node's state. Other addresses give another name, and so an empty start."""
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", self.cluster)[:40]
        return os.path.join(os.path.abspath(self.data_dir), f"{readable}-{self.cluster_id:016x}", f"node-{self.node}")
