"""A killed node comes back when the log no longer holds what it missed, and loses the leader in the middle of the copy.

    inject         kill a follower; wait until the log of every other begins behind what it has; start it, with a rule
                   in its network that lets so many bytes of the leader's pass and no more
    prove          the rule has dropped packets, and a part of the copy lies on the follower's disk
    heal           the rule goes
    prove_healed   its log begins behind its former end: only a snapshot leaves entries out

What makes the log move on is the clients' load, and settings that keep it short (RMQ_COMPACT_BYTES and others).

Rules of this file: it publishes nothing itself, for the checker would not know of it.
"""

from __future__ import annotations

import time

from chaos.cluster import Cluster, ClusterError
from chaos.engine import at_once
from chaos.faults import firewall, probes, processes
from chaos.faults.model import Proof, Targets

COMPACT_S = 40.0
"""How long the logs may take to be compacted beyond what a node that is away has."""
CUT_S = 10.0
"""How long the node may take to start, to ask for a snapshot and to get that part of it."""
PASS_BYTES = 48 << 10
"""A few chunks of a snapshot: more than what is said before it, less than the smallest state."""

_STAGED = """
import pathlib
print(sum(path.stat().st_size for path in pathlib.Path("/data").glob("*/node-*/group-*/snapshots/incoming")))
"""


def cut_catch_up(cluster: Cluster, targets: Targets) -> None:
    """Kill the target, wait until it needs a snapshot, start it, and cut it off when it has got some of that."""
    (node,) = targets
    others = [other for other in cluster.nodes if other != node]
    had = _member(cluster, node)["last_log_index"]
    processes.kill(cluster, targets)
    deadline = time.monotonic() + COMPACT_S
    while (first := min(each["first_log_index"] for each in at_once(lambda o: _member(cluster, o), others))) <= had + 1:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"Node {node} has the log up to {had}; elsewhere it still begins at {first} after {COMPACT_S:.0f} s: a "
                "smaller RMQ_COMPACT_BYTES or more load lets it move on."
            )
        time.sleep(probes.POLL_S)
    leader = cluster.leader(others)
    cluster.marks["catch-up"] = had, leader
    processes.start(cluster, targets)
    firewall.break_off(cluster, (leader, node), PASS_BYTES)


def is_cut_off(cluster: Cluster, targets: Targets) -> Proof:
    """The leader's packets are dropped, and a part of a snapshot is there."""
    (node,) = targets
    if "catch-up" not in cluster.marks:
        return Proof(False, "nobody was cut off")
    _, leader = cluster.marks["catch-up"]

    def look() -> Proof:
        dropped = firewall.packets(cluster, {(leader, node)})[leader, node].dropped
        staged = int(cluster.execute(node, "python", "-ISc", _STAGED))
        shown = f"packets dropped: {leader}>{node} {dropped}; node {node} holds {staged} bytes of a snapshot"
        return Proof(dropped > 0 and staged > 0, shown)

    return probes.eventually(look, CUT_S)


def heal(cluster: Cluster, targets: Targets) -> None:
    """Start it, if that did not happen, and let everything pass."""
    processes.start(cluster, targets)
    firewall.heal(cluster)


def has_installed(cluster: Cluster, targets: Targets) -> Proof:
    """All is whole; the log of who was cut off begins behind what it had."""
    (node,) = targets
    had, _ = cluster.marks.get("catch-up", (None, None))
    whole = probes.whole(cluster, targets)
    if had is None:
        return whole

    def look() -> Proof:
        first = _member(cluster, node)["first_log_index"]
        return Proof(first > had + 1, f"node {node} had entries up to {had}, its log begins at {first}")

    return probes.together(whole, probes.eventually(look, probes.BACK_S))


def _member(cluster: Cluster, node: int) -> dict[str, int]:
    """What the node says of its log. ClusterError when it does not answer."""
    said = cluster.get(node, "/v1/cluster", 3.0)
    if said is None:
        raise ClusterError(f"Node {node} does not answer.")
    found: dict[str, int] = next(member for member in said["members"] if member["node"] == node)
    return found
