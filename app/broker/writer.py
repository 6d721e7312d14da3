"""The open transaction: entries gather in it over many applies, since a commit costs several times what most do.

Theory: to commit one small entry is to write the numbers, and three or four pages to the write-ahead log; that
is most of what a replica does for a lone publish. Nobody needs it: what was applied stands in the node's own log, and a
restart applies it again. So the transaction ends when so many entries, or so many bytes of rows, are in it, and before
anybody looks at the files: a checkpoint, a copy, a close. Queries use the same connection, and see what it has; those
that read the numbers in their tables have them put there first (`flush`).

A topic that changed costs a commit a row, however often it changed, and messages that came to it a page of an index. So
where many topics changed the transaction goes on until each has had several entries; but not where there are so many
that the same one hardly comes again, nor for rows that go or change, of which each may be a few pages of its own.

An error undoes the transaction, and with it entries that have long been answered. It may be anybody's: SQLite ends a
transaction also where a query runs out of disk. So entries are kept until the commit, and whoever comes next has them
applied again before he looks (`repair`): there is a transaction if and only if there are entries to commit. The bounds
keep that small, and SQLite keeps as much in memory (`files.SPILL_KIB`), so that to apply again needs no disk.
Should it fail nevertheless, nobody is told anything until it succeeds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from app.broker.errors import StateFull, is_full
from app.broker.handlers import apply_one
from app.broker.item import Item
from app.broker.state import State

ENTRIES, CHANGED_BYTES = 1000, 2 << 20
"""In one transaction, give or take those of one apply; see `State.changed`."""
TOPIC_ENTRIES, TOPIC_BYTES, TOPICS = 32, 24 << 10, 2000
"""So much for each topic that changed since the last `flush`, where that is more; and in so many topics."""
MOST_ENTRIES, MOST_BYTES = 16_000, 12 << 20
"""In any case: to apply 15,000 publishes again takes 0.3 s."""
KEPT_BYTES = 16 << 20
"""Of commands, which may be large and change little."""


class Writer:
    """Changes the database behind `connection`, and nobody else does. `committed` is called after each commit."""

    def __init__(self, connection: sqlite3.Connection, committed: Callable[[], None]) -> None:
        self.state = State(connection)
        self.committed_index = self.state.numbers.applied_index
        """Up to here all is in the files."""
        self._connection, self._committed = connection, committed
        self._uncommitted: list[Item] = []
        self._kept_bytes = 0
        """Of the commands in it, and of some that failed."""
        self._is_sound = True
        """The state is as applied: no error has come between, or all was done again since."""

    def apply(self, items: Sequence[Item]) -> list[bytes | None]:
        """-> for each, its encoded result; None for one that carries no command. Raises StateFull: nothing changed."""
        self.repair()
        with self._all_or_nothing():
            if not self._uncommitted:
                self.state.sql.execute("BEGIN IMMEDIATE")
            answers = [apply_one(self.state, item) for item in items]
            self._kept_bytes += sum(len(item.command or b"") for item in items)
            is_long = self._is_long(len(self._uncommitted) + len(items))
            if is_long:
                self._commit()
        if is_long:
            self._after_commit()
        else:
            self._uncommitted += items
        return answers

    def _is_long(self, entries: int) -> bool:
        state, topics = self.state, len(self.state.touched)
        return (
            entries >= min(MOST_ENTRIES, max(ENTRIES, TOPIC_ENTRIES * topics))
            or topics >= TOPICS
            or state.changed_bytes >= CHANGED_BYTES
            or state.changed_bytes + state.came_bytes >= min(MOST_BYTES, max(CHANGED_BYTES, TOPIC_BYTES * topics))
            or self._kept_bytes >= KEPT_BYTES
        )

    def commit(self) -> None:
        """Put all that was applied into the files. Raises StateFull: it is as applied as before, and not there yet."""
        self.repair()
        if self._uncommitted:
            with self._all_or_nothing():
                self._commit()
            self._after_commit()

    def close(self) -> None:
        """Commit, if there is room, and let go of the connection, which then can be closed."""
        try:
            with suppress(StateFull):
                self.commit()
        finally:
            # A statement that was left half-way would keep the connection open, and with it the files' lock.
            self.state.sql.close()

    def flush(self) -> None:
        """Put the numbers into the tables, for whoever reads them there. Raises StateFull."""
        self.repair()
        if self._uncommitted:
            with self._all_or_nothing():
                self.state.flush()

    def repair(self) -> None:
        """Apply again what an error has undone. Raises StateFull: for now it is not applied, so ask for nothing."""
        if not self._is_sound or self._connection.in_transaction != bool(self._uncommitted):
            with full_by_its_name():
                self._redo()

    def _commit(self) -> None:
        self.state.flush()
        self.state.sql.execute("COMMIT")

    def _after_commit(self) -> None:
        self._uncommitted, self._kept_bytes = [], 0
        self.committed_index = self.state.numbers.applied_index
        self.state.came_bytes = self.state.changed_bytes = 0
        self._committed()

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """After an error all is as it was."""
        with full_by_its_name():
            try:
                yield
            except BaseException:
                self._redo()
                raise

    def _redo(self) -> None:
        """From the last commit to what was applied before. Where that fails, `repair` does it again."""
        self._is_sound = False
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self.state = State(self._connection)
        if self._uncommitted:
            self.state.sql.execute("BEGIN IMMEDIATE")
            for item in self._uncommitted:
                apply_one(self.state, item)
            self.state.woken = {}
        self._is_sound = True


@contextmanager
def full_by_its_name() -> Iterator[None]:
    """SQLite's error for want of disk space comes out as StateFull."""
    try:
        yield
    except BaseException as error:
        if is_full(error):
            raise StateFull("no disk space for the state") from error
        raise
