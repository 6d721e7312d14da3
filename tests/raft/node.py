"""One node of a script: a production core, its disk, its state machine, and a driver that carries out each Ready."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from app.raft import Configuration, Entry, InstallSnapshot, Kind, RaftCore, RaftLog, ReadAnswer, SnapshotMeta
from tests.raft.disk import PIECE, Disk, pack

if TYPE_CHECKING:
    from tests.raft.script import Script

CLUSTER, GROUP = 7, 0


class Node:
    """One node: its disk, its state machine and, while it runs, its core."""

    def __init__(self, world: Script, node: int, disk: Disk):
        self.world, self.id = world, node
        self.disks = [disk]
        self.starts = 0
        self.files: dict[int, bytes] = {}
        self.reads: list[ReadAnswer] = []
        self.notes: list[str] = []
        self.start()

    @property
    def disk(self) -> Disk:
        """The disk in use; the ones before it are lost."""
        return self.disks[-1]

    def start(self) -> None:
        self.starts += 1
        self.state = self.disk.written.base.copy()
        self.core: RaftCore | None = RaftCore(
            node=self.id,
            cluster=CLUSTER,
            group=GROUP,
            incarnation=self.disk.incarnation,
            log=RaftLog(self.disk.written, self.state.index, self.state.configuration),
            hard_state=self.disk.written.hard_state,
            tuning=self.world.tuning,
            rng=random.Random(1000 * self.id + self.starts),
        )

    def carry_out(self) -> None:
        """Take Readys and do what they say, until there is nothing left to do."""
        core = self.core
        assert core is not None
        while True:
            ready = core.ready()
            for message in ready.messages:
                self.world.send(self.filled(message) if isinstance(message, InstallSnapshot) else message)
            if ready.writes() or ready.after or ready.install:
                self.disk.submit(ready)
            if ready.install is not None:
                self.state = self.disk.written.base.copy()
            for entry in ready.committed:
                self.apply(entry)
            self.reads += ready.reads
            self.notes += [note.text for note in ready.notes]
            if ready.snapshot_wanted and self.world.snapshots:
                core.offer_snapshot(self.copy_state())
            after = self.disk.finish()
            self.world.promises.durable(self)
            for message in after or ():
                if message.to == self.id:
                    core.step(message)
                else:
                    self.world.send(message)
            if after is None and not (ready.messages or ready.committed or ready.reads or core.out.messages):
                return

    def apply(self, entry: Entry) -> None:
        assert entry.index == self.state.index + 1, "entries are applied in order"
        self.state.index, self.state.term = entry.index, entry.term
        if entry.kind == Kind.COMMAND:
            self.state.commands.append(entry.data.decode())
        elif entry.kind == Kind.CONFIGURATION:
            self.state.configuration = msgspec.msgpack.decode(entry.data, type=Configuration)
        self.world.promises.applied(self.id, entry)

    def copy_state(self) -> SnapshotMeta:
        """A snapshot of the state as it is, kept for sending."""
        file = self.files[self.state.index] = pack(self.state, self.id)
        return SnapshotMeta(self.state.index, self.state.term, self.state.configuration, len(file))

    def filled(self, message: InstallSnapshot) -> InstallSnapshot:
        data = self.files[message.meta.index][message.offset : message.offset + PIECE]
        done = message.offset + len(data) >= message.meta.size_bytes
        fields = {name: getattr(message, name) for name in message.__struct_fields__}
        return InstallSnapshot(**{**fields, "data": data, "done": done})
