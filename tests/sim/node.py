"""One simulated machine: a disk that outlives its processes, and the process that runs the production node on it.

A life begins with `start` and ends with `power_off`, `kill` or a fault of the disk; what was scheduled for one life
never happens in another. While paused, a process gets nothing; all of it comes when it goes on, its ticks capped as
in `app.node.ticker`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from app.node.compaction import Compaction
from app.node.protocols import Surroundings
from app.node.recovery import GROUP, restore_core
from app.node.reserve import Reserve
from app.node.runner import GroupRunner
from app.node.snapshots import SnapshotFiles
from app.raft import RaftCore, Role
from app.storage import Identity, LogFull, SegmentedLog
from tests.sim import machine as states
from tests.sim import network
from tests.sim.disk import SimCrash, SimFileSystem
from tests.sim.machine import DIRECTORY, SimMachine
from tests.sim.plan import MS, SECOND
from tests.sim.service import Service
from tests.sim.shadow import Shadow
from tests.sim.threads import LOOK_AHEAD_US, SimBackground, SimDisk

if TYPE_CHECKING:
    from tests.sim.world import World

CLUSTER = 0xC1
LOG_DIRECTORY = f"{DIRECTORY}/log"
RESERVE_BYTES = 1 << 20
EPOCH_MS = 1_700_000_000_000
LATEST_SHARE = 0.4
"""How often a power loss finds more of the state on the disk than the last checkpoint put there."""


class SimNode:
    """See the module. `core`, `runner`, `wal`, `machine`, `disk` are of the current life; None-like while down."""

    core: RaftCore
    runner: GroupRunner
    wal: SegmentedLog
    machine: SimMachine
    disk: SimDisk
    snapshots: SnapshotFiles
    service: Service

    def __init__(self, world: World, node: int):
        self.world, self.checks, self.id = world, world.checks, node
        self.fs = SimFileSystem()
        self.cached_image: bytes | None = None
        self.up = False
        self.life = 0
        self.starved = False
        """The state has no room to grow into (a full disk)."""
        self.clock_ms = 0
        """How far this machine's clock is off."""
        self.paused = False
        self._missed: list[tuple[Callable, tuple]] = []
        self.shadow = Shadow()
        self.wiped: int | None = None
        """The incarnation of the disk that was replaced last."""

    # -- time and messages ------------------------------------------------------------------------------

    def later(self, delay_us: int, call: Callable, *args: Any) -> None:
        """Call it in this life only."""
        self.world.schedule(delay_us, self, call, *args)

    def take(self, call: Callable, args: tuple) -> None:
        """One event of this life."""
        if self.paused:
            self._missed.append((call, args))
            return
        call(*args)
        self.checks.after(self)

    def pause(self, for_us: int) -> None:
        """No event reaches the process for so long."""
        if self.up and not self.paused:
            self.paused = True
            self.world.count("leader paused" if self.core.leader is not None else "follower paused")
            self.world.schedule(for_us, None, self._go_on, self.life)

    def _go_on(self, life: int) -> None:
        if life == self.life and self.paused:
            self.resume()

    def resume(self) -> None:
        """All that was missed comes at once."""
        self.paused = False
        missed, self._missed = self._missed, []
        for call, args in missed:
            self.later(0, call, *args)

    def hear(self, data: bytes) -> None:
        """A raft message arrives."""
        message = network.read(data)
        self.world.trace(self.id, "hears", message)
        self.world.coverage.heard(self, message)
        self.runner.deliver(message)

    def send(self, message: Any) -> None:
        """The runner's way out (`Transport`)."""
        self.world.trace(self.id, "sends", message)
        self.checks.sending(self, message)
        self.world.coverage.sent(self, message)
        self.world.network.send(message)

    def now_ms(self) -> int:
        """This machine's clock."""
        return EPOCH_MS + self.clock_ms + self.world.now_us // MS

    def _soon(self, call: Callable[[], None]) -> None:
        rng, lag = self.world.rng, self.world.plan.turn_lag_share
        delay = int(rng.random() * 5 * MS) if lag and rng.random() < lag else 1
        self.later(delay, call)

    def _tick(self) -> None:
        tick_us = self.world.plan.tick_ms * MS
        self.later(tick_us, self._tick)
        now = self.world.now_us
        ticks = (now - self._last_tick_us) // tick_us
        most = self.core.tuning.heartbeat_ticks
        if ticks > most:
            self.world.count("ticks capped after a pause")
            ticks = most
            self._last_tick_us = now
        else:
            self._last_tick_us += ticks * tick_us
        if ticks:
            leader = self.core.leader
            self.runner.tick(ticks)
            if leader is not None:
                self.world.coverage.ticked_leader(self, leader)

    def _look_ahead(self) -> None:
        self.later(LOOK_AHEAD_US, self._look_ahead)
        self.disk.look_ahead()

    # -- lives ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a life on what the disk holds. A full disk or a crash may end it at once."""
        assert not self.up
        self.life += 1
        self.world.trace(self.id, "starts", None)
        try:
            self._open()
        except SimCrash as crash:
            self.up = True
            self.power_off(crash)
        except (LogFull, OSError) as error:
            self.world.trace(self.id, "cannot start", error)
            self.world.count("start refused by a full disk" if self.fs.full else "start refused by a disk error")
            self._close()
            self.fs.kill()
            self._end_process()

    def _open(self) -> None:
        world, plan, fs = self.world, self.world.plan, self.fs
        world.coverage.opening(self)
        fs.makedirs(DIRECTORY)
        identity = Identity(CLUSTER, GROUP, self.id, world.rng.getrandbits(63) | 1)
        self.machine = SimMachine.start(self)
        begin = not self.machine.applied_index
        self.wal = SegmentedLog.open(fs, LOG_DIRECTORY, identity, segment_bytes=plan.segment_bytes, begin=begin)
        self.checks.reopened(self)
        before = self.wal.last_index, self.wal.first_index
        self.core = restore_core(self.wal, self.machine, plan.nodes, plan.tuning, Random(world.rng.getrandbits(32)))
        if before != (self.wal.last_index, self.wal.first_index):
            world.count("state installed over a log that still stood: reset at start")
        self.core.log._cache_bytes = plan.cache_bytes
        self.snapshots = SnapshotFiles(fs, f"{DIRECTORY}/snapshots", plan.chunk_bytes)
        self.disk = SimDisk(self, Reserve(fs, DIRECTORY, RESERVE_BYTES, lambda: self.machine.owed_bytes))
        around = Surroundings(
            transport=self,
            disk=self.disk,
            background=SimBackground(self),
            now_ms=self.now_ms,
            elapsed_ms=lambda: world.now_us // MS,
            soon=self._soon,
            later=lambda ms, call: self.later(ms * MS, call),
        )
        compaction = Compaction(
            self.wal, self.core, self.machine, self.snapshots, around, plan.compact_every_bytes, plan.retain_bytes
        )
        self.runner = GroupRunner(self.core, self.machine, self.snapshots, compaction, around, plan.inbox_limit)
        self.service = Service(self)
        self.runner.on_note = lambda note: world.trace(self.id, "notes", note.text)
        self.runner.on_change = self.service.leader_may_have_changed
        self._last_tick_us = world.now_us
        self.up = True
        self.checks.started(self)
        self.later(int(world.rng.random() * plan.tick_ms * MS), self._tick)
        self.later(1, self._look_ahead)

    def _end_process(self) -> None:
        """Nothing of this life goes on; the next one is scheduled."""
        self.up = self.paused = False
        self.life += 1
        self._missed.clear()
        rng = self.world.rng
        delay = rng.expovariate(1.0) * rng.choice((0.2, 1.0, 4.0)) * SECOND
        self.world.schedule(int(min(delay, 15 * SECOND)) + 50 * MS, None, self.start_again)

    def start_again(self) -> None:
        """Unless something else did so already."""
        if not self.up:
            self.start()

    def power_off(self, why: SimCrash | None) -> None:
        """The machine loses its power: the disk keeps what was synced, and of the rest what chance says."""
        if not self.up:
            return
        rng = self.world.rng
        self.world.trace(self.id, "loses power", why)
        self.world.coverage.crashed(self, why)
        self.world.coverage.power_lost(self)
        newer = self.cached_image
        if hasattr(self, "machine"):
            middle = self.machine.middle
            newer = self.machine.left_behind() if middle is None or rng.random() < 0.5 else middle
        self._close()
        self.fs.crash(rng)
        self._end_process()
        self.cached_image = None
        if newer is not None and rng.random() < LATEST_SHARE:
            self._keep_newer(newer)

    def _keep_newer(self, image: bytes) -> None:
        """The disk happens to hold more of the state than the last checkpoint put there."""
        stored = states.load(self.fs)
        if stored is None or states.index_of(image) > states.index_of(stored):
            full, self.fs.full = self.fs.full, False
            states.store(self.fs, image)
            self.fs.full = full
            self.world.count("state on disk newer than its last checkpoint")

    def kill(self, why: object = "killed") -> None:
        """The process ends; the machine and its page cache do not."""
        if not self.up:
            return
        self.world.trace(self.id, "is killed", why)
        self.world.coverage.crashed(self, None)
        self.cached_image = self.machine.left_behind()
        self._close()
        self.fs.kill()
        self._end_process()
        for peer in self.world.nodes:
            if peer is not self and peer.up and not self.world.network.cut[self.id][peer.id]:
                self.world.schedule(MS, peer, peer.lose_peer, self.id)

    def lose_peer(self, peer: int) -> None:
        """The stream from a peer closed."""
        self.service.peer_lost(peer)
        self.runner.peer_lost(peer)

    def wipe(self) -> None:
        """Another, empty disk. The process must be down."""
        assert not self.up
        self.world.trace(self.id, "gets an empty disk", None)
        self.wiped = self.shadow.incarnation
        self.fs = SimFileSystem()
        self.cached_image = None

    def feed(self) -> None:
        """The reserve is given up; if it was there, the state has room again."""
        if self.fs.exists(f"{DIRECTORY}/ballast"):
            self.starved = False

    def _close(self) -> None:
        if hasattr(self, "machine"):
            self.machine._connection.close()
            del self.machine

    def summary(self) -> str:
        """Where it stands, in words."""
        if not self.up:
            return f"node {self.id} is down"
        core, log = self.core, self.core.log
        return (
            f"node {self.id}: {core.role.name} of term {core.term}, leader {core.leader_id}, entries {log.first_index} "
            f"to {log.last_index}, committed {log.commit_index}, applied {self.machine.applied_index}"
        )

    def leads(self) -> bool:
        """Whether this process thinks so."""
        return self.up and self.core.role == Role.LEADER
