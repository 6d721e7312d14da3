"""NATS JetStream: a stream of three replicas, from which acked messages go (work queue), in two settings.

    synced     `sync_interval: always`: an acknowledged message is on disk, as with RMQ
    default    written, and synced every two minutes: what was acknowledged can be lost when machines lose their power

The protocol is lines of text; what JetStream adds are subjects and JSON. A publish asks for a reply, which is the
stream's acknowledgement. An ack asks for one, too, so that it is known to count.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import urllib.request
from typing import Any, Literal, cast

from bench.counting import Countdown
from bench.loads import Client, How
from bench.peers.peer import ByClients, Missing
from bench.servers import Server, free_ports

PUBLISHED, DELIVERED, ACKED, ANSWERED = b"1", b"2", b"3", b"4"
"""What is subscribed to, by the number of the subscription."""
EXPIRES_S = 0.5
_inboxes = itertools.count(1)

SETTINGS = """
server_name: n{node}
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
jetstream {{ store_dir: "{store}"{sync} }}
cluster {{ name: bench, listen: "127.0.0.1:{far}", routes: [{routes}] }}
"""


class Nats(ByClients):
    """Three servers."""

    loads = frozenset({"one", "many", "pipelined", "take-one", "take-batches"})

    def __init__(self, how: Literal["synced", "default"]) -> None:
        super().__init__()
        self.key, self.name, self._how = f"nats-{how}", f"NATS JetStream R3, {how}", how

    def start(self) -> None:
        """Start three servers with nothing in them, and wait until they serve. Raises Missing, TimeoutError."""
        self._program = _program()
        version = subprocess.run([self._program, "--version"], capture_output=True, text=True, check=True)
        release = version.stdout.split()[-1].lstrip("v")
        if self._how == "synced" and tuple(map(int, release.split(".")[:2])) < (2, 10):
            raise Missing(
                f"nats-server {release} knows no `sync_interval: always`: name one of 2.10 or newer in NATS_SERVER."
            )
        words = {"synced": "sync_interval: always", "default": "default, not synced"}[self._how]
        self.name = f"NATS {release} JetStream R3, {words}"
        ports = free_ports(9)
        self._ports, self._far_ports, self._monitors = ports[:3], ports[3:6], ports[6:]
        super().start()

    def launch(self, node: int) -> Server:
        """Start a server's process."""
        settings = self.folder / f"node-{node}.conf"
        settings.write_text(
            SETTINGS.format(
                node=node, port=self._ports[node], monitor=self._monitors[node], far=self._far_ports[node],
                store=self.folder / f"node-{node}", sync=", sync_interval: always" if self._how == "synced" else "",
                routes=", ".join(f'"nats://127.0.0.1:{port}"' for port in self._far_ports),
            )
        )  # fmt: skip
        return Server([self._program, "--config", str(settings)], self.folder / f"node-{node}.log")

    def is_ready(self) -> bool:
        """Whether JetStream is current on all servers."""
        try:
            for port in self._monitors:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
        except OSError:
            return False
        return True

    async def prepare(self, topic: str) -> int:
        """Make a stream and its consumer. -> the server that leads the stream."""
        client = await StreamClient.open(self._ports[0], topic, 0)
        stream = {"name": topic, "subjects": [topic], "num_replicas": 3, "storage": "file", "retention": "workqueue"}
        found = await client.ask(f"$JS.API.STREAM.CREATE.{topic}", stream)
        settings = {"durable_name": "c", "ack_policy": "explicit", "ack_wait": 60 * 10**9, "max_ack_pending": 100_000}
        consumer = {"stream_name": topic, "config": settings}
        await client.ask(f"$JS.API.CONSUMER.DURABLE.CREATE.{topic}.c", consumer)
        client.close()
        return int(found["cluster"]["leader"][1:])

    async def connect(self, node: int, topic: str, size_bytes: int, how: How) -> Client:
        """A connection to one server, for messages of that size. Raises OSError."""
        return await StreamClient.open(self._ports[node], topic, size_bytes)


class StreamClient(asyncio.Protocol):
    """One connection."""

    def __init__(self, topic: str, size_bytes: int) -> None:
        inbox = f"_INBOX.{os.getpid()}.{next(_inboxes)}"
        self._to = {number: f"{inbox}.{number.decode()}".encode() for number in (PUBLISHED, DELIVERED, ACKED, ANSWERED)}
        self._publication = b"PUB %b %b %d\r\n%b\r\n" % (
            topic.encode(), self._to[PUBLISHED], size_bytes, b"x" * size_bytes,
        )  # fmt: skip
        self._topic = topic
        self._published, self._delivered, self._acked = Countdown(), Countdown(), Countdown()
        self._acks: list[bytes] = []
        self._wanted = 0
        self._answer: asyncio.Future[bytes] | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int, topic: str, size_bytes: int) -> StreamClient:
        """Connect. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(topic, size_bytes), "127.0.0.1", port)
        client._write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n')
        subscriptions = [b"SUB %b %b\r\n" % (inbox, number) for number, inbox in client._to.items()]
        client._write(b"".join(subscriptions) + b"PING\r\n")
        await client._ready
        return client

    async def ask(self, subject: str, body: object) -> dict[str, Any]:
        """Ask JetStream's own interface. Raises RuntimeError with what it refused."""
        self._answer = asyncio.get_running_loop().create_future()
        data = json.dumps(body).encode()
        self._write(b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), self._to[ANSWERED], len(data), data))
        async with asyncio.timeout(10):
            found: dict[str, Any] = json.loads(await self._answer)
        if "error" in found:
            raise RuntimeError(f"{subject}: {found['error']}")
        return found

    async def publish(self, count: int) -> None:
        """Send `count` messages, await as many acknowledgements."""
        self._write(self._publication * count)
        await self._published.wait(count)

    async def consume(self, count: int) -> int:
        """Ask for `count` messages, ack each, await an answer to each ack."""
        self._wanted = count
        request = b'{"batch":%d,"expires":%d}' % (count, EXPIRES_S * 1e9)
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._topic}.c".encode()
        self._write(b"PUB %b %b %d\r\n%b\r\n" % (subject, self._to[DELIVERED], len(request), request))
        await self._delivered.wait(1)
        acks, self._acks = self._acks, []
        if acks:
            self._write(b"".join(b"PUB %b %b 0\r\n\r\n" % (ack, self._to[ACKED]) for ack in acks))
            await self._acked.wait(len(acks))
        return len(acks)

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("closed")
        self._transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        at = 0
        while (line_end := data.find(b"\r\n", at)) >= 0:
            words = data[at:line_end].split(b" ")
            body = line_end + 2
            if words[0] in (b"MSG", b"HMSG"):
                size = int(words[-1])
                if len(data) < body + size + 2:
                    break
                self._take(words, data[body : body + size])
                body += size + 2
            elif words[0] == b"PING":
                self._write(b"PONG\r\n")
            elif words[0] == b"PONG" and not self._ready.done():
                self._ready.set_result(None)
            elif words[0] == b"-ERR":
                self._end(data[at:line_end].decode())
            at = body
        self._buffer = data[at:]

    def _take(self, words: list[bytes], body: bytes) -> None:
        number, is_status = words[2], words[0] == b"HMSG"
        if number == PUBLISHED:
            refused = is_status or b'"error"' in body
            self._published.refuse(body.decode()) if refused else self._published.come()
        elif number == ACKED:
            self._acked.come()
        elif number == DELIVERED:
            if not is_status:
                self._acks.append(words[3])
            if is_status or len(self._acks) == self._wanted:
                self._delivered.come()
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(body)

    def _end(self, text: str) -> None:
        for each in (self._published, self._delivered, self._acked):
            each.fail(text)
        if not self._ready.done():
            self._ready.set_exception(ConnectionError(text))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection was lost")

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def _program() -> str:
    """What NATS_SERVER names, or what is on the PATH. Raises Missing."""
    found = os.environ.get("NATS_SERVER") or shutil.which("nats-server")
    if not found:
        raise Missing("nats-server is missing: apt-get install nats-server, or name one of 2.10 in NATS_SERVER.")
    return found
