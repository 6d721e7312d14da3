"""A disk in memory that forgets what was not synced.

Theory. Programs see the newest bytes and names at once, as through a page cache. `crash` then decides what the disk
kept: of every 512-byte sector written since its file's last `datasync` the old or the new bytes, independently of all
others, at times a sector torn in two; of every name made, changed or removed since its directory's last `sync_dir`
the old or the new state. After a failed `datasync` the cache holds the unsaved sectors for clean, as Linux does: a
later `datasync` does not save them, only writing them again does.

Rules of this file: no clock, no global randomness; the same calls and the same `rng` give the same disk. What a run
pays for is a dictionary of the sectors that changed since the last sync, nothing else.
"""

from __future__ import annotations

import errno
import os
import posixpath
from random import Random
from typing import NamedTuple

SECTOR_BYTES = 512


class SimCrash(BaseException):
    """The process ends here. Not an `Exception`, so that no handler in the code under test survives it."""


class _Inode:
    """A file's bytes: `data`, then zeros up to `size`, so that an allocated file costs nothing until it is written."""

    __slots__ = ("data", "dirty", "disk_size", "size", "unsaved")

    def __init__(self, size: int) -> None:
        self.data = bytearray()
        self.size = size
        self.disk_size = size
        self.dirty: dict[int, bytes] = {}
        """Sector number -> its bytes on disk, where they may differ from `data`; trailing zeros left out."""
        self.unsaved: dict[int, bytes] = {}
        """As `dirty`, of sectors that a failed sync left behind: no later sync saves them."""

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.size)
        found = bytes(self.data[start:stop])
        return found + bytes(max(0, stop - start - len(found)))

    def write(self, start: int, data: bytes) -> None:
        """Keep what the disk holds of the sectors concerned, then change them."""
        stop = start + len(data)
        self._remember(start, stop)
        own = self.data
        if len(own) < start:
            own.extend(bytes(start - len(own)))
        own[start:stop] = data
        self.size = max(self.size, stop)

    def resize(self, size: int) -> None:
        if size < len(self.data):
            self._remember(size, len(self.data))
            del self.data[size:]
        self.size = size

    def _remember(self, start: int, stop: int) -> None:
        dirty = self.dirty
        for sector in range(start // SECTOR_BYTES, (stop + SECTOR_BYTES - 1) // SECTOR_BYTES):
            if sector not in dirty:
                if sector in self.unsaved:
                    dirty[sector] = self.unsaved.pop(sector)
                else:
                    dirty[sector] = bytes(self.data[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES])

    def crash(self, rng: Random) -> None:
        """Become what the disk kept."""
        kept_size = rng.choice((self.size, self.disk_size))
        lost_share = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        lost = {**self.unsaved, **self.dirty}
        self.dirty.clear()
        self.unsaved.clear()
        for sector, old in lost.items():
            if rng.random() < lost_share:
                torn_at = rng.randrange(SECTOR_BYTES) if rng.random() < 0.1 else 0
                old = old.ljust(SECTOR_BYTES, b"\0")[torn_at:]
                start = sector * SECTOR_BYTES + torn_at
                self.data.extend(bytes(max(0, start - len(self.data))))
                self.data[start : start + len(old)] = old
        del self.data[kept_size:]
        self.size = self.disk_size = kept_size


class _NameChange(NamedTuple):
    directory: str
    inode: _Inode
    old_path: str | None
    new_path: str | None


class SimFile:
    """An open file. After a crash or kill every use raises `OSError`."""

    __slots__ = ("_closed", "_fs", "_inode", "_life")

    def __init__(self, fs: SimFileSystem, inode: _Inode) -> None:
        self._fs = fs
        self._inode = inode
        self._life = fs.life
        self._closed = False

    def _use(self) -> _Inode:
        if self._closed or self._life != self._fs.life:
            raise OSError(errno.EBADF, "file of a former life, or closed")
        return self._inode

    def pread(self, n: int, offset: int) -> bytes:
        return self._use().read(offset, offset + n)

    def pwrite(self, data: bytes, offset: int) -> None:
        inode = self._use()
        fs = self._fs
        grows_by = offset + len(data) - inode.size
        if grows_by > 0:
            fs.claim(grows_by)
        failed = fs.armed and fs.fails("pwrite")
        inode.write(offset, data[: len(data) // 2] if failed else data)
        fs.touched[id(inode)] = inode
        fs.step()
        if failed:
            raise OSError(errno.EIO, "simulated write error")

    def datasync(self) -> None:
        inode = self._use()
        fs = self._fs
        fs.step()
        if fs.armed and fs.fails("datasync"):
            inode.unsaved.update(inode.dirty)
            inode.dirty.clear()
            raise OSError(errno.EIO, "simulated sync error")
        inode.dirty.clear()
        inode.disk_size = inode.size
        if not inode.unsaved:
            fs.touched.pop(id(inode), None)

    def size(self) -> int:
        return self._use().size

    def truncate(self, n: int) -> None:
        inode = self._use()
        self._fs.claim(max(0, n - inode.size))
        inode.resize(n)
        self._fs.touched[id(inode)] = inode
        self._fs.step()

    def close(self) -> None:
        self._closed = True


class _Held:
    def close(self) -> None:
        pass


class SimFileSystem:
    """One machine's disk.

    `full`: no file may grow or be made. `capacity_bytes`: the same once that much is taken. `crash_at`: `SimCrash` at
    the operation of that number (`operations` counts those that change or sync something, from 1). `fail_next` makes
    the n-th "pwrite" or "datasync" from now raise EIO.
    """

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.full = False
        self.operations = 0
        self.crash_at: int | None = None
        self.armed = False
        """Whether `fail_next` has anything in store."""
        self.life = 0
        """How often this machine crashed or its process was killed."""
        self.touched: dict[int, _Inode] = {}
        """Files with sectors that the disk may not have, by identity."""
        self._failing: dict[str, int] = {}
        self._names: dict[str, _Inode] = {}
        self._disk_names: dict[str, _Inode] = {}
        self._changes: list[_NameChange] = []
        self._directories: set[str] = {"/"}

    # The machine's fate

    def crash(self, rng: Random) -> None:
        """Power loss: keep what was synced, and of the rest whatever `rng` says. Open files become useless."""
        self._end_life()
        names = self._disk_names
        share = rng.choice((0.0, 0.5, 1.0))
        for change in self._changes:
            if rng.random() < share:
                _apply(names, change)
        self._changes.clear()
        self._names = dict(names)
        for inode in self.touched.values():
            inode.crash(rng)
        self.touched.clear()

    def kill(self) -> None:
        """The process ends, the machine does not: what was written stays readable, synced or not."""
        self._end_life()

    def _end_life(self) -> None:
        self.life += 1
        self.crash_at = None
        self.armed = False
        self._failing.clear()

    def fail_next(self, operation: str, nth: int = 1) -> None:
        """Let the `nth` "pwrite" or "datasync" from now raise `OSError`."""
        self._failing[operation] = nth
        self.armed = True

    def fails(self, operation: str) -> bool:
        """Whether this one is to fail. Called by files."""
        left = self._failing.get(operation, 0)
        if left:
            self._failing[operation] = left - 1
        return left == 1

    def step(self) -> None:
        """Count an operation; `SimCrash` when its number has come. Called by files."""
        self.operations += 1
        if self.operations == self.crash_at:
            raise SimCrash(f"at operation {self.operations}")

    def claim(self, size: int) -> None:
        """Take room or raise ENOSPC. Called by files."""
        if size and (self.full or self.free_bytes("/") < size):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # For tests

    def image(self) -> dict[str, bytes]:
        """Every file's bytes as programs see them, by path."""
        return {path: inode.read(0, inode.size) for path, inode in sorted(self._names.items())}

    def corrupt(self, path: str, offset: int, flip: int = 0x01) -> None:
        """Change one byte on the disk itself."""
        inode = self._names[path]
        changed = bytes([inode.read(offset, offset + 1)[0] ^ flip])
        inode.data.extend(bytes(max(0, offset - len(inode.data))))
        inode.data[offset : offset + 1] = changed

    # FileSystem

    def open(self, path: str, create: bool = False) -> SimFile:
        inode = self._names.get(path)
        if inode is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            inode = _Inode(0)
            self._change(_NameChange(posixpath.dirname(path), inode, None, path))
        return SimFile(self, inode)

    def allocate(self, path: str, size: int) -> SimFile:
        self.claim(size)
        inode = _Inode(size)
        self._change(_NameChange(posixpath.dirname(path), inode, None, path))
        return SimFile(self, inode)

    def rename(self, a: str, b: str) -> None:
        self._change(_NameChange(posixpath.dirname(b), self._existing(a), a, b))

    def unlink(self, path: str) -> None:
        self._change(_NameChange(posixpath.dirname(path), self._existing(path), path, None))

    def listdir(self, directory: str) -> list[str]:
        if directory not in self._directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)
        start = directory.rstrip("/") + "/"
        paths = [path for path in (*self._names, *self._directories) if path.startswith(start) and path != start]
        return sorted({path[len(start) :].partition("/")[0] for path in paths})

    def exists(self, path: str) -> bool:
        return path in self._names or path in self._directories

    def makedirs(self, directory: str) -> None:
        while directory and directory not in self._directories:
            self._directories.add(directory)
            directory = posixpath.dirname(directory)

    def sync_dir(self, directory: str) -> None:
        self.step()
        left = []
        for change in self._changes:
            if change.directory == directory:
                _apply(self._disk_names, change)
            else:
                left.append(change)
        self._changes = left

    def free_bytes(self, directory: str) -> int:
        if self.full:
            return 0
        if self.capacity_bytes is None:
            return 1 << 40
        return max(0, self.capacity_bytes - sum(inode.size for inode in self._names.values()))

    def lock(self, directory: str) -> _Held:
        """One process a machine: always held."""
        return _Held()

    def _existing(self, path: str) -> _Inode:
        inode = self._names.get(path)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return inode

    def _change(self, change: _NameChange) -> None:
        _apply(self._names, change)
        self._changes.append(change)
        self.step()


def _apply(names: dict[str, _Inode], change: _NameChange) -> None:
    """Also when an earlier change of the same file was lost, so that it still bears an older name."""
    if change.old_path is not None:
        for path in [path for path, inode in names.items() if inode is change.inode]:
            del names[path]
    if change.new_path is not None:
        names[change.new_path] = change.inode
