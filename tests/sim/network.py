"""Links between nodes: slow, lossy, cut in one direction or both, and sometimes in order like a TCP stream.

Rules of this file: raft messages may be lost, late, doubled and overtaken. Questions (`ask`) may be lost or late, never
doubled: production sends them over streams. Every message crosses as bytes, so nodes share no object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.raft import AnyMessage, InstallSnapshot, decode, encode
from tests.sim.plan import MS

if TYPE_CHECKING:
    from tests.sim.node import SimNode
    from tests.sim.world import World


class Network:
    """`cut[a][b]`: nothing gets from a to b."""

    def __init__(self, world: World):
        self.world = world
        plan = world.plan
        self.drop_share, self.duplicate_share, self.slow_share = plan.drop_share, plan.duplicate_share, plan.slow_share
        self._delay_us = plan.delay_ms * MS
        self._in_order = plan.in_order
        self.cut = [[False] * plan.nodes for _ in range(plan.nodes)]
        self.gag: Callable[[AnyMessage], bool] | None = None
        """Messages that a scene keeps from getting through."""
        self._newest = [[0] * plan.nodes for _ in range(plan.nodes)]

    def heal(self) -> None:
        """Every link carries everything from now on, in good time."""
        self.connect_all()
        self.gag = None
        self.drop_share = self.duplicate_share = self.slow_share = 0.0

    def connect_all(self) -> None:
        """No link is cut."""
        for row in self.cut:
            row[:] = [False] * len(row)

    def split(self, group: set[int]) -> None:
        """Cut all links between `group` and the rest, both ways."""
        for a in range(len(self.cut)):
            for b in range(len(self.cut)):
                if (a in group) != (b in group):
                    self.cut[a][b] = True

    def send(self, message: AnyMessage) -> None:
        """A raft message, best effort."""
        world, random = self.world, self.world.rng.random
        gagged = self.gag is not None and self.gag(message)
        if gagged or self.cut[message.sender][message.to] or random() < self.drop_share:
            world.count("message lost")
            return
        if type(message) is InstallSnapshot:
            world.faults.ambush_chunk(message.sender)
        data = encode(message)
        self._carry(message.sender, message.to, data)
        if self.duplicate_share and random() < self.duplicate_share:
            world.count("duplicate message delivered")
            self._carry(message.sender, message.to, data)

    def _carry(self, sender: int, to: int, data: bytes) -> None:
        node = self.world.nodes[to]
        self.world.send(self._arrival_us(sender, to), node, node.hear, data)

    def _arrival_us(self, sender: int, to: int) -> int:
        """How long from now; at times very long."""
        world = self.world
        random = world.rng.random
        delay = self._delay_us * (0.2 + random())
        if self.slow_share and random() < self.slow_share:
            delay += random() * 400 * MS
        at = world.now_us + int(delay)
        newest = self._newest[sender]
        if at < newest[to]:
            if self._in_order:
                at = newest[to]
            else:
                world.count("message overtaken")
        else:
            newest[to] = at
        return at - world.now_us

    def tell(self, sender: int, to: int, what: str, *args: Any) -> bool:
        """Call `what` on the other node with plain data; False when the link is down. May be lost later."""
        if sender == to:
            self.world.schedule(1, self.world.nodes[to], getattr(self.world.nodes[to].service, what), *args)
            return True
        if self.cut[sender][to] or not self.world.nodes[to].up:
            return False
        if self.world.rng.random() >= self.drop_share:
            node = self.world.nodes[to]
            self.world.schedule(self._arrival_us(sender, to), node, self._deliver, node, what, args)
        return True

    @staticmethod
    def _deliver(node: SimNode, what: str, args: tuple[Any, ...]) -> None:
        getattr(node.service, what)(*args)


def read(data: bytes) -> AnyMessage:
    """The message that crossed."""
    return decode(data)
