"""The links between a test's nodes, without nodes: what is said arrives whole, and late where the link was cut."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from app.transport.frames import HEAD, MAGIC, PROTOCOL_VERSION, Frame, Hello
from rmq.testing.helper import HOST, Links

pytestmark = pytest.mark.timeout(60)
SAID = b"".join(number.to_bytes(4) for number in range(4_000_000))
"""More than the kernel holds for two sockets on the way."""


class World:
    """Two nodes' listeners, and the links between them; node 0 has said hello to node 1."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.listeners = [socket.create_server((HOST, 0)) for _ in range(2)]
        self.links = Links(self.selector, [each.getsockname()[1] for each in self.listeners])
        self.sockets: list[socket.socket] = []
        self.said = bytearray()
        self.heard = bytearray()

    def close(self) -> None:
        self.links.close()
        assert not self.selector.get_map(), "nothing is watched any more"
        self.selector.close()
        for each in (*self.listeners, *self.sockets):
            each.close()

    def turn(self) -> None:
        for key, events in self.selector.select(0):
            key.data(events)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            self.turn()

    def dial(self, sender: int, to: int) -> socket.socket:
        near = socket.create_connection((HOST, self.links.ports[to]))
        near.setblocking(False)
        self.sockets.append(near)
        hello = msgspec.msgpack.encode(Hello(MAGIC, PROTOCOL_VERSION, (1 << 64) - 1, sender, to))
        self.say(near, HEAD.pack(len(hello), Frame.HELLO) + hello)
        return near

    def accept(self, node: int) -> socket.socket:
        self.listeners[node].settimeout(0)
        found: list[socket.socket] = []

        def look() -> bool:
            try:
                found.append(self.listeners[node].accept()[0])
            except BlockingIOError:
                return False
            return True

        self.until(look)
        found[0].setblocking(False)
        self.sockets.append(found[0])
        return found[0]

    def say(self, near: socket.socket, data: bytes) -> int:
        try:
            sent = near.send(data)
        except BlockingIOError:
            return 0
        self.said += data[:sent]
        return sent

    def hear(self, far: socket.socket) -> bool:
        """Whether something, or the end, has come."""
        try:
            data = far.recv(1 << 16)
        except BlockingIOError:
            return False
        self.heard += data
        return True


@pytest.fixture
def world() -> Iterator[World]:
    two = World()
    yield two
    two.close()


def test_a_slow_listener_is_waited_for_and_gets_all(world: World) -> None:
    near = world.dial(0, 1)
    far = world.accept(1)
    sent, idle = 0, 0
    while idle < 1000:
        more = world.say(near, SAID[sent:])
        sent, idle = sent + more, 0 if more else idle + 1
        world.turn()
    assert 0 < sent < len(SAID), "the way is full"
    while sent < len(SAID):
        world.hear(far)
        sent += world.say(near, SAID[sent:])
        world.turn()
    near.close()

    def is_over() -> bool:
        before = len(world.heard)
        return world.hear(far) and len(world.heard) == before

    world.until(is_over)
    assert world.heard == world.said
    assert not world.links.streams


@pytest.mark.parametrize("node", [0, 1], ids=["the dialler", "the dialled"])
def test_a_cut_link_is_silent_and_goes_on_when_it_heals(world: World, node: int) -> None:
    near = world.dial(0, 1)
    far = world.accept(1)
    world.until(lambda: world.hear(far))
    world.links.isolate(node)
    world.say(near, b"said in vain, for now")
    second = world.dial(0, 1)
    for _ in range(1000):
        world.turn()
        assert not world.hear(far)
    world.links.heal()
    world.until(lambda: world.hear(far) and world.heard.endswith(b"for now"))
    also_far = world.accept(1)
    second.close()
    world.until(lambda: world.hear(also_far))
    assert len(world.heard) == len(world.said)


def test_where_nobody_listens_the_dialler_sees_the_end(world: World) -> None:
    world.listeners[1].close()
    near = world.dial(0, 1)
    world.until(lambda: not world.links.streams)
    world.until(lambda: _is_over(near))


def _is_over(near: socket.socket) -> bool:
    try:
        return near.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
