"""Two networks on loopback, on the loop that the node runs on: frames come in order, a lost stream is dialled anew."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from app.transport import Frame, PeerNetwork
from app.transport.network import _Outgoing


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Pair:
    """Node 0 and node 1, each with what it received and whom it lost."""

    def __init__(self, clusters: tuple[int, int] = (7, 7)):
        self.ports = (free_port(), free_port())
        self.received: tuple[list, list] = ([], [])
        self.lost: tuple[list[int], list[int]] = ([], [])
        self.networks = [self.make(node, clusters[node]) for node in (0, 1)]

    def make(self, node: int, cluster: int) -> PeerNetwork:
        return PeerNetwork(
            node=node,
            cluster=cluster,
            bind=("127.0.0.1", self.ports[node]),
            addresses={1 - node: ("127.0.0.1", self.ports[1 - node])},
            on_frame=lambda peer, kind, payload: self.received[node].append((peer, kind, payload)),
            on_lost=self.lost[node].append,
        )

    async def __aenter__(self) -> Pair:
        for network in self.networks:
            await network.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for network in self.networks:
            await network.stop()


async def until(condition: Callable[[], Any], what: str) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds, polled
            await asyncio.sleep(0.005)
    assert condition(), what


def test_frames_arrive_in_order() -> None:
    async def scenario() -> None:
        async with Pair() as pair:
            await until(lambda: pair.networks[0].connected(1), "a stream")
            for number in range(1000):
                assert pair.networks[0].send(1, Frame.RAFT, str(number).encode() * (number % 50))
            await until(lambda: len(pair.received[1]) == 1000, "all frames")
            expected = [(0, Frame.RAFT, str(number).encode() * (number % 50)) for number in range(1000)]
            assert pair.received[1] == expected

    uvloop.run(scenario())


def test_a_lost_peer_is_noticed_and_comes_back() -> None:
    async def scenario() -> None:
        async with Pair() as pair:
            await until(lambda: 1 in pair.networks[0].streams_from, "node 1 has dialled node 0")
            await pair.networks[1].stop()
            await until(lambda: pair.lost[0] == [1], "the loss is reported once")
            await until(lambda: not pair.networks[0].connected(1), "the own stream is closed too")
            assert not pair.networks[0].send(1, Frame.RAFT, b"nobody there")
            pair.networks[1] = pair.make(1, 7)
            await pair.networks[1].start()
            await until(lambda: pair.networks[0].connected(1), "dialled anew")
            pair.networks[0].send(1, Frame.RAFT, b"again")
            await until(lambda: (0, Frame.RAFT, b"again") in pair.received[1], "frames flow again")

    uvloop.run(scenario())


def test_a_stranger_gets_nothing_through() -> None:
    async def scenario() -> None:
        async with Pair(clusters=(7, 8)) as pair:
            await until(lambda: pair.networks[1].refused >= 2, "refused, and tried again")
            pair.networks[0].send(1, Frame.RAFT, b"hello?")
            await asyncio.sleep(0.1)
            assert pair.received == ([], [])

    uvloop.run(scenario())


def test_a_stranger_that_comes_again_and_again_is_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with Pair(clusters=(7, 8)) as pair:
            await until(lambda: min(network.refused for network in pair.networks) >= 3, "refused, and tried again")

    uvloop.run(scenario())
    told = sorted(text for text in caplog.messages if text.startswith("refused a stream"))
    assert len(told) == 2 and all("from 127.0.0.1: the peer belongs to another cluster" in text for text in told)


def test_noise_on_the_peer_port_is_dropped() -> None:
    async def scenario() -> None:
        async with Pair() as pair:
            reader, writer = await asyncio.open_connection("127.0.0.1", pair.ports[0])
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with pytest.raises(ConnectionError):
                if not await reader.read():
                    raise ConnectionResetError
            writer.close()
            assert pair.received[0] == []

    uvloop.run(scenario())


def test_a_stream_that_closes_takes_no_other_peer_s_frames_with_it() -> None:
    async def scenario() -> None:
        received: list[bytes] = []
        ports = free_port(), free_port(), free_port()

        def make(node: int) -> PeerNetwork:
            return PeerNetwork(
                node=node,
                cluster=7,
                bind=("127.0.0.1", ports[node]),
                addresses={peer: ("127.0.0.1", ports[peer]) for peer in range(3) if peer != node},
                on_frame=lambda _peer, _kind, payload: received.append(payload),
                on_lost=lambda _peer: None,
            )

        networks = [make(node) for node in range(3)]
        for network in networks:
            await network.start()
        sender = networks[0]
        await until(lambda: sender.connected(1) and sender.connected(2), "streams to both")
        assert sender.send(1, Frame.RAFT, b"lost with the stream")
        assert sender.send(2, Frame.RAFT, b"first")
        sender.streams_to[1].abort()
        assert not sender.send(1, Frame.RAFT, b"surely not sent")
        assert sender.send(2, Frame.RAFT, b"second")
        await until(lambda: received == [b"first", b"second"], "what goes to the other arrives")
        for network in networks:
            await network.stop()

    uvloop.run(scenario())


def test_a_slow_look_up_is_not_piled_up_and_the_last_address_serves_meanwhile(monkeypatch) -> None:
    async def scenario() -> None:
        async with Pair() as pair:
            await until(lambda: pair.networks[0].connected(1), "a stream")
            loop = asyncio.get_running_loop()
            under_way: list[object] = []

            async def stuck(*_: object, **__: object) -> object:
                under_way.append(None)
                return await loop.create_future()

            monkeypatch.setattr(loop, "getaddrinfo", stuck)
            pair.networks[0].streams_to[1].abort()
            await until(lambda: under_way, "dialled anew")
            await until(lambda: pair.networks[0].connected(1), "by the address that was good before")
            pair.networks[1]._server.close()
            for transport in [*pair.networks[1].incoming]:
                transport.abort()
            await asyncio.sleep(1.5)
            assert len(under_way) <= 1 + len(pair.networks), "one look-up a peer at a time"

    uvloop.run(scenario())


def test_a_stranger_cannot_hold_memory_or_a_place(monkeypatch) -> None:
    monkeypatch.setattr("app.transport.network.GREETING_TIMEOUT_S", 0.2, raising=False)

    async def scenario() -> None:
        async with Pair() as pair:
            await until(lambda: len(pair.networks[0].incoming) == 1, "the peer's stream")
            silent = await asyncio.open_connection("127.0.0.1", pair.ports[0])
            large = await asyncio.open_connection("127.0.0.1", pair.ports[0])
            large[1].write((1 << 20).to_bytes(4, "little") + b"\x01")
            for reader, writer in (large, silent):
                with pytest.raises(ConnectionError):
                    if not await reader.read():
                        raise ConnectionResetError
                writer.close()
            assert len(pair.networks[0].incoming) == 1, "who has greeted stays"

    uvloop.run(scenario())


def test_the_late_end_of_a_dial_that_was_given_up_takes_no_newer_stream_with_it() -> None:
    """It may have connected in the very moment in which its time was up."""

    async def scenario() -> None:
        async with Pair() as pair:
            network = pair.networks[0]
            await until(lambda: network.connected(1), "a stream")
            given_up = _Outgoing(network, 1)
            newer = network.streams_to[1]
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(lambda: given_up, "127.0.0.1", pair.ports[1])
            network.streams_to[1] = newer
            transport.abort()
            await given_up.lost
            assert network.streams_to.get(1) is newer

    uvloop.run(scenario())


def test_of_many_strangers_the_oldest_goes(monkeypatch) -> None:
    monkeypatch.setattr("app.transport.network.STRANGERS_MAX", 3, raising=False)

    async def scenario() -> None:
        async with Pair() as pair:
            network = pair.networks[0]
            await until(lambda: 1 in network.streams_from, "the peer's stream")
            silent = [await asyncio.open_connection("127.0.0.1", pair.ports[0]) for _ in range(5)]
            await until(lambda: len(network.incoming) == 1 + 3, "the peer, and as many strangers as there may be")
            for number, (reader, writer) in enumerate(silent):
                if number < 2:
                    await until(lambda reader=reader: reader.at_eof() or reader.exception(), "an old one is cut off")
                else:
                    assert not reader.at_eof()
                writer.close()
            assert 1 in network.streams_from

    uvloop.run(scenario())
