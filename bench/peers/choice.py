"""The peers by the names that PEERS knows."""

from __future__ import annotations

from bench.peers.etcd import Etcd
from bench.peers.nats import Nats
from bench.peers.peer import Peer
from bench.peers.pysyncobj import PySyncObj
from bench.peers.rabbitmq import RabbitMq
from bench.peers.rmq import Rmq

NAMES = ("rabbitmq", "nats", "etcd", "pysyncobj")


def chosen(names: list[str]) -> list[Peer]:
    """RMQ, and those that are named. NATS is two: with its log synced, and as it comes."""
    peers: list[Peer] = [Rmq()]
    for name in names:
        match name:
            case "rabbitmq":
                peers.append(RabbitMq())
            case "nats":
                peers += [Nats("synced"), Nats("default")]
            case "etcd":
                peers.append(Etcd())
            case "pysyncobj":
                peers.append(PySyncObj())
    return peers
