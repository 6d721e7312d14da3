"""The open transaction: entries gather in it over many applies, since a commit costs several times what most do.

Theory: to commit one small entry is to write the numbers, and three or four pages of 4 KB to the write-ahead log; that
is most of what a replica does for a lone publish. Nobody needs that commit: what was applied stands in the node's own
log, and a restart applies it again. So the transaction ends when so many entries, or so many bytes of rows, are in it,
and before anybody looks at the files: a checkpoint, a copy, a close. Queries need no commit, only the numbers in their
tables (`flush`), for they use the same connection.

An error undoes the transaction, and with it entries that have long been answered. So they are kept until the commit,
and applied again at once, before anybody can look. The bound on bytes keeps that small: the pages fit SQLite's cache,
so nothing of it needs the disk, full or not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from app.broker.errors import StateFull, is_full
from app.broker.handlers import apply_one
from app.broker.item import Item
from app.broker.state import State

ENTRIES, CHANGED_BYTES = 1000, 2 << 20
"""In one transaction, give or take those of one apply."""


class Writer:
    """Changes the database behind `connection`, and nobody else does. `committed` is called after each commit."""

    def __init__(self, connection: sqlite3.Connection, committed: Callable[[], None]) -> None:
        self.state = State(connection)
        self._connection, self._committed = connection, committed
        self._uncommitted: list[Item] = []

    def apply(self, items: Sequence[Item]) -> list[bytes | None]:
        """-> for each, its encoded result; None for one that carries no command. Raises StateFull: nothing changed."""
        with self._all_or_nothing():
            if not self._uncommitted:
                self.state.sql.execute("BEGIN IMMEDIATE")
            answers = [apply_one(self.state, item) for item in items]
            is_long = len(self._uncommitted) + len(items) >= ENTRIES or self.state.changed_bytes >= CHANGED_BYTES
            if is_long:
                self._commit()
        if is_long:
            self._begin_anew()
        else:
            self._uncommitted += items
        return answers

    def commit(self) -> None:
        """Put all that was applied into the files. Raises StateFull: it is as applied as before, and not there yet."""
        if self._uncommitted:
            with self._all_or_nothing():
                self._commit()
            self._begin_anew()

    def flush(self) -> None:
        """Put the numbers into the tables, for whoever reads them there."""
        if self._uncommitted:
            self.state.flush()

    def _commit(self) -> None:
        self.state.flush()
        self.state.sql.execute("COMMIT")

    def _begin_anew(self) -> None:
        self._uncommitted = []
        self.state.changed_bytes = 0
        self._committed()

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """After an error all is as it was."""
        try:
            yield
        except BaseException as error:
            self._undo()
            if is_full(error):
                raise StateFull("no disk space for the state") from error
            raise

    def _undo(self) -> None:
        """Back to what was applied before, from the last commit."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self.state = State(self._connection)
        if self._uncommitted:
            self.state.sql.execute("BEGIN IMMEDIATE")
            for item in self._uncommitted:
                apply_one(self.state, item)
            self.state.woken = {}
