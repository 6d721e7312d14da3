"""Looking from outside: who can reach whom, who answers, what the engine says.

A link is (from, to). It is open when a stream can be opened from inside the one container to the other's port for
peers, by the name that the nodes themselves use. Each probe also dials its own node, which must answer: else it was the
probe that failed (no processor, no name service), and the link is not called cut. A probe that failed has said nothing,
so it is made again, a few times.

Rules of this file: nothing is changed. What does not answer within `PATIENCE_S` is not reachable; a healthy node takes
some milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

from chaos.cluster import PEER_PORT, Cluster, ClusterError
from chaos.engine import at_once
from chaos.faults.model import Proof, Targets

Link: TypeAlias = tuple[int, int]
Links: TypeAlias = set[Link]

PATIENCE_S = 0.6
TRIES = 3
BACK_S = 30.0
"""How long a node may take to be there again after a heal."""
POLL_S = 0.05
ITSELF = "127.0.0.1"

# Looking up a name that is gone takes its time: hence threads, and an end that waits for none of them.
_DIAL = """
import os, socket, sys, threading, time
port, patience_s, *names = sys.argv[1:]
end, reached = time.monotonic() + float(patience_s), []
def dial(name):
    try:
        socket.create_connection((name, int(port)), float(patience_s)).close()
        reached.append(name)
    except OSError:
        pass
threads = [threading.Thread(target=dial, args=(name,), daemon=True) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join(max(0.0, end - time.monotonic()))
print(" ".join(reached), flush=True)
os._exit(0)
"""


def links(cluster: Cluster, among: Iterable[int] | None = None) -> Links:
    """Which links between `among` (default: all nodes) are open right now. ClusterError when a probe failed."""
    nodes = list(cluster.nodes if among is None else among)
    names = {cluster.alias(node): node for node in nodes}

    def reached(node: int) -> Links:
        others = [name for name, other in names.items() if other != node]
        for _ in range(TRIES):
            said = cluster.execute(node, "python", "-ISc", _DIAL, str(PEER_PORT), str(PATIENCE_S), ITSELF, *others)
            if ITSELF in said.split():
                return {(node, names[name]) for name in said.split() if name != ITSELF}
        raise ClusterError(f"{TRIES} probes in node {node} did not even reach node {node}, so they prove nothing.")

    return set().union(*at_once(reached, nodes))


def all_links(nodes: Iterable[int]) -> Links:
    """Everyone reaches everyone."""
    among = list(nodes)
    return {(one, other) for one in among for other in among if one != other}


def between(one: Iterable[int], other: Iterable[int]) -> Links:
    """All links from one group to another and back."""
    others = list(other)
    return {link for a in one for b in others for link in ((a, b), (b, a))}


def arrows(found: Collection[Link]) -> str:
    """Links in words: 0>1 0>2."""
    return " ".join(f"{a}>{b}" for a, b in sorted(found)) or "none"


def are_links(cluster: Cluster, wanted: Links) -> Proof:
    """Exactly these links are open."""
    found = links(cluster)
    if found == wanted:
        return Proof(True, f"connects: {arrows(found)}; not: {arrows(all_links(cluster.nodes) - found)}")
    return Proof(
        False, f"connects and should not: {arrows(found - wanted)}; should and does not: {arrows(wanted - found)}"
    )


def answers(cluster: Cluster, node: int) -> bool:
    """Whether clients get an answer from the node's process."""
    return cluster.get(node, "/livez", PATIENCE_S) is not None


def are_silent(cluster: Cluster, targets: Targets) -> Proof:
    """None of them answers clients."""
    heard = [node for node, heard in zip(targets, _heard(cluster, targets), strict=True) if heard]
    return Proof(not heard, f"answered: {heard}" if heard else "no answer to clients")


def all_answer(cluster: Cluster) -> Proof:
    """All nodes answer clients."""
    mute = [node for node, heard in zip(cluster.nodes, _heard(cluster, cluster.nodes), strict=True) if not heard]
    return Proof(not mute, f"no answer to clients from {mute}" if mute else "all answer clients")


def _heard(cluster: Cluster, nodes: Iterable[int]) -> list[bool]:
    return at_once(lambda node: answers(cluster, node), nodes)


def are(cluster: Cluster, targets: Iterable[int], **wanted: object) -> Proof:
    """What the engine says of each of them, in its own words: Status="exited", ExitCode=137."""
    nodes = list(targets)
    said = [{key: state[key] for key in wanted} for state in at_once(cluster.state, nodes)]
    shown = [f"node {node} {' '.join(map(str, state.values()))}" for node, state in zip(nodes, said, strict=True)]
    return Proof(all(state == wanted for state in said), f"{' '.join(wanted)}: {', '.join(shown)}")


def together(*proofs: Proof) -> Proof:
    """Whether all are so; those that are not, or else all, in words."""
    telling = [proof for proof in proofs if not proof.ok] or proofs
    return Proof(all(proof.ok for proof in proofs), "; ".join(proof.detail for proof in telling))


def eventually(look: Callable[[], Proof], timeout_s: float) -> Proof:
    """The first good proof, or the last bad one when time is up. A node that is just starting fails the look."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            proof = look()
        except ClusterError as error:
            proof = Proof(False, str(error))
        if proof.ok or time.monotonic() > deadline:
            return proof
        time.sleep(POLL_S)


def whole(cluster: Cluster, targets: Targets) -> Proof:
    """Nothing is broken: all run, none is paused, all answer clients, and everyone reaches everyone."""
    return eventually(lambda: _whole(cluster), BACK_S)


def _whole(cluster: Cluster) -> Proof:
    up = together(are(cluster, cluster.nodes, Status="running", Paused=False), all_answer(cluster))
    proof = are_links(cluster, all_links(cluster.nodes)) if up.ok else up
    return Proof(True, "all run, answer clients and reach each other") if proof.ok else proof
