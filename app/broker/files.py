"""The database as files: open it, make it, replace it.

A file is opened through SQLite's "unix-excl" VFS: one process has it to itself, its connections share the WAL index
in memory, and no commit pays for file locks (a third of its time). To close any other
descriptor of the live file would drop the process's lock (sqlite.org/howtocorrupt.html, 2.2), so the one that syncs it
is opened after the writer's connection and closed after it.

WAL mode with synchronous=NORMAL: a commit is in the operating system's hands (it survives a killed process), surely on
the disk only after `upkeep.make_durable`. The log covers the difference. NORMAL and not OFF: what a restarted write-
ahead log's header says must be on the disk before its first frames are, or frames of two rounds could be mixed up.

Installing a snapshot is decided by one rename, to `<path>.install`; what follows can be done again from any point,
and `open_file` does it: the old write-ahead log must be durably gone before the new database takes the old one's name,
else its frames would be replayed into a database that they do not belong to. The old files are moved aside and
removed by a thread, since to free a gigabyte takes a good part of a second.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from functools import cache
from urllib.parse import quote

import msgspec

from app.broker.errors import StateDamaged, StateInUse, StateUnopened, is_busy, is_damaged
from app.broker.schema import APPLICATION_ID, FORMAT_VERSION, PAGE_BYTES, SCHEMA
from app.broker.state import Numbers, decode_numbers

MEMORY = ":memory:"
INSTALL = ".install"
WASTE = ".waste"
CACHE_KIB = 16 << 10
SPILL_KIB = 256 << 10
"""Pages that a transaction has changed stay in memory up to this size, whatever the cache's, and need no disk before it
is committed."""
LOCK_WAIT_S = 1.0


def open_memory(image: bytes | None = None) -> sqlite3.Connection:
    """A database in memory: `image`, or an empty state."""
    connection = _connect(MEMORY)
    image = _empty_image() if image is None else image
    if image[18:20] != b"\x01\x01":
        # Bytes 18 and 19 say WAL (2) or not (1); memory knows no WAL (sqlite.org/fileformat.html, 1.3.3).
        image = image[:18] + b"\x01\x01" + image[20:]
    connection.deserialize(image)
    _check_format(connection, MEMORY)
    return connection


def open_file(path: str) -> sqlite3.Connection:
    """The writer's connection to the database at `path`, made anew where there is none. An install that was cut short
    is completed first. Raises StateDamaged, StateInUse, StateUnopened."""
    if os.path.exists(path + INSTALL):
        _complete_install(path)
    _remove_waste(path)
    is_new = not os.path.exists(path)
    try:
        connection = _open_writer(path)
    except sqlite3.Error as error:
        if is_busy(error):
            raise StateInUse(path) from error
        if is_damaged(error):
            raise StateDamaged(path, str(error)) from error
        raise StateUnopened(path, str(error)) from error
    if is_new:
        sync_directory(path)
    return connection


def _open_writer(path: str) -> sqlite3.Connection:
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        if _is_blank(connection):
            _create(connection)
        _check_format(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: str) -> sqlite3.Connection:
    """One more connection to the database at `path`, with our settings."""
    connection = _connect(f"file:{quote(path)}?vfs=unix-excl", uri=True)
    # First, since SQLite makes pages of these sizes at once, of 4 KiB where it has not yet seen any.
    if _is_blank(connection):
        _lay_out(connection)
    sizes = f"cache_size = -{CACHE_KIB}", f"cache_spill = -{SPILL_KIB}"
    # Debian builds SQLite so that it overwrites with zeros what is deleted, which is one more page to write for each.
    for setting in ("secure_delete = OFF", "synchronous = NORMAL", "wal_autocheckpoint = 0", *sizes):
        connection.execute(f"PRAGMA {setting}").fetchall()
    connection.execute("PRAGMA temp_store = MEMORY").fetchall()
    return connection


def image_of(connection: sqlite3.Connection) -> bytes:
    """The whole database as bytes that `open_memory` accepts."""
    return connection.serialize()


def inspect(path: str) -> Numbers:
    """The machine's numbers in the snapshot at `path`, which no one has open. Raises StateDamaged."""
    try:
        with contextlib.closing(_connect(f"file:{quote(path)}?immutable=1", uri=True)) as connection:
            _check_format(connection, path)
            pages = connection.execute("PRAGMA page_count").fetchall()[0][0]
            page_bytes = connection.execute("PRAGMA page_size").fetchall()[0][0]
            if pages * page_bytes != os.path.getsize(path):
                raise StateDamaged(path, f"it has not the {pages} pages that it should have")
            return decode_numbers(connection.execute("SELECT numbers FROM hot WHERE id = 0").fetchall()[0][0])
    except (sqlite3.DatabaseError, IndexError, msgspec.MsgspecError) as error:
        raise StateDamaged(path, str(error)) from error


def replace(connection: sqlite3.Connection, path: str, incoming: str) -> sqlite3.Connection:
    """Put the snapshot `incoming` in the place of the database at `path`, whose only connection is the given one.
    -> a connection to the new one. After a crash at any point, `open_file` finds the old state or the new one."""
    sync_file(incoming)
    os.rename(incoming, path + INSTALL)
    sync_directory(path)
    # Moved before it is closed: SQLite would else spend seconds on a last checkpoint of what nobody wants any more.
    os.rename(path, path + WASTE)
    connection.close()
    return open_file(path)


def _complete_install(path: str) -> None:
    for suffix in ("", "-wal", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + suffix, path + WASTE + suffix)
    sync_directory(path)
    os.rename(path + INSTALL, path)
    sync_directory(path)


def _remove_waste(path: str) -> None:
    waste = [name for suffix in ("", "-wal", "-journal") if os.path.exists(name := path + WASTE + suffix)]
    if waste:
        threading.Thread(target=_unlink, args=(waste,), name="waste", daemon=True).start()


def _unlink(paths: list[str]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def sync_file(path: str) -> None:
    """Make the content of a file that no connection has open durable."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Make the names in the directory of `path` durable."""
    descriptor = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _connect(name: str, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(name, uri=uri, isolation_level=None, check_same_thread=False, timeout=LOCK_WAIT_S)


def _is_blank(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall() == []


def _lay_out(connection: sqlite3.Connection) -> None:
    """Say what can be said only before the first page is written."""
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}").fetchall()
    # Free pages could else never be given back.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL").fetchall()


def _create(connection: sqlite3.Connection) -> None:
    for statement in SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute("INSERT INTO hot (id, numbers) VALUES (0, ?)", (msgspec.msgpack.encode(Numbers()),))
    connection.execute("COMMIT")


@cache
def _empty_image() -> bytes:
    with contextlib.closing(_connect(MEMORY)) as connection:
        _lay_out(connection)
        _create(connection)
        return image_of(connection)


def _check_format(connection: sqlite3.Connection, path: str) -> None:
    application = connection.execute("PRAGMA application_id").fetchall()[0][0]
    version = connection.execute("PRAGMA user_version").fetchall()[0][0]
    if application != APPLICATION_ID:
        raise StateDamaged(path, "this is not the state database of a broker")
    if version != FORMAT_VERSION:
        raise StateDamaged(path, f"its format is {version}, this program reads {FORMAT_VERSION}")
