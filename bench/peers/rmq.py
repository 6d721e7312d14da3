"""RMQ itself: over HTTP, where each request is answered before the next, or over the session, where nothing waits."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import signal
from collections.abc import Sequence

from app.version import VERSION
from bench.cluster import LocalCluster
from bench.counting import Countdown
from bench.http import Connection, request_bytes
from bench.loads import BY_KEY, Client, How
from bench.peers.peer import ByClients
from bench.servers import Usage
from bench.websocket import WebSocket, frame

CREDIT, IDLE_S = 1000, 0.5
_token = re.compile(rb'"token":"([^"]+)"')


class Rmq(ByClients):
    """Three nodes with their default settings."""

    key, name = "rmq", f"RMQ {VERSION}, synced"
    loads = frozenset(BY_KEY)

    def __init__(self) -> None:
        super().__init__()
        self._cluster: LocalCluster | None = None

    @property
    def cluster(self) -> LocalCluster:
        """The nodes, once they are started."""
        assert self._cluster is not None
        return self._cluster

    def start(self) -> None:
        """Start three nodes with nothing in them, and wait until they serve. Raises TimeoutError."""
        self._cluster = LocalCluster()
        self._cluster.__enter__()

    def stop(self) -> None:
        """End all of it."""
        self.cluster.__exit__()

    async def prepare(self, topic: str) -> int:
        """Make a topic. -> the leader."""
        self.cluster.create_topic(topic)
        return self.cluster.wait_for_leader()

    async def connect(self, node: int, topic: str, size_bytes: int, how: How) -> Client:
        """A connection to one node, for messages of that size. Raises OSError."""
        port = self.cluster.ports[node]
        if how == "streamed":
            return await SessionClient.open(port, topic, size_bytes)
        return KINDS[how](await Connection.open("127.0.0.1", port), topic, size_bytes)

    def kill(self, node: int, how: int) -> None:
        """Send a signal to one node."""
        process = self.cluster.processes[node]
        assert process is not None
        process.send_signal(how)

    def restart(self, node: int) -> None:
        """Start a killed node again, and wait until all is as before. Raises TimeoutError."""
        self.cluster.kill(node, signal.SIGKILL)
        self.cluster.start(node)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until all nodes agree on a leader. Raises TimeoutError."""
        self.cluster.wait_for_leader()

    def usage(self) -> Usage:
        """What all nodes use."""
        return Usage([process.pid for process in self.cluster.processes if process is not None])

    def term(self) -> int:
        """The leader's term: how many elections there were."""
        return self.cluster.term()


class HttpClient:
    """One request at a time."""

    def __init__(self, connection: Connection, topic: str, size_bytes: int) -> None:
        self._connection = connection
        self._path = f"/v1/topics/{topic}/messages"
        self._message = {"body": "x" * size_bytes}
        self._requests: dict[tuple[str, int], bytes] = {}

    async def publish(self, count: int) -> None:
        """One request of `count` messages."""
        body = self._message if count == 1 else {"messages": [self._message] * count}
        await self._connection.expect(self._made("", count, body), 201)

    async def consume(self, count: int) -> int:
        """Two requests: receive, and ack."""
        tokens = await self._receive(count)
        if tokens:
            await self._settle(":ack", b'{"tokens":["%b"]}' % b'","'.join(tokens), len(tokens))
        return len(tokens)

    async def _receive(self, count: int) -> list[bytes]:
        return _token.findall(await self._connection.expect(self._made(":receive", count, {"max": count}), 200))

    async def _settle(self, action: str, body: bytes, count: int) -> bytes:
        """-> the answer, which says of so many tokens that they are acked. Raises RuntimeError where it does not."""
        acked = await self._connection.expect(request_bytes("POST", self._path + action, body), 200)
        if acked.count(b'"ok":true') != count:
            raise RuntimeError(f"an ack was refused: {acked[:200]!r}")
        return acked

    def _made(self, action: str, count: int, body: object) -> bytes:
        """The request's bytes, made once."""
        found = self._requests.get((action, count))
        if found is None:
            found = request_bytes("POST", self._path + action, json.dumps(body).encode())
            self._requests[action, count] = found
        return found

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class ChainedClient(HttpClient):
    """Each request acks what the one before has brought."""

    _held: Sequence[bytes] = ()

    async def consume(self, count: int) -> int:
        """One request, but for the first. -> how many messages it has acked."""
        held = self._held or await self._receive(count)
        if held:
            body = b'{"max":%d,"ack":["%b"]}' % (count, b'","'.join(held))
            messages, _, _ = (await self._settle(":receive", body, len(held))).partition(b'"acked":')
            self._held = _token.findall(messages)
        return len(held)


class KeyedClient(HttpClient):
    """Each publish has a key of its own: repeated, it would be answered as before."""

    def __init__(self, connection: Connection, topic: str, size_bytes: int) -> None:
        super().__init__(connection, topic, size_bytes)
        made = self._made("", 1, self._message)
        line, self._rest = made.split(b"\r\n", 1)
        self._begin = line + b"\r\nidempotency-key: " + secrets.token_hex(8).encode()
        self._count = 0

    async def publish(self, count: int) -> None:
        """One request of one message."""
        assert count == 1
        self._count += 1
        await self._connection.expect(b"%b-%d\r\n%b" % (self._begin, self._count, self._rest), 201)


KINDS = {"asked": HttpClient, "keyed": KeyedClient, "chained": ChainedClient}


class SessionClient:
    """A session: each message a frame of its own, all sent before the first is confirmed."""

    def __init__(self, topic: str, size_bytes: int) -> None:
        self._topic = json.dumps(topic).encode()
        message = b'{"op":"publish","id":1,"topic":%b,"body":"%b"}'
        self._frame = frame(message % (self._topic, b"x" * size_bytes))
        self._answers = Countdown()
        self._came: asyncio.Queue[bytes] = asyncio.Queue()
        self._is_consuming = False
        self._socket: WebSocket | None = None

    @classmethod
    async def open(cls, port: int, topic: str, size_bytes: int) -> SessionClient:
        """Connect. Raises OSError."""
        client = cls(topic, size_bytes)
        path = "/v1/session"
        client._socket = await WebSocket.open("127.0.0.1", port, path, client._hear, client._answers.fail)
        return client

    def _hear(self, text: bytes) -> None:
        if text.startswith((b'{"op":"published"', b'{"op":"settled"')) and b'"ok":false' not in text:
            self._answers.come()
        elif text.startswith(b'{"op":"deliver"'):
            self._came.put_nowait(text)
        elif not text.startswith((b'{"op":"hello"', b'{"op":"consuming"')):
            self._answers.refuse(text[:200].decode())

    async def publish(self, count: int) -> None:
        """Send `count` frames, await as many confirmations."""
        self._send(self._frame * count)
        await self._answers.wait(count)

    async def consume(self, count: int) -> int:
        """What has come meanwhile, acked together."""
        if not self._is_consuming:
            self._is_consuming = True
            self._send(frame(b'{"op":"consume","id":2,"topic":%b,"credit":%d}' % (self._topic, CREDIT)))
        try:
            async with asyncio.timeout(IDLE_S):
                texts = [await self._came.get()]
        except TimeoutError:
            return 0
        while not self._came.empty():
            texts.append(self._came.get_nowait())
        tokens = _token.findall(b"".join(texts))
        self._send(frame(b'{"op":"ack","id":3,"topic":%b,"tokens":["%b"]}' % (self._topic, b'","'.join(tokens))))
        await self._answers.wait(1)
        return len(tokens)

    def _send(self, frames: bytes) -> None:
        assert self._socket is not None
        self._socket.send(frames)

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
