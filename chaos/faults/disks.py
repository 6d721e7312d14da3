"""Faults of disks: one that is full, one that was wiped.

A full disk needs a cluster whose disks have a size (`data_mib`). It is filled to the last byte, so that what the node
keeps in reserve is put to use, too.

Rules of this file: what the disk says is read from the disk, by writing, in the node's container and as the node's
user; nothing of the node's own is touched, except by the wipe, which leaves nothing.
"""

from __future__ import annotations

from chaos.cluster import Cluster, ClusterError
from chaos.engine import at_once
from chaos.faults import probes, processes
from chaos.faults.model import Proof, Targets

BALLAST = "/data/chaos-ballast"
NOTICE_S = 5.0
"""How long a node may take to see that its disk is full, or that it is not any more: it looks twice a second."""
FULL = 507
NO_TOPIC = "no-such-topic-of-chaos"
"""A publish to it stores nothing: a full disk refuses it before anybody looks for the topic."""

_FILL = """
import os, sys
with open(sys.argv[1], "ab", 0) as file:
    try:
        while True: file.write(bytes(1 << 16))
    except OSError as error: print(error.errno)
"""

# More than the node itself gives up in need (its ballast, 4 MiB), and taken away again.
_TRY = """
import errno, os, sys
try:
    with open(sys.argv[1], "wb", 0) as file:
        for _ in range(24): file.write(bytes(1 << 20))
    print("24 MiB written")
except OSError as error: print(errno.errorcode[error.errno])
os.unlink(sys.argv[1])
"""


def fill(cluster: Cluster, targets: Targets) -> None:
    """Write until nothing more goes in."""
    if cluster.data_mib is None:
        raise ClusterError("This machine's own disk is not filled: give the cluster small disks.")
    at_once(lambda node: cluster.execute(node, "python", "-ISc", _FILL, BALLAST), targets)


def are_full(cluster: Cluster, targets: Targets) -> Proof:
    """A write finds no space, and a publish there is refused for that."""
    return probes.eventually(lambda: _look(cluster, targets, full=True), NOTICE_S)


def empty(cluster: Cluster, targets: Targets) -> None:
    """Give the space back."""
    at_once(lambda node: cluster.execute(node, "rm", "-f", BALLAST), targets)


def are_empty(cluster: Cluster, targets: Targets) -> Proof:
    """All is whole, a write finds space, and a publish is not refused for want of it."""
    roomy = probes.eventually(lambda: _look(cluster, targets, full=False), NOTICE_S)
    return probes.together(roomy, probes.whole(cluster, targets))


def _look(cluster: Cluster, targets: Targets, *, full: bool) -> Proof:
    return probes.together(*at_once(lambda node: _look_at(cluster, node, full=full), targets))


def _look_at(cluster: Cluster, node: int, *, full: bool) -> Proof:
    written = cluster.execute(node, "python", "-ISc", _TRY, f"{BALLAST}-probe")
    answer = cluster.call(node, "PUT", "/message", 1.0, {"topic": NO_TOPIC, "message": "is there room?"})
    code = 0 if answer is None else answer.status_code
    right = (written == "ENOSPC") == full == (code == FULL) and code != 0
    return Proof(right, f"node {node}: a write said {written}, a publish got {code or 'no answer'}")


def wipe(cluster: Cluster, targets: Targets) -> None:
    """Kill the targets and delete all that they had."""
    processes.kill(cluster, targets)
    at_once(lambda node: cluster.on_volume(node, "find /data -mindepth 1 -delete"), targets)


def are_wiped(cluster: Cluster, targets: Targets) -> Proof:
    """They do not run, and nothing is left of their data."""
    killed = processes.are_killed(cluster, targets)
    if not killed.ok:
        return killed
    left = at_once(lambda node: len(cluster.on_volume(node, "ls -A /data").split()), targets)
    return probes.together(killed, Proof(not any(left), f"files left: {left}"))
