"""What is taken from the nodes at the end: what they printed, and the committed entries in the files of their logs.

Rules of this file: the nodes stand still and nothing is asked of them, so that files are read as they lie there; they
are copied out of the containers and read on this side, with the reader that the node itself recovers with.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from docker.errors import APIError

from app.storage import Identity, RealFileSystem, SegmentedLog
from chaos.cluster import Cluster, ClusterError
from chaos.engine import at_once
from chaos.history import LogPiece

PIECE_ENTRIES, PIECE_BYTES = 1000, 8 << 20


def save_prints(cluster: Cluster, directory: Path) -> None:
    """Write what each node printed to node-N.log; of a node that never was, why there is nothing."""
    for node in cluster.nodes:
        try:
            printed = cluster.logs(node)
        except (ClusterError, APIError) as error:
            printed = f"{error}\n"
        (directory / f"node-{node}.log").write_text(printed, encoding="utf-8")


def log_pieces(cluster: Cluster, committed: int) -> list[LogPiece]:
    """The entries of each node's log up to the index `committed`, read from copies of its files."""
    running = [node for node in cluster.nodes if cluster.state(node)["Running"]]
    at_once(lambda node: cluster.container(node).pause(), running)
    try:
        return [piece for node in cluster.nodes for piece in _log_pieces(cluster, node, committed)]
    finally:
        at_once(lambda node: cluster.container(node).unpause(), running)


def _log_pieces(cluster: Cluster, node: int, committed: int) -> list[LogPiece]:
    with tempfile.TemporaryDirectory(prefix=f"{cluster.name}-log-") as scratch:
        cluster.data_copy(node, Path(scratch), lambda path: "/log/" in path)
        found = sorted(Path(scratch).glob("*/node-*/group-*/log"))
        if len(found) != 1:
            raise ClusterError(f"Node {node} has {len(found)} logs: one should be there.")
        return list(read_log(node, found[0], committed))


def read_log(node: int, directory: Path, committed: int) -> Iterator[LogPiece]:
    """The entries up to the index `committed` of the log in …-<cluster id>/node-N/group-G/log. StorageError."""
    log = SegmentedLog.open(RealFileSystem(), str(directory), _identity(directory))
    try:
        first, end = log.first_index, min(committed, log.last_index)
        while first <= end:
            entries = log.read(first, min(end, first + PIECE_ENTRIES - 1), PIECE_BYTES)
            digests = [(entry.term, _digest(entry.kind, entry.data)) for entry in entries]
            yield LogPiece(node=node, first_index=first, entries=digests)
            first += len(entries)
    finally:
        log.close()


def _digest(kind: int, data: bytes) -> str:
    return hashlib.blake2b(bytes([kind]) + data, digest_size=8).hexdigest()


def _identity(directory: Path) -> Identity:
    """Cluster, group and node as the directory's path names them."""
    cluster, node, group, _ = directory.parts[-4:]
    return Identity(int(cluster.split("-")[-1], 16), int(group.split("-")[-1]), int(node.split("-")[-1]), 0)
