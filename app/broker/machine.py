"""The replicated state machine: committed entries in, answers out, the same on every replica (paper, section 2).

Rules of this file. The machine reads no clock and no randomness: its time is the largest stamp applied so far. A call
of `apply` is one transaction, and how entries are spread over calls leaves no trace. No command makes it raise: what
cannot be done is refused in an answer. The applied index moves in the same transaction as its effects.

Threads. `_gate` is held by whoever touches the writer's connection: apply, queries, install, close. `_upkeep` is held
by what has a connection of its own, snapshot and backfill; install and close take it too, and always first.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from app.broker import audit, chores, due, files, peek, queries, upkeep
from app.broker import commands as kinds
from app.broker.commands import BadCommand, Command, Tick, decode
from app.broker.dead_letters import redrive
from app.broker.errors import SnapshotAbandoned, StateFull, is_full
from app.broker.item import Item
from app.broker.once import once
from app.broker.publish import publish
from app.broker.receive import receive
from app.broker.results import BAD_COMMAND, Ticked, encode, refuse
from app.broker.schedules import delete_schedule, fire, put_schedule
from app.broker.settle import ack, extend, nack
from app.broker.state import State
from app.broker.subscriptions import create_subscription, delete_subscription
from app.broker.topics import change_topic, create_topic, delete_topic, purge

Watcher = Callable[[str], None]

ROWS_BESIDE, ROWS_IN_A_TICK = 32, 250
"""Rows of what is due, and of chores, that go with any entry, and with a Tick."""

_TICKED = encode(Ticked())

HANDLERS: dict[type, Callable[[State, Any], bytes]] = {
    kinds.CreateTopic: create_topic,
    kinds.ChangeTopic: change_topic,
    kinds.DeleteTopic: delete_topic,
    kinds.Publish: publish,
    kinds.Receive: receive,
    kinds.Ack: ack,
    kinds.Nack: nack,
    kinds.Extend: extend,
    kinds.Purge: purge,
    kinds.Redrive: redrive,
    kinds.CreateSubscription: create_subscription,
    kinds.DeleteSubscription: delete_subscription,
    kinds.PutSchedule: put_schedule,
    kinds.DeleteSchedule: delete_schedule,
    kinds.Fire: fire,
    kinds.Tick: lambda state, command: _TICKED,
    kinds.Once: lambda state, command: once(state, command, HANDLERS),
}
"""What each kind of command does. A handler answers with an encoded result, and has checked all before it writes."""


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

    @classmethod
    def deserialize(cls, image: bytes) -> Machine:
        """A machine in memory with the state that `serialize` gave."""
        return cls(files.MEMORY, files.open_memory(image))

    def serialize(self) -> bytes:
        """The whole state as bytes."""
        with self._gate:
            return files.image_of(self._connection)

    def _take(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._descriptor = -1 if self.path == files.MEMORY else os.open(self.path, os.O_RDONLY)
        self._state = State(connection)
        self._shrinker = upkeep.Shrinker(connection)
        self._growth = None if self.path == files.MEMORY else upkeep.Growth(self.path)
        self._durable_index = 0
        self._publish_position()

    def _publish_position(self) -> None:
        numbers = self._state.numbers
        self.applied_index: int = numbers.applied_index
        self.applied_term: int = numbers.applied_term
        self.time_ms: int = numbers.time_ms
        self.configuration: bytes | None = self._state.configuration

    # --- applying

    def apply(self, items: Sequence[Item]) -> list[bytes | None]:
        """Apply entries in one transaction. -> for each, its encoded result; None for one that carries no command.
        Their indices continue the applied index. Raises StateFull: nothing changed, the same items may come again."""
        if not items:
            return []
        with self._gate:
            answers = self._transact(items)
            woken = self._state.woken
            if woken:
                self._state.woken = {}
        if woken and self._watchers:
            self._wake(list(woken))
        return answers

    def _transact(self, items: Sequence[Item]) -> list[bytes | None]:
        state = self._state
        try:
            state.sql.execute("BEGIN IMMEDIATE")
            answers = [self._apply_one(state, item) for item in items]
            state.flush()
            state.sql.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._state = State(self._connection)
            if is_full(error):
                raise StateFull("no disk space for the state") from error
            raise
        self._shrinker.after_commit()
        if self._growth is not None:
            self._growth.after_commit()
        self._publish_position()
        return answers

    @staticmethod
    def _apply_one(state: State, item: Item) -> bytes | None:
        numbers = state.numbers
        assert item.index == numbers.applied_index + 1, (item.index, numbers.applied_index)
        assert item.term >= numbers.applied_term, (item.term, numbers.applied_term)
        numbers.applied_index = item.index
        numbers.applied_term = item.term
        if item.time_ms > numbers.time_ms:
            numbers.time_ms = item.time_ms
        if item.configuration is not None:
            state.configure(item.configuration)
        state.may_drop_more = True
        command, refusal = _decoded(item)
        # First what is due: a message whose lease has ended by now can be handed out now.
        budget = ROWS_IN_A_TICK if type(command) is Tick else ROWS_BESIDE
        if state.next_due_ms <= numbers.time_ms:
            budget = due.run(state, budget)
        if state.has_chores:
            chores.run(state, budget)
        return refusal if command is None else HANDLERS[type(command)](state, command)

    # --- watching

    def watch(self, topic: str, watcher: Watcher) -> None:
        """Call `watcher(topic)` after each commit in which something of that topic, there or not yet, became ready to
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
        with self._gate:
            return self.applied_index, self._state.hash()

    def audit(self) -> str:
        """The hash of `state_hash`, recomputed from all rows; they differ only if the tables are not what they should
        be. Reads the whole database, and keeps the writer waiting: for tests."""
        with self._gate:
            return audit.audit(self._state)

    # --- durability, from other threads

    @property
    def checkpoint_due(self) -> bool:
        """Whether the database's own files have grown so far that they need a `checkpoint`."""
        return self._growth is not None and self._growth.is_due

    def checkpoint(self) -> int:
        """Bring the state to the disk. -> the applied index up to which it surely is there. Blocks its thread, not the
        writer."""
        if self.path == files.MEMORY:
            return self.applied_index
        if self._closed:
            return self._durable_index
        applied_index = self.applied_index
        upkeep.make_durable(self.path)
        self._durable_index = max(self._durable_index, applied_index)
        if self._upkeep.acquire(blocking=False):
            try:
                if not self._closed:
                    left_bytes = upkeep.backfill(self.path, self._descriptor, self._gate)
                    with self._gate:
                        upkeep.shrink_wal(self.path, self._connection)
                    if self._growth is not None:
                        self._growth.after_checkpoint(left_bytes)
            finally:
                self._upkeep.release()
        return self._durable_index

    def snapshot(self, path: str) -> tuple[int, int, bytes | None]:
        """Write a consistent copy to a new file at `path`, durably, while the writer goes on. -> the copy's (applied
        index, its term, configuration). Raises StateFull, SnapshotAbandoned; then there is no file at `path`."""
        if self.path == files.MEMORY:
            with self._gate:
                with open(path, "wb") as file:
                    file.write(files.image_of(self._connection))
                return self.applied_index, self.applied_term, self.configuration
        with self._upkeep:
            if self._closed:
                raise SnapshotAbandoned
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
        """Release the database; what was applied is kept. Ends a snapshot under way. A second close does nothing."""
        self._abandon.set()
        with self._upkeep, self._gate:
            self._connection.close()
            if not self._closed and self._descriptor >= 0:
                os.close(self._descriptor)
            self._closed = True

    # --- what time brings

    @property
    def next_due_ms(self) -> int:
        """The log time at which a Tick is wanted: something is due then, or there are chores. In the past: at once."""
        return 0 if self._state.has_chores else self._state.next_due_ms

    def due_schedules(
        self, now_ms: int, limit: int, without: Collection[tuple[int, int]] = ()
    ) -> list[queries.ScheduleInfo]:
        """Up to `limit` schedules whose next tick is not after `now_ms`, the most overdue first, but for those whose
        (id, next_ms) is in `without`."""
        with self._gate:
            return queries.due_schedules(self._state, now_ms, limit, without)

    # --- local reads

    def topic(self, name: str) -> queries.TopicInfo | None:
        """One topic by its name."""
        with self._gate:
            return queries.topic(self._state, name)

    def ready(self, topic: str, subscription: str) -> int | None:
        """How many messages it has ready; None where there is no such topic or subscription. Cheap."""
        with self._gate:
            return queries.ready(self._state, topic, subscription)

    def topics(self, prefix: str = "", limit: int = 1000, after: int = 0) -> list[queries.TopicInfo]:
        """Topics in the order of creation, up to `limit` of those with an id above `after`: give the last one's id to
        get the next page."""
        with self._gate:
            return queries.topics(self._state, prefix, limit, after)

    def schedules(self, topic: str) -> list[queries.ScheduleInfo]:
        """The topic's schedules, by name; none where there is no such topic."""
        with self._gate:
            return queries.schedules(self._state, topic)

    def peek(
        self, topic: str, subscription: str, start: int, limit: int, headers: Mapping[str, str]
    ) -> peek.Page | None:
        """Messages from the sequence `start` on, untouched; see `peek.Page`. None where there is no such topic or
        subscription."""
        with self._gate:
            return peek.peek(self._state, topic, subscription, start, limit, headers)

    def counts(self) -> queries.Counts:
        """Sums over all topics."""
        with self._gate:
            return queries.counts(self._state)


def _decoded(item: Item) -> tuple[Command | None, bytes | None]:
    """The item's command, or the refusal of bytes that are none; neither for an item without."""
    if item.command is None:
        return None, None
    try:
        return decode(item.command), None
    except BadCommand as error:
        return None, refuse(BAD_COMMAND, str(error))
