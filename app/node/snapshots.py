"""Snapshot files: the copies a leader sends, and the one a follower receives.

A copy is taken beside the running machine and read chunk by chunk; what arrives is staged in one file that
counts for nothing until its last chunk is durable. All files here are scratch: a restart removes them.

A snapshot's bytes become the state unread, so a page that changed on a disk or on the way would show much later, as a
replica that differs from the others. So the copy's checksum goes with it, and who receives another ends (fail-stop),
with the state that it had; its next life asks again.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

import msgspec

from app.broker import SnapshotAbandoned, StateFull
from app.node.protocols import StateMachine
from app.raft import Chunk, Configuration, InstallSnapshot, SnapshotMeta
from app.storage.errors import is_no_space
from app.storage.filesystem import File, FileSystem

_configuration_decoder = msgspec.msgpack.Decoder(Configuration)
READ_BYTES = 1 << 20


class SnapshotDamaged(Exception):
    """What was received is not what was sent."""


class Copy(NamedTuple):
    """A consistent copy of the state, open for reading."""

    meta: SnapshotMeta
    path: str
    file: File


class SnapshotFiles:
    """The scratch directory. `chunk_bytes`: the piece that one message carries."""

    def __init__(self, fs: FileSystem, directory: str, chunk_bytes: int):
        self._fs = fs
        self._directory = directory
        self._chunk_bytes = chunk_bytes
        self._copies: dict[int, Copy] = {}
        self._under_way: int | None = None
        self._taken = 0
        self._staging: File | None = None
        self._staging_checksum = 0
        self.staging_path = f"{directory}/incoming"
        fs.makedirs(directory)
        for name in fs.listdir(directory):
            fs.unlink(f"{directory}/{name}")

    def take(self, machine: StateMachine, fallback: Configuration) -> Copy | None:
        """Copy the machine's state (in a background thread); None when there is no room for it, or the node stops.

        `fallback`: the configuration before any was applied.
        """
        self._taken += 1
        path = f"{self._directory}/outgoing-{self._taken}"
        try:
            index, term, configuration = machine.snapshot(path)
        except (StateFull, SnapshotAbandoned):
            return None
        file = self._fs.open(path)
        voters = fallback if configuration is None else _configuration_decoder.decode(configuration)
        return Copy(SnapshotMeta(index, term, voters, file.size(), _checksum(file)), path, file)

    def expect(self, index: int | None) -> None:
        """A copy is being taken that stands at `index` or later; None: no more."""
        self._under_way = index

    def hold(self, copy: Copy) -> SnapshotMeta:
        """Keep a copy for sending; one of the same index that is being sent already takes its place."""
        held = self._copies.setdefault(copy.meta.index, copy)
        if held is not copy:
            self.discard(copy)
        return held.meta

    def fill(self, message: InstallSnapshot) -> InstallSnapshot | None:
        """The message with its bytes; None when that copy is gone."""
        copy = self._copies.get(message.meta.index)
        if copy is None:
            return None
        data = copy.file.pread(self._chunk_bytes, message.offset)
        done = message.offset + len(data) >= copy.meta.size_bytes
        return msgspec.structs.replace(message, data=data, done=done)

    def oldest(self) -> int | None:
        """The smallest index of a copy in use or under way: the log must go on from there."""
        if not self._copies:
            return self._under_way
        oldest = min(self._copies)
        return oldest if self._under_way is None else min(oldest, self._under_way)

    def drop_unused(self, in_use: set[int]) -> list[Copy]:
        """Let go of the copies that no follower reads any more; they are the caller's to `discard`."""
        return [self._copies.pop(index) for index in [*self._copies] if index not in in_use]

    def discard(self, copy: Copy) -> None:
        """Remove one copy's file."""
        copy.file.close()
        self._fs.unlink(copy.path)

    def stage(self, chunk: Chunk) -> None:
        """Write a received chunk (disk thread); with the last one, the whole file is durable.

        Raises StateFull where there is no room for it, and the same chunk may come again; SnapshotDamaged.
        """
        try:
            if chunk.offset == 0:
                self._begin_staging()
            assert self._staging is not None
            self._staging.pwrite(chunk.data, chunk.offset)
        except OSError as error:
            if not is_no_space(error):
                raise
            raise StateFull("no disk space for a snapshot that is being received") from error
        self._staging_checksum = crc32(chunk.data, self._staging_checksum)
        if chunk.done:
            if chunk.meta.checksum not in (0, self._staging_checksum):
                raise SnapshotDamaged(
                    f"the snapshot at entry {chunk.meta.index} arrived with checksum {self._staging_checksum:08x}, "
                    f"not {chunk.meta.checksum:08x}; should this come again, look at the leader's disk"
                )
            self._staging.datasync()
            self._staging.close()
            self._staging = None
            self._fs.sync_dir(self._directory)

    def _begin_staging(self) -> None:
        if self._staging is not None:
            self._staging.close()
        self._staging = self._fs.open(self.staging_path, create=True)
        self._staging.truncate(0)
        self._staging_checksum = 0


def _checksum(file: File) -> int:
    checksum = 0
    for offset in range(0, file.size(), READ_BYTES):
        checksum = crc32(file.pread(READ_BYTES, offset), checksum)
    return checksum
