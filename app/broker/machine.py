"""The replicated state machine: committed entries in, answers out, the same on every replica (paper, section 2).

Rules of this file. The machine reads no clock and no randomness: its time is the largest stamp applied so far. A call
of `apply` is done wholly or not at all, and how entries are spread over calls leaves no trace. No command makes it
raise: what cannot be done is refused in an answer. The applied index moves in the same transaction as its effects; when
that is committed to the files is the `Writer`'s to say, so a killed process may find itself some entries back.

Threads. `_gate` is held by whoever touches the writer's connection: apply, queries, install, close. `_upkeep` is held
by what has a connection of its own, snapshot and backfill; install and close take it too, and always first.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from app.broker import audit, files, peek, queries, upkeep
from app.broker.errors import SnapshotAbandoned, StateFull
from app.broker.item import Item
from app.broker.state import State
from app.broker.writer import Writer, full_by_its_name

Watcher = Callable[[str], None]


class Machine:
    """One queue over one SQLite database. Apply and the queries belong to one thread at a time."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        """Not for callers: use `open` or `deserialize`."""
        self.path = path
        self._gate = threading.Lock()
        self._upkeep = threading.Lock()
        self._abandon = threading.Event()
        self._closed = False
        self._watchers: dict[str, dict[Watcher, None]] = {}
        self._take(connection)

    @classmethod
    def open(cls, path: str) -> Machine:
        """The machine whose state is the file at `path`, made empty where there is none; ":memory:" for one that no
        disk ever sees. Raises StateDamaged, StateInUse."""
        return cls(path, files.open_memory() if path == files.MEMORY else files.open_file(path))

    @staticmethod
    def exists(path: str) -> bool:
        """Whether there is a state at `path`, be it one that is just being replaced."""
        return os.path.exists(path) or os.path.exists(path + files.INSTALL)

    @classmethod
    def deserialize(cls, image: bytes) -> Machine:
        """A machine in memory with the state that `serialize` gave."""
        return cls(files.MEMORY, files.open_memory(image))

    def serialize(self) -> bytes:
        """The whole state as bytes."""
        with self._committed():
            return files.image_of(self._connection)

    def _take(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._descriptor = -1 if self.path == files.MEMORY else os.open(self.path, os.O_RDONLY)
        self._writer = Writer(connection, self._after_commit)
        self._shrinker = upkeep.Shrinker(connection)
        self._growth = None if self.path == files.MEMORY else upkeep.Growth(self.path)
        self._durable_index = 0
        self._publish_position()

    def _publish_position(self) -> None:
        state = self._writer.state
        numbers = state.numbers
        self.applied_index: int = numbers.applied_index
        self.applied_term: int = numbers.applied_term
        self.time_ms: int = numbers.time_ms
        self.configuration: bytes | None = state.configuration

    def _after_commit(self) -> None:
        self._shrinker.after_commit()
        if self._growth is not None:
            self._growth.after_commit()

    @contextlib.contextmanager
    def _applied(self) -> Iterator[State]:
        """The gate, and the state with all that was applied. Raises StateFull."""
        with self._gate, full_by_its_name():
            self._writer.repair()
            yield self._writer.state

    @contextlib.contextmanager
    def _flushed(self) -> Iterator[State]:
        """The same, with the numbers in the tables, too."""
        with self._gate, full_by_its_name():
            self._writer.flush()
            yield self._writer.state

    @contextlib.contextmanager
    def _committed(self) -> Iterator[None]:
        """The gate, with all that was applied in the files. Raises StateFull."""
        with self._gate:
            self._writer.commit()
            yield

    @contextlib.contextmanager
    def _held_off(self) -> Iterator[int]:
        """The gate, with what there is room for in the files. -> up to which index that is."""
        with self._gate:
            if not self._closed:
                with contextlib.suppress(StateFull):
                    self._writer.commit()
            yield self._writer.committed_index

    # --- applying

    def apply(self, items: Sequence[Item]) -> list[bytes | None]:
        """Apply entries. -> for each, its encoded result; None for one that carries no command. Their indices continue
        the applied index. Raises StateFull: nothing changed, the same items may come again."""
        if not items:
            return []
        with self._gate:
            answers = self._writer.apply(items)
            self._publish_position()
            state = self._writer.state
            woken, state.woken = state.woken, {}
        if woken and self._watchers:
            self._wake(list(woken))
        return answers

    # --- watching

    def watch(self, topic: str, watcher: Watcher) -> None:
        """Call `watcher(topic)` after each apply in which something of that topic, there or not yet, became ready to
        be handed out, or the topic went; after an install, in any case. It is called in the applying thread, must be
        quick and must not raise."""
        self._watchers.setdefault(topic, {})[watcher] = None

    def unwatch(self, topic: str, watcher: Watcher) -> None:
        """Undo `watch`; nothing happens where there is none."""
        watchers = self._watchers.get(topic)
        if watchers is not None:
            watchers.pop(watcher, None)
            if not watchers:
                del self._watchers[topic]

    def _wake(self, topics: list[str]) -> None:
        for topic in topics:
            for watcher in list(self._watchers.get(topic, ())):
                watcher(topic)

    # --- comparing replicas

    def state_hash(self) -> tuple[int, str]:
        """-> (applied index, 32 hex digits). Replicas that applied the same log to the same index say the same."""
        with self._flushed() as state:
            return self.applied_index, state.hash()

    def audit(self) -> str:
        """The hash of `state_hash`, recomputed from all rows; they differ only if the tables are not what they should
        be. Reads the whole database, and keeps the writer waiting: for tests."""
        with self._flushed() as state:
            return audit.audit(state)

    # --- durability, from other threads

    @property
    def checkpoint_due(self) -> bool:
        """Whether the database's own files have grown so far that they need a `checkpoint`."""
        return self._growth is not None and self._growth.is_due

    @property
    def owed_bytes(self) -> int:
        """What the database may grow by when it takes in what was committed since it last did."""
        return 0 if self.path == files.MEMORY or self._closed else upkeep.used_bytes(self.path)

    @property
    def size_bytes(self) -> int:
        """What the database takes of the disk, with its write-ahead log."""
        return 0 if self.path == files.MEMORY or self._closed else upkeep.size_bytes(self.path)

    @property
    def has_free_pages(self) -> bool:
        """Whether a good part of the database is free pages, which commits give back by and by."""
        return self._shrinker.is_due

    def checkpoint(self, scarce: bool = False) -> int:
        """Bring the state to the disk. -> the applied index up to which it surely is there; on a full disk it may be
        that of an earlier one. Blocks its thread, and the writer only for a commit; `scarce`: until the write-ahead log
        may start again."""
        if self.path == files.MEMORY:
            return self.applied_index
        if self._closed:
            return self._durable_index
        with self._held_off() as committed_index:
            pass
        upkeep.make_durable(self.path)
        self._durable_index = max(self._durable_index, committed_index)
        if self._upkeep.acquire(blocking=False):
            try:
                if not self._closed:
                    if scarce:
                        self._give_pages_back()
                    left_bytes = upkeep.backfill(self.path, self._descriptor, self._held_off(), scarce)
                    with self._gate:
                        upkeep.shrink_wal(self.path, self._connection)
                    if self._growth is not None:
                        self._growth.after_checkpoint(left_bytes)
            finally:
                self._upkeep.release()
        return self._durable_index

    def _give_pages_back(self) -> None:
        """As after some commits, since there may be none; the writer has its turn in between."""
        for _ in range(upkeep.SCARCE_SHRINKS):
            with self._held_off():
                if self._closed or self._connection.in_transaction or not self._shrinker.is_due:
                    return
                self._shrinker.after_commit()

    def snapshot(self, path: str) -> tuple[int, int, bytes | None]:
        """Write a consistent copy to a new file at `path`, durably, while the writer goes on. -> the copy's (applied
        index, its term, configuration). Raises StateFull, SnapshotAbandoned; then there is no file at `path`."""
        if self.path == files.MEMORY:
            with self._committed():
                with open(path, "wb") as file:
                    file.write(files.image_of(self._connection))
                return self.applied_index, self.applied_term, self.configuration
        with self._upkeep:
            if self._closed:
                raise SnapshotAbandoned
            with self._committed():
                pass
            return upkeep.copy(self.path, path, self._abandon.is_set)

    def install(self, path: str) -> None:
        """Become the snapshot at `path`, which is used up; its file must lie on the same file system. A crash leaves
        the old state or the new one. Ends a snapshot under way. Raises StateDamaged for a file that is none, with
        nothing changed."""
        assert files.inspect(path).applied_index >= self.applied_index, "a snapshot must not lead back"
        self._abandon.set()
        with self._upkeep, self._gate:
            self._abandon.clear()
            if self.path == files.MEMORY:
                self._connection.close()
                with open(path, "rb") as file:
                    self._take(files.open_memory(file.read()))
                os.unlink(path)
            else:
                replaced = self._descriptor
                self._take(files.replace(self._connection, self.path, path))
                os.close(replaced)
                self._durable_index = self.applied_index
        self._wake(list(self._watchers))

    def close(self) -> None:
        """Release the database; what was applied is kept, if there is room for it. Ends a snapshot under way. A second
        close does nothing."""
        self._abandon.set()
        with self._upkeep, self._gate:
            if self._closed:
                return
            self._closed = True
            try:
                self._writer.close()
            finally:
                self._connection.close()
                if self._descriptor >= 0:
                    os.close(self._descriptor)

    # --- what time brings

    @property
    def next_due_ms(self) -> int:
        """The log time at which a Tick is wanted: something is due then, or there are chores. In the past: at once."""
        state = self._writer.state
        return 0 if state.has_chores else state.next_due_ms

    def due_schedules(
        self, now_ms: int, limit: int, without: Collection[tuple[int, int]] = ()
    ) -> list[queries.ScheduleInfo]:
        """Up to `limit` schedules whose next tick is not after `now_ms`, the most overdue first, but for those whose
        (id, next_ms) is in `without`."""
        with self._applied() as state:
            return queries.due_schedules(state, now_ms, limit, without)

    # --- local reads

    def topic(self, name: str) -> queries.TopicInfo | None:
        """One topic by its name."""
        with self._applied() as state:
            return queries.topic(state, name)

    def ready(self, topic: str, subscription: str) -> int | None:
        """How many messages it has ready; None where there is no such topic or subscription. Cheap."""
        with self._applied() as state:
            return queries.ready(state, topic, subscription)

    def topics(self, prefix: str = "", limit: int = 1000, after: int = 0) -> list[queries.TopicInfo]:
        """Topics in the order of creation, up to `limit` of those with an id above `after`: give the last one's id to
        get the next page."""
        with self._flushed() as state:
            return queries.topics(state, prefix, limit, after)

    def schedules(self, topic: str) -> list[queries.ScheduleInfo]:
        """The topic's schedules, by name; none where there is no such topic."""
        with self._applied() as state:
            return queries.schedules(state, topic)

    def peek(
        self, topic: str, subscription: str, start: int, limit: int, headers: Mapping[str, str]
    ) -> peek.Page | None:
        """Messages from the sequence `start` on, untouched; see `peek.Page`. None where there is no such topic or
        subscription."""
        with self._applied() as state:
            return peek.peek(state, topic, subscription, start, limit, headers)

    def counts(self) -> queries.Counts:
        """Sums over all topics."""
        with self._flushed() as state:
            return queries.counts(state)

