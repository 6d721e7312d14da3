"""Checkpoints and copies, taken in another thread beside the writer.

Rules of this file: a connection of its own for each call, opened and closed here; SQLite's steps run without the
interpreter's lock, and none may hold up the writer for longer than a few milliseconds.

Checkpoint. PASSIVE never waits for anyone and nobody waits for it. It syncs the write-ahead log first, so what the
log held when it began is durable afterwards. The database file is synced only by a pass during which nobody commits,
and only then can the write-ahead log start again from its beginning. Under a steady load that never comes by itself,
so beyond WAL_RESTART_BYTES one last pass is made with the writer held off; the file is synced just before, which
leaves that pass next to nothing to do.

Space. Pages that became free are given back a few after each commit, once they are a good part of the file, so that
a queue that was drained becomes small again. The write-ahead log's file, grown while a copy held it, is cut at its
next restart, by a bounded piece each time.

Copy. A read transaction pins one state; the backup API copies its pages in small steps with a pause after each. The
copy is synced as it grows, and so is the write-ahead log, which cannot start again meanwhile: one large sync at the end
would hold up whoever writes to these files, or to this disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from app.broker.errors import SnapshotAbandoned, StateFull, is_full
from app.broker.files import connect, sync_directory
from app.broker.state import Numbers, decode_numbers

PASSES_MAX = 4
WAL_RESTART_BYTES = 32 << 20
WAL_KEPT_BYTES = 64 << 20
WAL_CUT_BYTES = 16 << 20
LOOK_EVERY_COMMITS = 64
FREE_PAGES_KEPT = 4096
FREE_PART = 4
"""One page in four is free: time to give some back."""
PAGES_PER_COMMIT = 16
PAGE_BYTES = 4096
COPY_PAGES = 128
COPY_PAUSE_S = 0.001
COPY_SYNC_BYTES = 8 << 20


def checkpoint(path: str, descriptor: int, writer_held_off: AbstractContextManager[Any]) -> int | None:
    """The applied index up to which the state at `path` is durable now; None when a reader of an older state stood
    in the way, or the disk is full. `descriptor`: of the database file, see `files`. Entering `writer_held_off` keeps
    the writer from committing."""
    durable: int | None = None
    try:
        with contextlib.closing(connect(path)) as connection:
            connection.execute("PRAGMA synchronous = FULL").fetchall()
            wal_bytes = 0
            for _ in range(PASSES_MAX):
                before = _numbers(connection).applied_index
                if durable == before:
                    return durable
                complete, wal_bytes = _pass(connection)
                if not complete:
                    return durable
                durable = before
                os.fdatasync(descriptor)
            if wal_bytes > WAL_RESTART_BYTES:
                with writer_held_off:
                    before = _numbers(connection).applied_index
                    complete, _ = _pass(connection)
                durable = before if complete else durable
    except sqlite3.Error as error:
        if not is_full(error):
            raise
    return durable


def shrink_wal(path: str, writer: sqlite3.Connection) -> None:
    """Let the writer cut a piece off the write-ahead log's file when it starts from the beginning next."""
    with contextlib.suppress(FileNotFoundError):
        limit_bytes = max(WAL_KEPT_BYTES, os.path.getsize(path + "-wal") - WAL_CUT_BYTES)
        writer.execute(f"PRAGMA journal_size_limit = {limit_bytes}").fetchall()


class Shrinker:
    """Gives free pages back after commits, on the writer's connection. Changes no row, so it needs no determinism."""

    def __init__(self, writer: sqlite3.Connection) -> None:
        self._writer = writer
        self._commits = 0
        self._shrinking = False

    def after_commit(self) -> None:
        """Look now and then whether much is free; while it is, give a few pages back."""
        self._commits += 1
        if not self._shrinking and self._commits % LOOK_EVERY_COMMITS:
            return
        free = self._writer.execute("PRAGMA freelist_count").fetchall()[0][0]
        pages = self._writer.execute("PRAGMA page_count").fetchall()[0][0]
        self._shrinking = free > FREE_PAGES_KEPT and free * FREE_PART > pages
        if self._shrinking:
            try:
                # Not `execute`: that would take one step, which is one page.
                self._writer.executescript(f"PRAGMA incremental_vacuum({PAGES_PER_COMMIT})")
            except sqlite3.Error as error:
                if not is_full(error):
                    raise


def _pass(connection: sqlite3.Connection) -> tuple[bool, int]:
    """-> (whether all that the write-ahead log held is durable now, that log's length in bytes)."""
    busy, logged, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()[0]
    return busy == 0 and logged == copied, logged * PAGE_BYTES


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
        if is_full(error) or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
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
        logged = os.open(path + "-wal", os.O_RDONLY)
        stack.callback(os.close, logged)
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
