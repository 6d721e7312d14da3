"""RabbitMQ with a quorum queue: three replicas, each synced before the broker confirms. There is no other setting.

An ack of a consumer is not confirmed in AMQP, so a consume is over when the ack is sent: less than
RMQ promises. A queue's leader is on the node over which it is declared: the first.
"""

from __future__ import annotations

import glob
import os
import shutil
import socket
import struct
from pathlib import Path

from bench.loads import Client, How
from bench.peers import amqp
from bench.peers.amqp import Channel, long, method, short
from bench.peers.peer import ByClients, Missing, until
from bench.servers import Server, free_ports

PREFETCH, IDLE_S = 1000, 0.5
QUORUM = long(short("x-queue-type") + b"S" + long(b"quorum"))


class RabbitMq(ByClients):
    """Three brokers in one cluster, with an Erlang port mapper of their own."""

    key = "rabbitmq"
    loads = frozenset({"one", "many", "pipelined", "take-one", "take-streamed", "both-streamed", "both-pipelined"})

    def __init__(self) -> None:
        super().__init__()
        self.name = "RabbitMQ, quorum queue, synced"
        self._ports: list[int] = []

    def start(self) -> None:
        """Start three brokers with nothing in them, and wait until they serve. Raises Missing, TimeoutError."""
        self._program, epmd = _program(), shutil.which("epmd")
        if epmd is None:
            raise Missing("epmd is missing: it comes with Erlang (apt-get install erlang-base).")
        self.name = f"RabbitMQ {self._program.parent.parent.name.rpartition('-')[2]}, quorum queue, synced"
        ports = free_ports(7)
        self._ports, self._far_ports, self._epmd_port = ports[:3], ports[3:6], ports[6]
        folder = self.begin()
        self._epmd = Server([epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"], folder / "epmd.log")
        try:
            for node in range(self.NODES):
                self.servers.append(self.launch(node))
                until(self.is_ready, f"broker {node} does not listen; see {folder}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all of it."""
        super().stop()
        self._epmd.kill()

    def launch(self, node: int) -> Server:
        """Start a broker's process."""
        home = self.folder / f"node-{node}"
        home.mkdir(exist_ok=True)
        names = [f"rabbit{each}@localhost" for each in range(self.NODES)]
        members = "".join(f"cluster_formation.classic_config.nodes.{n + 1} = {name}\n" for n, name in enumerate(names))
        settings = f"listeners.tcp.1 = 127.0.0.1:{self._ports[node]}\ncluster_formation.peer_discovery_backend = "
        (home / "rabbitmq.conf").write_text(f"{settings}classic_config\n{members}")
        (home / "plugins").write_text("[].\n")
        environment = {
            "HOME": str(home), "RABBITMQ_NODENAME": names[node], "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null", "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_MNESIA_BASE": str(home), "RABBITMQ_LOG_BASE": str(home), "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"), "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_DIST_PORT": str(self._far_ports[node]), "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_SERVER_START_ARGS":
                "-noinput -setcookie rmq-bench -kernel inet_dist_use_interface {127,0,0,1}",
        }  # fmt: skip
        return Server([str(self._program)], self.folder / f"node-{node}.log", environment)

    def is_ready(self) -> bool:
        """Whether all brokers that were started take connections."""
        return all(self._listens(node) for node in range(len(self.servers)))

    def _listens(self, node: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._ports[node]), timeout=1).close()
        except OSError:
            return False
        return True

    async def prepare(self, topic: str) -> int:
        """Declare a quorum queue. -> the node that leads it."""
        channel = await Channel.open(self._ports[0])
        await channel.call(method(amqp.QUEUE_DECLARE, b"\0\0" + short(topic) + b"\x02" + QUORUM), amqp.QUEUE_DECLARE_OK)
        channel.close()
        return 0

    async def connect(self, node: int, topic: str, size_bytes: int, how: How) -> Client:
        """A channel on one broker, for messages of that size. Raises OSError."""
        channel = await Channel.open(self._ports[node])
        return QueueClient(channel, topic, size_bytes, how == "streamed")


class QueueClient:
    """Publishes await their confirmations; consumes are a get, or deliveries under a prefetch."""

    def __init__(self, channel: Channel, topic: str, size_bytes: int, is_streamed: bool) -> None:
        self._channel, self._topic, self._is_streamed = channel, topic, is_streamed
        self._publication = amqp.publication(topic, b"x" * size_bytes)
        self._get = method(amqp.BASIC_GET, b"\0\0" + short(topic) + b"\0")
        self._is_consuming = False

    async def publish(self, count: int) -> None:
        """Send `count` messages, await as many confirmations."""
        self._channel.write(self._publication * count)
        await self._channel.confirmed.wait(count)

    async def consume(self, count: int) -> int:
        """Get one and ack it; or what has come meanwhile, with one ack for all."""
        if not self._is_streamed:
            answer = await self._channel.call(self._get, amqp.BASIC_GET_OK, amqp.BASIC_GET_EMPTY)
            if struct.unpack_from("!HH", answer) == amqp.BASIC_GET_EMPTY:
                return 0
            self._channel.write(method(amqp.BASIC_ACK, answer[4:12] + b"\0"))
            return 1
        if not self._is_consuming:
            self._is_consuming = True
            qos = method(amqp.BASIC_QOS, struct.pack("!LHB", 0, PREFETCH, 0))
            await self._channel.call(qos, amqp.BASIC_QOS_OK)
            consume = method(amqp.BASIC_CONSUME, b"\0\0" + short(self._topic) + short("") + b"\0" + long(b""))
            await self._channel.call(consume, amqp.BASIC_CONSUME_OK)
        tags = await self._channel.next_tags(IDLE_S)
        if tags:
            self._channel.write(method(amqp.BASIC_ACK, struct.pack("!QB", tags[-1], 1)))
        return len(tags)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


def _program() -> Path:
    """The server's own start script: the one on the PATH changes the user, and forks. Raises Missing."""
    found = sorted(glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))
    named = os.environ.get("RABBITMQ_SERVER") or (found[-1] if found else None)
    if named is None:
        raise Missing("RabbitMQ is missing: apt-get install rabbitmq-server, or name its script in RABBITMQ_SERVER.")
    return Path(named)
