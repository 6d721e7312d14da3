"""The streams of one node: it dials every peer, and every peer dials it.

Each pair has two streams, one a direction, so nobody has to agree on who dials. Frames are best effort: while
a peer is not connected, or takes nothing, they are dropped; Raft repeats what matters. A stream whose bytes
are not acknowledged for a while is closed and dialled anew, for a partition that heals must not wait for the
kernel's long retransmission timers.

Names are looked up anew for each dial, since a container that moved has another address. A look-up that takes
long is waited for by the next tries rather than begun again, and the address that was good last serves meanwhile.

Who has connected and not greeted is a stranger, and holds a file descriptor, of which the log needs some too. So of
many strangers the oldest goes: a peer greets at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from app.transport.frames import (
    GREETING_BYTES,
    HEAD,
    MAGIC,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    Frame,
    FrameError,
    FrameReader,
    Hello,
    check_hello,
)
from app.transport.refusals import Refusals

log = logging.getLogger("rmq.peers")

Address = tuple[str, int]
UNSENT_LIMIT_BYTES = 32 << 20
UNACKNOWLEDGED_MS = 1500
LOOK_UP_TIMEOUT_S = 0.25
DIAL_TIMEOUT_S = 0.5
GREETING_TIMEOUT_S = 5.0
STRANGERS_MAX = 64
REDIAL_MIN_S, REDIAL_MAX_S = 0.02, 0.5


def _tune(transport: asyncio.BaseTransport) -> None:
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
        ("TCP_KEEPIDLE", 1),
        ("TCP_KEEPINTVL", 1),
        ("TCP_KEEPCNT", 2),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class _Incoming(asyncio.Protocol):
    """A peer's stream to this node: a greeting, then frames."""

    def __init__(self, network: PeerNetwork):
        self._network = network
        self._peer: int | None = None
        self._reader = FrameReader(self._on_frame, GREETING_BYTES)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _tune(transport)
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._network.incoming.add(self._transport)
        self._network.admit_stranger(self._transport)
        self._greeting = asyncio.get_running_loop().call_later(GREETING_TIMEOUT_S, self._transport.abort)
        if self._network.stopped:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except FrameError as error:
            self._network.refused += 1
            assert self._transport is not None
            host = (self._transport.get_extra_info("peername") or ("an unknown address",))[0]
            self._network.refusals.note(host, str(error))
            self._transport.abort()

    def _on_frame(self, kind: int, payload: bytes) -> None:
        network = self._network
        if self._peer is not None:
            network.on_frame(self._peer, kind, payload)
            return
        if kind != Frame.HELLO:
            raise FrameError("the stream does not begin with a greeting of this protocol")
        self._peer = check_hello(payload, network.cluster, network.node, network.peers)
        network.streams_from[self._peer] = self
        assert self._transport is not None
        network.strangers.pop(self._transport, None)
        self._reader.limit_bytes = MAX_FRAME_BYTES
        self._greeting.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        network = self._network
        self._greeting.cancel()
        if self._transport is not None:
            network.incoming.discard(self._transport)
            network.strangers.pop(self._transport, None)
        if self._peer is not None and network.streams_from.get(self._peer) is self:
            del network.streams_from[self._peer]
            network.on_lost(self._peer)


class _Outgoing(asyncio.Protocol):
    """This node's stream to a peer, which never answers on it. It stands in `streams_to` while it can be used."""

    def __init__(self, network: PeerNetwork, peer: int) -> None:
        self._network, self._peer = network, peer
        self._stream: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _tune(transport)
        network = self._network
        stream = self._stream = cast(asyncio.Transport, transport)
        hello = msgspec.msgpack.encode(Hello(MAGIC, PROTOCOL_VERSION, network.cluster, network.node, self._peer))
        stream.write(HEAD.pack(len(hello), Frame.HELLO) + hello)
        network.streams_to[self._peer] = stream
        if network.stopped:
            stream.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._network.streams_to.get(self._peer) is self._stream:
            self._network.forget(self._peer)
        if not self.lost.done():
            self.lost.set_result(None)


class PeerNetwork:
    """See the module. `addresses`: of all other nodes, by id. `on_frame(peer, kind, payload)`, `on_lost(peer)`."""

    def __init__(
        self,
        *,
        node: int,
        cluster: int,
        bind: Address,
        addresses: Mapping[int, Address],
        on_frame: Callable[[int, int, bytes], None],
        on_lost: Callable[[int], None],
    ):
        self.node, self.cluster = node, cluster
        self.peers = frozenset(addresses)
        self.on_frame, self.on_lost = on_frame, on_lost
        self.incoming: set[asyncio.Transport] = set()
        self.strangers: dict[asyncio.Transport, None] = {}
        """Those of them that have not greeted yet, the oldest first."""
        self.streams_from: dict[int, _Incoming] = {}
        self.refused = 0
        self.refusals = Refusals()
        self.dropped = 0
        self.stopped = False
        self.streams_to: dict[int, asyncio.Transport] = {}
        self._bind, self._addresses = bind, dict(addresses)
        self._look_ups: dict[int, asyncio.Future[list[Any]]] = {}
        self._known: dict[int, list[Any]] = {}
        self._pending: dict[int, list[bytes]] = {}
        self._server: asyncio.Server | None = None
        self._dialling: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen and begin to dial. Raises OSError when the address cannot be bound."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Incoming(self), *self._bind)
        self._dialling = [loop.create_task(self._dial(peer)) for peer in sorted(self.peers)]

    async def stop(self) -> None:
        """Close every stream, those that are just being made included."""
        self.stopped = True
        tasks: list[asyncio.Future[Any]] = [*self._dialling, *self._look_ups.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for transport in [*self.incoming, *self.streams_to.values()]:
            transport.abort()

    def connected(self, peer: int) -> bool:
        """Whether frames to this peer have a stream to go on."""
        return peer in self.streams_to

    def admit_stranger(self, stranger: asyncio.Transport) -> None:
        """Somebody has connected; the one who has been silent longest makes room for him."""
        self.strangers[stranger] = None
        if len(self.strangers) > STRANGERS_MAX:
            oldest = next(iter(self.strangers))
            del self.strangers[oldest]
            oldest.abort()

    def forget(self, peer: int) -> None:
        """The stream to this peer is no more; what waited to leave on it is lost."""
        self.streams_to.pop(peer, None)
        self._pending.pop(peer, None)

    def send(self, peer: int, kind: Frame, payload: bytes) -> bool:
        """Queue a frame; it leaves with all others of this loop turn. False: dropped."""
        transport = self.streams_to.get(peer)
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > UNSENT_LIMIT_BYTES:
            self.dropped += 1
            return False
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._flush)
        frames = self._pending.setdefault(peer, [])
        frames.append(HEAD.pack(len(payload), kind))
        frames.append(payload)
        return True

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        for peer, frames in pending.items():
            transport = self.streams_to.get(peer)
            if transport is not None and not transport.is_closing():
                transport.write(b"".join(frames))

    async def _dial(self, peer: int) -> None:
        """Keep a stream to this peer for as long as the node runs."""
        loop = asyncio.get_running_loop()
        delay_s = REDIAL_MIN_S
        while True:
            lasted = False
            try:
                stream = await self._connect(peer)
                dialled_at = loop.time()
                await stream.lost
                lasted = loop.time() - dialled_at > REDIAL_MAX_S
            except OSError:  # TimeoutError is one
                pass
            except Exception:
                log.exception("cannot dial node %d; trying again", peer)
            delay_s = REDIAL_MIN_S if lasted else min(delay_s * 2, REDIAL_MAX_S)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))

    async def _connect(self, peer: int) -> _Outgoing:
        """A stream to this peer, greeted. Raises OSError."""
        loop = asyncio.get_running_loop()
        failure: OSError = ConnectionError("no address is known")
        for family, _, _, _, address in await self._look_up(peer):
            try:
                async with asyncio.timeout(DIAL_TIMEOUT_S):
                    _, stream = await loop.create_connection(
                        lambda: _Outgoing(self, peer), address[0], address[1], family=family
                    )
                return stream
            except OSError as error:
                failure = error
        raise failure

    async def _look_up(self, peer: int) -> list[Any]:
        """Where the peer is, as `getaddrinfo` says it; the last answer while there is no better one. Raises OSError."""
        look_up = self._look_ups.get(peer)
        if look_up is None:
            host, port = self._addresses[peer]
            asked = asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            look_up = self._look_ups[peer] = asyncio.ensure_future(asked)
        await asyncio.wait([look_up], timeout=LOOK_UP_TIMEOUT_S)
        if look_up.done():
            del self._look_ups[peer]
            if look_up.exception() is None or peer not in self._known:
                self._known[peer] = look_up.result()
        return self._known.get(peer, [])
