"""Durability, space and copies, seen to in another thread beside the writer.

Rules of this file: a connection of its own for each call, opened and closed here; SQLite's steps run without the
interpreter's lock, and none may hold up the writer for longer than a few milliseconds.

Durable. SQLite syncs neither at a commit nor later, until frames are to be copied from the write-ahead log into the
database (the backfill): first it syncs the former, in the end the latter, and only then may the former start again
from its beginning. So at any moment the two files together hold all that was committed, and to sync the write-ahead
log makes it durable, whatever else reads or copies. (sqlite.org/walformat.html, 4.3; wal.c, walCheckpoint)

Backfill. Seldom, since after it one commit pays for a sync of the restarted write-ahead log's header. PASSIVE waits
for nobody, but completes only if nobody commits meanwhile, which under a steady load never comes by itself. So passes
are made until one is quick, and a last one with the writer held off. The database file is synced between them, since
SQLite leaves all of that to the last. On a slow day the last pass is left for later, within limits.

When. What a commit writes into the write-ahead log may be many times what its entries add to the node's own log (50 KB
for a small message alone): so it says itself when it has grown so far that it is time for a backfill (`Growth`).

Space. Pages that became free are given back a few after each commit, once they are a good part of the file, so that
a queue that was drained becomes small again. The write-ahead log's file, grown while a copy held it, is cut at its
next restart, by a bounded piece each time.

Copy. A read transaction pins one state; the backup API copies its pages in small steps with a pause after each. The
copy is synced as it grows, and so is the write-ahead log, which cannot start again meanwhile: one large sync at the end
would hold up whoever writes to these files, or to this disk.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from app.broker.errors import SnapshotAbandoned, StateFull, is_full
from app.broker.files import connect, sync_directory
from app.broker.schema import PAGE_BYTES
from app.broker.state import Numbers, decode_numbers

WAL_BACKFILL_BYTES = 128 << 20
WAL_BYTES_MAX = 1 << 30
PASSES_MAX = 4
QUICK_S = 0.02
WAL_KEPT_BYTES = 192 << 20
WAL_CUT_BYTES = 16 << 20
SCARCE_BACKFILL_BYTES = 1 << 20
"""What is worth a backfill on a disk that is nearly full."""
SCARCE_SHRINKS = 16
"""As after so many commits pages are given back there with each checkpoint."""
WAL_HEADER_BYTES = 32
FRAME_BYTES = 24 + PAGE_BYTES
FREE_PAGES_KEPT = (16 << 20) // PAGE_BYTES
FREE_PART = 4
"""One page in four is free: time to give some back."""
PAGES_PER_COMMIT = COPY_PAGES = (512 << 10) // PAGE_BYTES
COPY_PAUSE_S = 0.001
COPY_SYNC_BYTES = 8 << 20


def make_durable(path: str) -> None:
    """Bring all that was committed to the database at `path` to the disk."""
    with _wal(path) as wal:
        if wal is not None:
            os.fdatasync(wal)
    sync_directory(path)


def backfill(path: str, descriptor: int, writer_held_off: AbstractContextManager[Any], scarce: bool) -> int:
    """Let the write-ahead log start again, if it has become long. `descriptor`: of the database file, see `files`.
    Entering `writer_held_off` ends the writer's transaction, if it can, and keeps it from another. `scarce`: the disk
    is nearly full, so a short one counts, too, and must not wait; its file gives back all that it has. -> the bytes of
    a long one that were left for another time, on a slow day or a full disk."""
    wal_bytes = used_bytes(path)
    if wal_bytes < (SCARCE_BACKFILL_BYTES if scarce else WAL_BACKFILL_BYTES):
        return 0
    try:
        with contextlib.closing(connect(path)) as connection:
            for _ in range(PASSES_MAX):
                begun = time.monotonic()
                _pass(connection)
                os.fdatasync(descriptor)
                is_quick = time.monotonic() - begun < QUICK_S
                if is_quick:
                    break
            if is_quick or scarce or wal_bytes > WAL_BYTES_MAX:
                with writer_held_off:
                    _pass(connection, "TRUNCATE" if scarce else "PASSIVE")
                return 0
    except (sqlite3.Error, OSError) as error:
        if not is_full(error):
            raise
    return wal_bytes


def used_bytes(path: str) -> int:
    """Of the write-ahead log of the database at `path`: what is not known to be in the database."""
    with _wal(path) as wal:
        return 0 if wal is None else wal_bytes_used(wal)


def size_bytes(path: str) -> int:
    """Of the files of the database at `path`."""
    with _wal(path) as wal:
        return os.path.getsize(path) + (0 if wal is None else os.fstat(wal).st_size)


def wal_bytes_used(wal: int) -> int:
    """How much of the open write-ahead log belongs to its present round: the frames that carry the header's salts.
    Those of earlier rounds, still there behind them, carry others. (sqlite.org/fileformat.html, 4.1)"""
    salts = os.pread(wal, WAL_HEADER_BYTES, 0)[16:24]
    low, high = 0, (os.fstat(wal).st_size - WAL_HEADER_BYTES) // FRAME_BYTES
    while low < high:
        middle = (low + high + 1) // 2
        frame = os.pread(wal, 16, WAL_HEADER_BYTES + (middle - 1) * FRAME_BYTES)
        if frame[8:16] == salts:
            low = middle
        else:
            high = middle - 1
    return max(0, low) * FRAME_BYTES


def _pass(connection: sqlite3.Connection, how: str = "PASSIVE") -> None:
    """TRUNCATE is PASSIVE where somebody reads or writes, and so never waits."""
    connection.execute("PRAGMA busy_timeout = 0").fetchall()
    connection.execute(f"PRAGMA wal_checkpoint({how})").fetchall()


@contextlib.contextmanager
def _wal(path: str) -> Iterator[int | None]:
    """A descriptor of the write-ahead log; None where there is none, because all is in the database."""
    try:
        descriptor = os.open(path + "-wal", os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def shrink_wal(path: str, writer: sqlite3.Connection) -> None:
    """Let the writer cut a piece off the write-ahead log's file when it starts from the beginning next."""
    with contextlib.suppress(FileNotFoundError):
        limit_bytes = max(WAL_KEPT_BYTES, os.path.getsize(path + "-wal") - WAL_CUT_BYTES)
        writer.execute(f"PRAGMA journal_size_limit = {limit_bytes}").fetchall()


class Growth:
    """Whether the write-ahead log of the database at `path` has grown so far that a checkpoint is due."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._left_bytes = 0
        self.is_due = False

    def after_commit(self) -> None:
        """Look."""
        limit_bytes = max(WAL_BACKFILL_BYTES, self._left_bytes + WAL_BACKFILL_BYTES // 2)
        self.is_due = used_bytes(self._path) >= limit_bytes

    def after_checkpoint(self, left_bytes: int) -> None:
        """What was left for another time is tried again when something has come to it."""
        self._left_bytes = left_bytes
        self.is_due = False


class Shrinker:
    """Gives free pages back after commits, on the writer's connection. Changes no row, so it needs no determinism."""

    def __init__(self, writer: sqlite3.Connection) -> None:
        self._writer = writer
        self.is_due = False
        """Much is free."""

    def after_commit(self) -> None:
        """While much is free, give some pages back."""
        free = self._writer.execute("PRAGMA freelist_count").fetchall()[0][0]
        pages = self._writer.execute("PRAGMA page_count").fetchall()[0][0]
        self.is_due = free > FREE_PAGES_KEPT and free * FREE_PART > pages
        if self.is_due:
            try:
                # Not `execute`: that would take one step, which is one page.
                self._writer.executescript(f"PRAGMA incremental_vacuum({PAGES_PER_COMMIT})")
            except sqlite3.Error as error:
                if not is_full(error):
                    raise


def copy(path: str, target: str, abandoned: Callable[[], bool]) -> tuple[int, int, bytes | None]:
    """Write the state at `path` to a new file `target`, durably. -> (applied index, its term, configuration).
    Raises SnapshotAbandoned as soon as `abandoned()`, StateFull; then there is no file at `target`."""
    partial = target + ".partial"
    try:
        _discard(partial)
        meta = _copy(path, partial, abandoned)
        os.rename(partial, target)
        sync_directory(target)
        return meta
    except BaseException as error:
        _discard(partial)
        if is_full(error):
            raise StateFull("no disk space for a snapshot") from error
        raise


def _copy(path: str, partial: str, abandoned: Callable[[], bool]) -> tuple[int, int, bytes | None]:
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        source = stack.enter_context(contextlib.closing(connect(path)))
        target = stack.enter_context(contextlib.closing(sqlite3.connect(partial, isolation_level=None)))
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1024"):
            target.execute(f"PRAGMA {setting}").fetchall()
        source.execute("BEGIN").fetchall()
        logged = stack.enter_context(_wal(path))
        numbers = _numbers(source)
        found = source.execute("SELECT data FROM configuration").fetchall()
        unsynced_bytes = 0

        def pace(_status: int, _remaining: int, _total: int) -> None:
            nonlocal unsynced_bytes
            if abandoned():
                raise SnapshotAbandoned
            unsynced_bytes += COPY_PAGES * PAGE_BYTES
            if unsynced_bytes >= COPY_SYNC_BYTES:
                os.fdatasync(descriptor)
                if logged is not None:
                    os.fdatasync(logged)
                unsynced_bytes = 0
            time.sleep(COPY_PAUSE_S)

        source.backup(target, pages=COPY_PAGES, progress=pace)
        os.fsync(descriptor)
    return numbers.applied_index, numbers.applied_term, found[0][0] if found else None


def _discard(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _numbers(connection: sqlite3.Connection) -> Numbers:
    return decode_numbers(connection.execute("SELECT numbers FROM hot WHERE id = 0").fetchall()[0][0])
