"""Drives one Raft group: inputs are gathered, the core is stepped, each `Ready` is carried out.

No asyncio here and no thread: the loop, the disk and the clock are given (`Surroundings`), so the simulated
world runs this very code. Theory of operation:

    deliver / tick / submit / read  put their input down and ask for one `turn`
    turn    feeds all that has gathered into the core, takes a Ready, and carries it out:
            messages leave at once; writes go to the disk's queue, and what vouches for them (`after`) leaves
            when they are durable; what is committed is applied, and waiters are answered

Applying, and who waits for it, is `applying`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from app.node.applying import Applier, Done
from app.node.clockwork import Clockwork
from app.node.compaction import Compaction
from app.node.envelope import seal
from app.node.errors import DiskFull, Overloaded
from app.node.protocols import StateMachine, Surroundings, WriteJob
from app.node.snapshots import Copy, SnapshotFiles
from app.raft import AnyMessage, InstallSnapshot, Note, NotLeader, RaftCore, Ready, SnapshotMeta

INBOX_BYTES = 64 << 20
"""Of commands in memory, waiting or in the log's tail, above which no more are taken. Well above the tail's cache."""
COPY_RETRY_MS = 5000
"""Between two tries to copy the state on a disk without room for it: each may write a lot before it fails."""


class NotLeading(Exception):
    """The answer to a submission or a read that this node's core refused: ask `leader` (None: unknown)."""

    def __init__(self, leader: int | None):
        super().__init__(leader)
        self.leader = leader


class GroupRunner:
    """See the module. `inbox_limit`: proposals that may be without an answer at once."""

    def __init__(
        self,
        core: RaftCore,
        machine: StateMachine,
        snapshots: SnapshotFiles,
        compaction: Compaction,
        around: Surroundings,
        inbox_limit: int,
    ):
        self.core, self.machine, self.snapshots, self.compaction = core, machine, snapshots, compaction
        self.around = around
        self._applier = Applier(core, machine, compaction, around)
        self.on_change: Callable[[], None] = lambda: None
        """Called after a turn in which role, term or leader changed."""
        self.on_note: Callable[[Note], None] = lambda note: None
        """Called with what people who watch should know."""
        self._inbox_limit = inbox_limit
        self._inbox: list[AnyMessage] = []
        self._proposals: list[tuple[bytes, Done]] = []
        self._proposals_bytes = 0
        self._reads: dict[int, Done] = {}
        self._next_token = 0
        self._led_term = 0
        self._stamp_ms = machine.time_ms
        self._stamped_at_ms = around.elapsed_ms()
        self._clockwork = Clockwork(machine)
        self._timed = 0
        self._scheduled = False
        self._installing = False
        self._copying = False
        self._seen = (core.role, core.term, core.leader_id)

    @property
    def applied_index(self) -> int:
        """Where the machine stands."""
        return self._applier.applied_index

    # -- inputs -----------------------------------------------------------------------------------------

    def deliver(self, message: AnyMessage) -> None:
        """A message from a peer."""
        if isinstance(message, InstallSnapshot):
            missing_bytes = message.meta.size_bytes - message.offset
            if not self.around.disk.has_room(missing_bytes):
                return  # There is no room for a second copy of the state. The leader sends it again later.
        self._inbox.append(message)
        self._wake()

    def tick(self, ticks: int) -> None:
        """Time has moved."""
        for _ in range(ticks):
            self.core.tick()
        if self.core.leader is not None and not self._timed:
            self._stamp()
            for command, grows in self._clockwork.commands(self._stamp_ms):
                self._timed += 1
                self.submit(command, grows, self._time_kept)
        if self.core.crowded != self.around.disk.full:
            self.core.crowded = not self.core.crowded
            what = "is full: what makes data grow is refused" if self.core.crowded else "has room again"
            self.on_note(Note(f"this node's disk {what}", grave=self.core.crowded))
        if self.around.disk.scarce and not self._installing:
            self.compaction.make_room()
        self._applier.apply()
        self._wake()

    def _time_kept(self, _: Any) -> None:
        """One of the clockwork's commands is over, whatever came of it: what is still wanted is asked for anew."""
        self._timed -= 1

    def peer_lost(self, peer: int) -> None:
        """The stream from this peer closed."""
        self.core.peer_lost(peer)

    def submit(self, command: bytes, grows: bool, done: Done) -> None:
        """Propose a command. `done` gets the machine's answer (bytes), a NodeError, or NotLeading.

        `grows`: the command makes the data grow, so a full disk refuses it.
        """
        if self.core.leader is None:
            done(NotLeading(self.core.leader_id))
        elif grows and not self.core.leader.has_room():
            whose = "the leader's disk is" if self.core.crowded else "the disks of a majority are"
            done(DiskFull(f"{whose} full: free some space there, or consume; nothing was stored"))
        elif len(self._applier.waiters) + len(self._proposals) >= self._inbox_limit:
            done(Overloaded(f"{self._inbox_limit} operations are waiting already: slow down and try again"))
        elif self._proposals_bytes + self.core.log.tail_bytes > INBOX_BYTES:
            done(Overloaded(f"{INBOX_BYTES >> 20} MiB of operations are waiting already: slow down and try again"))
        else:
            self._proposals.append((command, done))
            self._proposals_bytes += len(command)
            self._wake()

    def read(self, done: Done) -> None:
        """Ask for a linearizable read. `done` gets the index to wait for, Overloaded, or NotLeading."""
        if len(self._reads) >= self._inbox_limit:
            done(Overloaded(f"{self._inbox_limit} reads are waiting already: slow down and try again"))
            return
        self._next_token += 1
        try:
            self.core.read(self._next_token)
        except NotLeader as refusal:
            done(NotLeading(refusal.leader))
            return
        self._reads[self._next_token] = done
        self._wake()

    def when_applied(self, index: int, done: Done) -> int:
        """Call `done(None)` once the machine stands at `index` or later. Returns a token for `forget`."""
        self._next_token += 1
        token = self._next_token
        self._applier.read(token, index, done)
        if self.applied_index < index:
            self._wake()
        return token

    def forget(self, token: int) -> None:
        """Nobody waits for it any more."""
        self._applier.forget(token)

    def transfer(self, to: int) -> None:
        """Start handing leadership over. Raises NotLeader or ValueError."""
        self.core.transfer(to)
        self._wake()

    # -- the turn ---------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.around.soon(self.turn)

    def turn(self) -> None:
        """Feed the core, take one Ready, carry it out."""
        self._scheduled = False
        if self._installing:
            return
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            self.core.step(message)
        self._take_office()
        if self._proposals:
            self._propose()
        ready = self.core.ready()
        for message in ready.messages:
            self._send(message)
        if ready.install is not None:
            self._install(ready.install, ready)
        else:
            self._go_on(ready)
        for note in ready.notes:
            self.on_note(note)
        self._drop_copies()
        self._notice()

    def _take_office(self) -> None:
        """Leading anew, waiters of earlier terms at indices that this term writes are given up: they fill the inbox.

        Their entries are gone from here, but another member may hold them, and lead, and commit them.
        """
        leader = self.core.leader
        if leader is not None and self._led_term != self.core.term:
            self._led_term = self.core.term
            why = "the leader changed before a majority had answered; it may or may not have happened"
            self._applier.give_up(why, lambda index: index >= leader.first_index)

    def _propose(self) -> None:
        """All that waits becomes entries with one time stamp, which never falls behind an earlier one."""
        proposals, self._proposals, self._proposals_bytes = self._proposals, [], 0
        self._stamp()
        group = self.core.group
        try:
            index, term = self.core.propose([seal(group, self._stamp_ms, command) for command, _ in proposals])
        except NotLeader as refusal:
            for _, done in proposals:
                done(NotLeading(refusal.leader))
            return
        waiters = self._applier.waiters
        for _, done in proposals:
            assert index not in waiters
            waiters[index] = (term, done)
            index += 1

    def _stamp(self) -> None:
        """The stamp of what is proposed now. It never falls behind an earlier one, and goes on from there at the pace
        of time: else a leader whose clock had been ahead would make all leases and delays stand still.

        `elapsed_ms` is read last: a pause between the two readings then makes the stamps late, which the next reading
        mends, and never early, which would last."""
        now_ms = self.around.now_ms()
        elapsed_ms = self.around.elapsed_ms()
        flowing_ms = self._stamp_ms + elapsed_ms - self._stamped_at_ms
        self._stamp_ms = max(flowing_ms, self.machine.time_ms, now_ms)
        self._stamped_at_ms = elapsed_ms

    def _go_on(self, ready: Ready) -> None:
        disk = self.around.disk
        if ready.writes():
            job = WriteJob(ready.hard_state, ready.entries, ready.chunks)
            disk.write(job, lambda: self._after(ready.after))
        elif ready.after:
            if disk.idle:
                self._after(ready.after)
            else:
                disk.call(lambda: None, lambda _: self._after(ready.after))
        self._applier.take(ready.committed)
        self._applier.go_on()
        if self.core.log.has_undelivered:
            self._wake()
        for token, index in ready.reads:
            done = self._reads.pop(token)
            done(NotLeading(self.core.leader_id) if index is None else index)
        if ready.snapshot_wanted and not self._copying and not disk.full:
            self._copy_state()

    def _after(self, messages: list[AnyMessage]) -> None:
        """What vouches for durable state leaves now."""
        for message in messages:
            if message.to == self.core.node:
                self._inbox.append(message)
            else:
                self.around.transport.send(message)
        self._wake()

    def _send(self, message: AnyMessage) -> None:
        if isinstance(message, InstallSnapshot):
            filled = self.snapshots.fill(message)
            if filled is None:
                return
            message = filled
        self.around.transport.send(message)

    def _notice(self) -> None:
        now = (self.core.role, self.core.term, self.core.leader_id)
        if now != self._seen:
            self._seen = now
            self.on_change()

    # -- snapshots --------------------------------------------------------------------------------------

    def _copy_state(self) -> None:
        """A follower needs a snapshot: copy the state in the background, then offer it."""
        self._copying = True
        self.snapshots.expect(self.applied_index)
        configuration = self.core.log.committed_configuration
        self.around.background.run(lambda: self.snapshots.take(self.machine, configuration), self._copied)

    def _copied(self, copy: Copy | None) -> None:
        self.snapshots.expect(None)
        if copy is None:
            self.around.later(COPY_RETRY_MS, self._may_copy_again)
            return
        self._copying = False
        meta = self.snapshots.hold(copy)
        if meta.index >= self.core.log.base_index:
            self.core.offer_snapshot(meta)
        self._wake()

    def _drop_copies(self) -> None:
        """Copies that no member reads (any more) go, in the background: to free a gigabyte takes long."""
        if self.snapshots.oldest() is not None:
            leader = self.core.leader
            for copy in self.snapshots.drop_unused(leader.snapshots_in_use() if leader else set()):
                self.around.background.run(partial(self.snapshots.discard, copy), lambda _: None)

    def _may_copy_again(self) -> None:
        self._copying = False
        self._wake()

    def _install(self, meta: SnapshotMeta, ready: Ready) -> None:
        """Put the staged snapshot in force. Nothing else moves meanwhile; inputs gather.

        First the state, then the log: a crash in between leaves a state ahead of the log, which recovery
        understands (`reconcile`); the other order would leave a log that no state reaches.
        """
        self._installing = True
        self._applier.drop()

        def installed(_: None) -> None:
            self.machine.install(self.snapshots.staging_path)
            assert (self.machine.applied_index, self.machine.applied_term) == (meta.index, meta.term)
            self.around.disk.call(lambda: self.compaction.log.reset(meta.index, meta.term), log_reset)

        def log_reset(_: None) -> None:
            self._installing = False
            self._applier.installed(meta.index)
            self._go_on(ready)
            self._wake()

        # Behind any checkpoint or copy in the background: they work on the file that is about to be replaced.
        self.around.background.run(lambda: None, installed)
