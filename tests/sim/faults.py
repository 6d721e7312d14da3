"""What befalls the cluster: each method is one kind of fault, drawn by the plan's weights at random moments.

Rules of this file: any node, leaders too, and any number of them at once. The one thing that never happens is what no
design survives: a disk replaced while its vote is not yet known to all others by its incarnation (see `wipe`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from app.broker.commands import NewMessage, Publish, encode
from app.node.protocols import WriteJob
from app.raft import Configuration, NotLeader
from tests.sim import scenes
from tests.sim.clients import TOPICS
from tests.sim.plan import FAULTS, MS, SECOND

if TYPE_CHECKING:
    from tests.sim.node import SimNode
    from tests.sim.world import World


class Faults:
    """See the module. `stop` ends them for good, `World.heal` undoes them."""

    def __init__(self, world: World):
        self.world = world
        self._stopped = False
        self._made = 0
        self._playing = False
        self._room = Random(f"room {world.plan.seed}")
        """Of its own, so that what else happens in a seed stays what it was."""
        self._refused: set[int] = set()

    def begin(self) -> None:
        """Schedule the first one, if there are to be any."""
        if self.world.plan.fault_gap_ms:
            self._next()

    def stop(self) -> None:
        """No new ones."""
        self._stopped = True

    def _next(self) -> None:
        gap_us = int(self.world.rng.expovariate(1 / self.world.plan.fault_gap_ms) * MS)
        self.world.schedule(gap_us + MS, None, self._strike)

    def _strike(self) -> None:
        if self._stopped:
            return
        (name,) = self.world.rng.choices(FAULTS, self.world.plan.fault_weights)
        self.world.trace(-1, "fault", name)
        getattr(self, name)()
        self._next()

    def _after(self, low_s: float, high_s: float, call: Callable, *args: Any) -> None:
        delay_us = int((low_s + (high_s - low_s) * self.world.rng.random() ** 2) * SECOND)
        self.world.schedule(delay_us, None, self._unless_stopped, call, args)

    def _unless_stopped(self, call: Callable, args: tuple) -> None:
        if not self._stopped:
            call(*args)

    def _any(self) -> SimNode:
        return self.world.rng.choice(self.world.nodes)

    def _leader(self) -> SimNode:
        leaders = [node for node in self.world.nodes if node.leads()]
        return self.world.rng.choice(leaders) if leaders else self._any()

    # -- crashes ----------------------------------------------------------------------------------------

    def power(self) -> None:
        """One machine loses its power now."""
        self._any().power_off(None)

    def power_soon(self) -> None:
        """One machine loses its power at one of its next file operations."""
        node = self._any() if self.world.rng.random() < 0.6 else self._leader()
        node.fs.crash_at = node.fs.operations + self.world.rng.choice((1, 2, 3, 5, 8, 20, 60))

    def power_on_start(self) -> None:
        """One machine loses its power, and again while its process starts."""
        node = self._any()
        node.power_off(None)
        node.fs.crash_at = node.fs.operations + self.world.rng.randint(1, 8)

    def power_all(self) -> None:
        """The whole cluster loses its power at one moment."""
        if self.world.rng.random() < 0.5:
            self.world.count("all nodes lost power")
            for node in self.world.nodes:
                node.power_off(None)

    def kill(self) -> None:
        """One process is killed."""
        node = self._any() if self.world.rng.random() < 0.5 else self._leader()
        self.world.count("process killed")
        node.kill()

    def depose(self) -> None:
        """The leader's machine loses its power now."""
        self._leader().power_off(None)

    def disk_error(self) -> None:
        """A write or a sync fails; the process must end and acknowledge nothing of it."""
        self._any().fs.fail_next(self.world.rng.choice(("pwrite", "datasync")), self.world.rng.randint(1, 5))

    def wipe(self) -> None:
        """A disk is replaced by an empty one.

        Only while every other machine's durable state holds a configuration that names the lost disk. Otherwise a
        candidate that knows no disk under this id would take the new one's vote; or, with another new disk not yet
        known to be the admitted one, no majority of known disks would be left.
        """
        self.replace_disk(self._any())

    def replace_disk(self, node: SimNode) -> bool:
        """See `wipe`. False: not now."""
        checks = self.world.checks
        others = [other for other in self.world.nodes if other is not node]
        index = checks.last_configuration
        if len(others) < 2 or node.wiped or not index:
            return False
        if not all(other.up and not other.wiped and other.machine.durable_index >= index for other in others):
            return False
        configuration = msgspec.msgpack.decode(checks.ledger[index].data, type=Configuration)
        if configuration.incarnation(node.id) != node.shadow.incarnation:
            return False
        node.power_off(None)
        node.wipe()
        return True

    def ambush_install(self, node: SimNode) -> None:
        """A snapshot is being put in force: the power may go at one of the next file operations."""
        if self._ambushes():
            node.fs.crash_at = node.fs.operations + self.world.rng.randint(1, 8)

    def ambush_log(self, node: SimNode) -> None:
        """A compaction or a reset of the log begins: the power may go in the middle of it."""
        if self._ambushes(0.1):
            node.fs.crash_at = node.fs.operations + self.world.rng.randint(1, 3)

    def ambush_chunk(self, sender: int) -> None:
        """A chunk of a snapshot is on its way: its sender may be cut off, or lose its power."""
        if self._ambushes(0.2):
            if self.world.rng.random() < 0.5:
                self.world.schedule(1, None, self._unless_stopped, self.world.nodes[sender].power_off, (None,))
            else:
                self._isolate(self.world.nodes[sender])

    def ambush_election(self, node: SimNode) -> None:
        """A node has just won: it may be cut off, or lose its power, before it has told everybody."""
        if self._ambushes(1.5):
            delay_us = int(self.world.rng.random() * 30 * MS)
            call, args = (node.power_off, (None,)) if self.world.rng.random() < 0.5 else (self._isolate, (node,))
            self.world.schedule(delay_us, None, self._unless_stopped, call, args)

    @contextmanager
    def ambush_room(self, node: SimNode, jobs: Sequence[WriteJob]) -> Iterator[None]:
        """What waits is being written, a chunk of a snapshot with it: another program may just have taken the disk's
        room, though there was some when the chunk came; the next try finds it again. Mostly where more is beside it."""
        may_strike = self.world.plan.ambush_share and not self._stopped and any(job.chunks for job in jobs)
        was_full, share = node.fs.full, 1.0 if len(jobs) > 1 else 0.2
        if node.id in self._refused:
            self._refused.discard(node.id)
        elif may_strike and self._room.random() < share:
            self._refused.add(node.id)
            node.fs.full = True
        try:
            yield
        finally:
            node.fs.full = was_full

    def _ambushes(self, scale: float = 1.0) -> bool:
        share = self.world.plan.ambush_share * scale
        return share > 0 and not self._stopped and self.world.rng.random() < share

    # -- disks and clocks -------------------------------------------------------------------------------

    def stall(self) -> None:
        """A disk finishes nothing for a while."""
        self._stall(self._any())

    def stall_leader(self) -> None:
        """The leader's disk finishes nothing for a while."""
        self._stall(self._leader())

    def _stall(self, node: SimNode) -> None:
        if node.up:
            node.disk.stalled_until_us = self.world.now_us + int((0.2 + 4 * self.world.rng.random()) * SECOND)

    def full(self) -> None:
        """A disk is full for a while; the state may or may not find room within its own file."""
        node = self._any() if self.world.rng.random() < 0.5 else self._leader()
        node.fs.full = True
        node.starved = self.world.rng.random() < 0.5
        self._after(0.5, 8, self._empty, node)

    @staticmethod
    def _empty(node: SimNode) -> None:
        node.fs.full = node.starved = False

    def clock(self) -> None:
        """A clock jumps."""
        node = self._any()
        before = node.clock_ms
        node.clock_ms = self.world.rng.randint(-3000, 3000)
        if node.clock_ms < before:
            self.world.count("clock jumped back")

    # -- pauses and links -------------------------------------------------------------------------------

    def pause(self) -> None:
        """A process stands still."""
        self._pause(self._any())

    def pause_leader(self) -> None:
        """The leader's process stands still."""
        self._pause(self._leader())

    def _pause(self, node: SimNode) -> None:
        node.pause(int((0.05 + 4 * self.world.rng.random() ** 2) * SECOND))

    def partition(self) -> None:
        """The cluster falls apart into two."""
        world = self.world
        group = {node.id for node in world.nodes if world.rng.random() < 0.5}
        self._split(group, "partition")

    def isolate_leader(self) -> None:
        """Nobody hears the leader, and it hears nobody; clients still reach it."""
        self._split({self._leader().id}, "leader isolated")

    def rogue_leader(self) -> None:
        """The leader is cut off for long while many clients write to it: a long log that nobody will follow."""
        node = self._leader()
        if node.leads() and len(self.world.nodes) > 1:
            self.world.count("leader isolated")
            self.world.network.split({node.id})
            for number in range(self.world.rng.randint(10, 300)):
                self._made += 1
                command = encode(Publish(TOPICS[0], [NewMessage(f'"rogue {self._made}"'.encode())]))
                self.world.schedule(number * MS, node, node.runner.submit, command, True, _ignore)
            self._after(3, 9, self.world.network.connect_all)

    def _isolate(self, node: SimNode) -> None:
        self._split({node.id}, "partition")

    def _split(self, group: set[int], situation: str) -> None:
        if 0 < len(group) < len(self.world.nodes):
            self.world.count(situation)
            self.world.network.split(group)
            self._after(0.2, 6, self.world.network.connect_all)

    def deafen_leader(self) -> None:
        """The leader is heard and hears nobody."""
        self._silence(range(len(self.world.nodes)), [self._leader().id], "leader deafened")

    def one_way(self) -> None:
        """Some links carry nothing in one direction."""
        ids = range(len(self.world.nodes))
        rng = self.world.rng
        senders, receivers = ([i for i in ids if rng.random() < 0.5] for _ in range(2))
        self._silence(senders, receivers, "one-way partition")

    def _silence(self, senders: Any, receivers: Any, situation: str) -> None:
        pairs = [(a, b) for a in senders for b in receivers if a != b]
        if pairs:
            self.world.count(situation)
            for a, b in pairs:
                self.world.network.cut[a][b] = True
            self._after(0.2, 5, self.world.network.connect_all)

    def straggler(self) -> None:
        """One follower is cut off for so long that it needs a snapshot."""
        node = self._any()
        self.world.network.split({node.id})
        self._after(4, 10, self.world.network.connect_all)

    def loss(self) -> None:
        """The network loses much for a while."""
        network = self.world.network
        network.drop_share = 0.3
        self._after(0.5, 3, self._no_loss)

    def _no_loss(self) -> None:
        self.world.network.drop_share = self.world.plan.drop_share

    # -- scenes -----------------------------------------------------------------------------------------

    def figure_8(self) -> None:
        """See `scenes`."""
        self._play(scenes.figure_8)

    def wiped_ally(self) -> None:
        """See `scenes`."""
        self._play(scenes.wiped_ally)

    def overtaken_leader(self) -> None:
        """See `scenes`."""
        self._play(scenes.overtaken_leader)

    def forgotten_leases(self) -> None:
        """See `scenes`."""
        self._play(scenes.forgotten_leases)

    def _play(self, scene: Callable[[World], scenes.Scene]) -> None:
        if not self._playing:
            self._playing = True
            self._go_on(scene(self.world))

    def _go_on(self, scene: scenes.Scene) -> None:
        wait_ms = None if self._stopped else next(scene, None)
        if wait_ms is None:
            self._playing = False
            self.world.network.gag = None
        else:
            self.world.schedule(wait_ms * MS, None, self._go_on, scene)

    # -- leadership -------------------------------------------------------------------------------------

    def transfer(self) -> None:
        """The leader is asked to hand over."""
        self._transfer(self._leader())

    def transfer_stuck(self) -> None:
        """The leader is asked to hand over to a node that it cannot reach."""
        leader = self._leader()
        to = self._transfer(leader)
        if to is not None:
            self._silence([leader.id], [to], "one-way partition")

    def _transfer(self, leader: SimNode) -> int | None:
        others = [node.id for node in self.world.nodes if node is not leader]
        if not leader.leads() or leader.paused or not others:
            return None
        to = self.world.rng.choice(others)
        try:
            leader.runner.transfer(to)
        except NotLeader:
            return None
        return to


def _ignore(_outcome: object) -> None:
    """A client that does not wait for its answer."""
