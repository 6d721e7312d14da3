"""Faults of single links, by dropped packets: bridges, rings, links cut in one direction, or again and again.

Rules of this file: what is cut is a set of links that a small pure function computes from the targets, for the fault
and for its proof. A cut in one direction ends streams in both, for nothing acknowledges them: there the packets are
counted, those that are lost and those that arrive.
"""

from __future__ import annotations

import threading
from itertools import count

from chaos.cluster import Cluster
from chaos.faults import firewall, probes, processes
from chaos.faults.model import Proof, Targets, spread
from chaos.faults.probes import Links

COUNT_S = 3.0
"""How long to wait for packets to be counted: nodes try to reach each other all the time."""
FLAP_S = (0.3, 1.0)


def halves(targets: Targets) -> Links:
    """What a bridge lacks: the first sees all, the others stand in two halves."""
    _, *others = targets
    middle = len(others) // 2
    return probes.between(others[:middle], others[middle:])


def not_neighbours(targets: Targets) -> Links:
    """What a ring of five lacks: each sees its two neighbours."""
    size = len(targets)
    return {(targets[place], targets[(place + step) % size]) for place in range(size) for step in (2, size - 2)}


def bridge(cluster: Cluster, targets: Targets) -> None:
    """Cut the halves from each other."""
    firewall.cut(cluster, halves(targets))


def is_bridge(cluster: Cluster, targets: Targets) -> Proof:
    """All links but those between the halves."""
    return probes.are_links(cluster, probes.all_links(cluster.nodes) - halves(targets))


def ring(cluster: Cluster, targets: Targets) -> None:
    """Leave to each its two neighbours."""
    firewall.cut(cluster, not_neighbours(targets))


def is_ring(cluster: Cluster, targets: Targets) -> Proof:
    """Links between neighbours, no others."""
    return probes.are_links(cluster, probes.all_links(cluster.nodes) - not_neighbours(targets))


def mute(cluster: Cluster, targets: Targets) -> None:
    """Nothing that the target sends to its peers arrives."""
    firewall.cut(cluster, _sent(cluster, targets), counted=_received(cluster, targets))


def deafen(cluster: Cluster, targets: Targets) -> None:
    """Nothing that its peers send to the target arrives."""
    firewall.cut(cluster, _received(cluster, targets), counted=_sent(cluster, targets))


def is_mute(cluster: Cluster, targets: Targets) -> Proof:
    """What it sent was dropped, and what it was sent came through, for each peer."""
    return _one_way(cluster, lost=_sent(cluster, targets), passed=_received(cluster, targets))


def is_deaf(cluster: Cluster, targets: Targets) -> Proof:
    """What it was sent was dropped, and what it sent came through, for each peer."""
    return _one_way(cluster, lost=_received(cluster, targets), passed=_sent(cluster, targets))


def _sent(cluster: Cluster, targets: Targets) -> Links:
    return {(targets[0], node) for node in cluster.nodes if node != targets[0]}


def _received(cluster: Cluster, targets: Targets) -> Links:
    return {(node, targets[0]) for node in cluster.nodes if node != targets[0]}


def _one_way(cluster: Cluster, lost: Links, passed: Links) -> Proof:
    def look() -> Proof:
        seen = firewall.packets(cluster, lost | passed)
        dropped = {link: seen[link].dropped for link in sorted(lost)}
        arrived = {link: seen[link].passed for link in sorted(passed)}
        shown = f"packets dropped: {_counts(dropped)}; arrived: {_counts(arrived)}"
        return Proof(all(dropped.values()) and all(arrived.values()), shown)

    return probes.eventually(look, COUNT_S)


def _counts(counts: dict[probes.Link, int]) -> str:
    return ", ".join(f"{a}>{b} {number}" for (a, b), number in counts.items())


def cut_link(cluster: Cluster, targets: Targets) -> None:
    """Cut the link between the two targets."""
    firewall.cut(cluster, _link(targets))


def is_link_cut(cluster: Cluster, targets: Targets) -> Proof:
    """All links but that one."""
    return probes.are_links(cluster, probes.all_links(cluster.nodes) - _link(targets))


def flap(cluster: Cluster, targets: Targets, over: threading.Event) -> Proof:
    """Heal the link and cut it again, over and over; each time it is healed, look whether it is open."""
    opened, cuts = 0, 0
    for turn in count():
        firewall.suspend(cluster, targets)
        opened += probes.links(cluster, targets) == _link(targets)
        ended = over.wait(spread(2 * turn, *FLAP_S))
        firewall.resume(cluster, targets)
        cuts += 1
        if ended or over.wait(spread(2 * turn + 1, *FLAP_S)):
            break
    return Proof(opened > 0, f"cut {cuts} times more, and {opened} times seen open in between")


def heal(cluster: Cluster, targets: Targets) -> None:
    """Drop no more packets, of nobody."""
    firewall.heal(cluster)


def heal_and_start(cluster: Cluster, targets: Targets) -> None:
    """The same, and who was killed runs again."""
    processes.start(cluster, targets[:1])
    firewall.heal(cluster)


def _link(targets: Targets) -> Links:
    return probes.between(targets[:1], targets[1:])
