"""What can go wrong below the commands. A refused command is an answer (`results.Refused`), never one of these.

    StateError
    ├── StateFull          no disk space: nothing was changed, the same items may be applied again
    ├── StateDamaged       the database cannot be read, or is not ours: it says what to do
    ├── StateInUse         another process holds the database
    ├── StateUnopened      the disk, or a permission, does not let it be opened
    └── SnapshotAbandoned  the machine was closed or replaced while a copy was being taken

Any other `sqlite3.Error` (a failed write, a bug) passes through unchanged: the node must end, and not try again.
"""

from __future__ import annotations

import errno
import sqlite3


class StateError(Exception):
    """The root of this tree."""


class StateFull(StateError):
    """SQLite found no disk space. The machine is as it was before the call."""


class StateDamaged(StateError):
    """The database at `path` is not one this program can work with."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path}: {reason}. Stop this node, move its state database away together with its log, and start it "
            "again empty: its peers will send it their snapshot."
        )
        self.path = path
        self.reason = reason


class StateInUse(StateError):
    """Another process has the database at `path` open; two nodes must not share a data directory."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is in use by another process: every node needs a data directory of its own.")
        self.path = path


class StateUnopened(StateError):
    """SQLite could not open the database at `path`; nothing says that it is damaged."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}. It must be a file that this user may write to, on a disk with some room.")
        self.path = path
        self.reason = reason


class SnapshotAbandoned(StateError):
    """The copy was given up half-way; nothing is left at its path."""


_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY = 0xFF


def is_full(error: BaseException) -> bool:
    """Whether this is for want of disk space (SQLite's result codes: sqlite.org/rescode.html)."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code in _FULL or code & _PRIMARY in _FULL)


def is_damaged(error: BaseException) -> bool:
    """Whether SQLite found that the file's content makes no sense."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY in _DAMAGED


def is_busy(error: BaseException) -> bool:
    """Whether another process holds a lock on the file."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
