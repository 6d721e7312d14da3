"""The few file operations that the log relies on, and their real form.

Rules of this file: what storage wants of a disk is said here once, as two protocols, so that a simulated disk
can take the real one's place. Nothing here retries: a failed operation raises `OSError` and the caller decides.
What is durable: a file's bytes after `datasync`; its name after `sync_dir` of its directory; an allocated file's
bytes and size at once (its name not yet).
"""

from __future__ import annotations

import fcntl
import os
from typing import Protocol

from app.storage.errors import LogInUse

_ZEROS = bytes(1 << 20)
# macOS has no fdatasync; a full fsync is never less than it.
_datasync = getattr(os, "fdatasync", os.fsync)


class File(Protocol):
    """An open file, read and written at explicit offsets, from any thread."""

    def pread(self, n: int, offset: int) -> bytes:
        """`n` bytes from `offset`, fewer only at the end of the file."""

    def pwrite(self, data: bytes, offset: int) -> None:
        """All of `data`, or `OSError`; then any part of it may have been written."""

    def datasync(self) -> None:
        """All bytes written so far are durable on return."""

    def size(self) -> int:
        """Bytes."""

    def truncate(self, n: int) -> None:
        """Cut or extend with zeros to `n` bytes."""

    def close(self) -> None:
        """Idempotent. A file also closes itself with the last reference to it."""


class Closeable(Protocol):
    """Something held until it is closed."""

    def close(self) -> None:
        """Idempotent."""


class FileSystem(Protocol):
    """Names and files. Paths are plain strings."""

    def open(self, path: str, create: bool = False) -> File:
        """For reading and writing. `FileNotFoundError` when there is none and `create` is not set."""

    def allocate(self, path: str, size: int) -> File:
        """A new file (replacing any old one) of `size` written zeros, durable. When it fails no file is left."""

    def rename(self, a: str, b: str) -> None:
        """Atomic; replaces `b`. Durable after `sync_dir`."""

    def unlink(self, path: str) -> None:
        """Durable after `sync_dir`. Open files stay readable."""

    def listdir(self, directory: str) -> list[str]:
        """The names in it, sorted."""

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory of this name."""

    def makedirs(self, directory: str) -> None:
        """Make it and its missing parents, durably. Nothing when it is there."""

    def sync_dir(self, directory: str) -> None:
        """All names made, changed or removed in it are durable on return."""

    def free_bytes(self, directory: str) -> int:
        """Room left on its disk for this user."""

    def lock(self, directory: str) -> Closeable:
        """Hold the directory against other processes until closed or the process ends; `LogInUse`."""


class RealFile:
    """A file descriptor that closes with its last reference, so that a reader may outlive an unlinked file."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def pread(self, n: int, offset: int) -> bytes:
        data = os.pread(self._fd, n, offset)
        if len(data) == n or not data:
            return data
        parts = [data]
        got = len(data)
        while got < n and (data := os.pread(self._fd, n - got, offset + got)):
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def pwrite(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self._fd, data, offset)
        while written < len(data):
            written += os.pwrite(self._fd, memoryview(data)[written:], offset + written)

    def datasync(self) -> None:
        _datasync(self._fd)

    def sync(self) -> None:
        """Bytes and the file's size."""
        os.fsync(self._fd)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def truncate(self, n: int) -> None:
        os.ftruncate(self._fd, n)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class RealFileSystem:
    """The operating system's files."""

    def open(self, path: str, create: bool = False) -> RealFile:
        return RealFile(os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600))

    def allocate(self, path: str, size: int) -> RealFile:
        file = RealFile(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_TRUNC, 0o600))
        try:
            # Not fallocate: a write into an unwritten extent makes its fdatasync a journal commit as well.
            for offset in range(0, size, len(_ZEROS)):
                file.pwrite(_ZEROS[: size - offset], offset)
            file.sync()
        except BaseException:
            file.close()
            os.unlink(path)
            raise
        return file

    def rename(self, a: str, b: str) -> None:
        os.rename(a, b)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def listdir(self, directory: str) -> list[str]:
        return sorted(os.listdir(directory))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def makedirs(self, directory: str) -> None:
        if os.path.isdir(directory):
            return
        parent = os.path.dirname(os.path.abspath(directory))
        self.makedirs(parent)
        os.makedirs(directory, exist_ok=True)
        self.sync_dir(parent)

    def sync_dir(self, directory: str) -> None:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, directory: str) -> int:
        found = os.statvfs(directory)
        return found.f_bavail * found.f_frsize

    def lock(self, directory: str) -> RealFile:
        held = RealFile(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            fcntl.flock(held._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            raise LogInUse(
                f"{directory} is in use by another process: stop it first, or give this node its own data directory"
            ) from None
        return held
