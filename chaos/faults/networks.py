"""Faults of the network between nodes, made with the engine's own networks: no right on the host is needed.

Rules of this file: clients keep reaching every node, since only `peers` is touched. Whoever comes back to a network
needs its names again, else its peers cannot find it. A heal mends what it finds, also half of a fault.
"""

from __future__ import annotations

from docker.models.networks import Network

from chaos import engine
from chaos.cluster import Cluster
from chaos.engine import at_once
from chaos.faults import probes
from chaos.faults.model import Proof, Targets


def _others(cluster: Cluster, targets: Targets) -> list[int]:
    return [node for node in cluster.nodes if node not in targets]


def disconnect(cluster: Cluster, targets: Targets) -> None:
    """Take the targets off the network."""
    peers = cluster.peers
    at_once(lambda node: peers.disconnect(cluster.container(node)), targets)


def connect(cluster: Cluster, targets: Targets) -> None:
    """Put those back that are not on it."""
    peers = cluster.peers

    def one(node: int) -> None:
        if peers.name not in cluster.networks(node):
            _join(cluster, peers, node)

    at_once(one, targets)


def are_isolated(cluster: Cluster, targets: Targets) -> Proof:
    """Each target reaches nobody and is reached by nobody; the others reach each other; clients reach all."""
    links = probes.are_links(cluster, probes.all_links(_others(cluster, targets)))
    return probes.together(links, probes.all_answer(cluster))


def move(cluster: Cluster, targets: Targets) -> None:
    """Take the targets to a network of their own, under the same aliases."""
    labels = {engine.ADDED: cluster.name}
    apart = engine.client().networks.create(f"{cluster.name}_split", internal=True, labels=labels)
    disconnect(cluster, targets)
    at_once(lambda node: _join(cluster, apart, node), targets)


def move_back(cluster: Cluster, targets: Targets) -> None:
    """Bring them home, and remove their network."""
    for apart in engine.client().networks.list(filters={"label": f"{engine.ADDED}={cluster.name}"}):
        there = [node for node in cluster.nodes if apart.name in cluster.networks(node)]
        for node in there:
            apart.disconnect(cluster.container(node))
        apart.remove()
    connect(cluster, targets)


def are_split(cluster: Cluster, targets: Targets) -> Proof:
    """Each side reaches itself and not the other; clients reach all."""
    wanted = probes.all_links(targets) | probes.all_links(_others(cluster, targets))
    return probes.together(probes.are_links(cluster, wanted), probes.all_answer(cluster))


def _join(cluster: Cluster, network: Network, node: int) -> None:
    network.connect(cluster.container(node), aliases=[cluster.alias(node), f"node{node + 1}"])
