"""The production state machine over SQLite in memory, with its files kept in the simulated file system.

What is replaced: the write-ahead log of SQLite. A checkpoint writes the whole state to one file, durably. What was
committed since then may have reached the disk or not, as in production, so a power loss leaves the state of the last
checkpoint or, at times, a newer one; a killed process leaves what it had committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from app.broker import Item, Machine, StateFull, packs, writer
from app.broker import files as database
from app.storage.filesystem import FileSystem

if TYPE_CHECKING:
    from tests.sim.node import SimNode

DIRECTORY = "/data"
STATE_PATH = f"{DIRECTORY}/state"
MIDDLE_SHARE = 0.03


@contextmanager
def small_bounds() -> Iterator[None]:
    """Two messages make a pack, so that the small batches of a simulation lie in packs, too; and few entries make a
    transaction, but more than one."""
    before = packs.LEAST, packs.TOGETHER, writer.ENTRIES
    packs.LEAST = packs.TOGETHER = 2
    writer.ENTRIES = 20
    try:
        yield
    finally:
        packs.LEAST, packs.TOGETHER, writer.ENTRIES = before


class SimMachine(Machine):
    """See the module. `durable_index`: applied in the image that a power loss cannot take."""

    node: SimNode
    durable_index: int
    middle: bytes | None
    """A state between the last checkpoint and now that the disk may happen to hold."""

    @classmethod
    def start(cls, node: SimNode) -> SimMachine:
        """From what the simulated machine kept: its page cache first, else its disk."""
        image, durable_index = node.cached_image, 0
        stored = load(node.fs)
        if stored is not None:
            durable_index = index_of(stored)
            image = stored if image is None else image
        machine = cls.open(":memory:") if image is None else cls.deserialize(image)
        machine.node, machine.durable_index, machine.middle = node, durable_index, None
        return machine

    def apply(self, items: Sequence[Item]) -> list[bytes | None]:
        node = self.node
        if node.starved and items:
            node.world.count("state full: apply held back")
            raise StateFull("simulated")
        node.checks.applying(node, items)
        # The ledger wants the answer of each entry, also of those whose leader is gone.
        answers = super().apply([msgspec.structs.replace(item, is_asked=True) for item in items])
        node.checks.applied(node, items, answers)
        if node.world.rng.random() < MIDDLE_SHARE:
            self.middle = self.serialize()
        return answers

    def left_behind(self) -> bytes:
        """What the files hold when this process ends here and now. Nothing works afterwards."""
        if self._connection.in_transaction:
            self.node.world.count("killed with entries uncommitted")
            self._connection.execute("ROLLBACK")
        return database.image_of(self._connection)

    def checkpoint(self, scarce: bool = False) -> int:
        self.middle = None
        if self.node.fs.full:
            # As SQLite does when it finds the disk full.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
                self.node.world.count("transaction undone, and applied again")
        elif self.applied_index > self.durable_index:
            store(self.node.fs, self.serialize())
            self.durable_index = self.applied_index
        return self.durable_index

    def snapshot(self, path: str) -> tuple[int, int, bytes | None]:
        fs = self.node.fs
        image = self.serialize()
        position = self.applied_index, self.applied_term, self.configuration
        self.node.world.count("snapshot taken")
        if self._connection.execute("SELECT 1 FROM pack LIMIT 1").fetchall():
            self.node.world.count("snapshot with a pack in it")
        if fs.full:
            raise StateFull("simulated: no room for a copy")
        write(fs, path, image)
        return position

    def install(self, path: str) -> None:
        fs = self.node.fs
        with_image = read(fs, path)
        index = index_of(with_image)
        assert index >= self.applied_index, "a snapshot must not lead back"
        self.node.checks.installing(self.node, index)
        self.node.world.faults.ambush_install(self.node)
        fs.rename(path, STATE_PATH)
        fs.sync_dir(DIRECTORY)
        with self._gate:
            self._connection.close()
            self._take(database.open_memory(with_image))
        self.durable_index, self.middle = index, None
        self.node.checks.installed(self.node)


def read(fs: FileSystem, path: str) -> bytes:
    """The whole file."""
    file = fs.open(path)
    return file.pread(file.size(), 0)


def write(fs: FileSystem, path: str, image: bytes) -> None:
    """A new file with these bytes, durable (its name not yet)."""
    file = fs.open(path, create=True)
    file.truncate(0)
    file.pwrite(image, 0)
    file.datasync()
    file.close()


def load(fs: FileSystem) -> bytes | None:
    """The durable state, if there is one."""
    return read(fs, STATE_PATH) if fs.exists(STATE_PATH) else None


def store(fs: FileSystem, image: bytes) -> None:
    """Replace the durable state, atomically."""
    write(fs, f"{STATE_PATH}.new", image)
    fs.rename(f"{STATE_PATH}.new", STATE_PATH)
    fs.sync_dir(DIRECTORY)


def index_of(image: bytes) -> int:
    """The applied index of a state."""
    machine = Machine.deserialize(image)
    index = machine.applied_index
    machine.close()
    return index
