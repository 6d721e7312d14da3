"""Rows of a topic, in the tables and in its digest at once.

Rules of this file: a row comes and goes through here, so that the digest never misses one. A row is the tuple of all
its columns as SQLite gives them back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from app.broker.digest import bytes_digest, encode_row
from app.broker.state import SCHEDULES, State, Topic

Row = tuple[Any, ...]


class Table:
    """A table whose rows belong to topics; the first `keys` of its `columns` are the primary key. `owner`: the column
    of the store or subscription that a row belongs to; None: the topic as such."""

    def __init__(self, name: str, columns: str, keys: int, owner: int | None) -> None:
        names = columns.split(", ")
        where = " AND ".join(f"{column} = ?" for column in names[:keys])
        sets = ", ".join(f"{column} = ?" for column in names[keys:])
        self._name, self._keys, self._owner = name, keys, owner
        self._insert = f"INSERT INTO {name} ({columns}) VALUES ({', '.join('?' * len(names))})"
        self._delete = f"DELETE FROM {name} WHERE {where}"
        self._update = f"UPDATE {name} SET {sets} WHERE {where}"
        self._select = f"SELECT {columns} FROM {name} "

    def digest(self, row: Row) -> int:
        """Its share in the topic's digest; the same values in another table have another."""
        return bytes_digest(self._encoded(row))

    def _encoded(self, row: Row) -> bytes:
        return encode_row((self._name, *row))

    def insert(self, state: State, topic: Topic, *rows: Row) -> None:
        """These come."""
        self.insert_each(state, [(topic, row) for row in rows])

    def insert_each(self, state: State, rows: Sequence[tuple[Topic, Row]]) -> None:
        """These come, each to a topic of its own."""
        if len(rows) == 1:
            state.sql.execute(self._insert, rows[0][1])
        else:
            state.sql.executemany(self._insert, [row for _, row in rows])
        self._count(state, rows, 1, state.came)

    def delete(self, state: State, topic: Topic, *rows: Row) -> None:
        """These go."""
        keys = [row[: self._keys] for row in rows]
        if len(keys) == 1:
            state.sql.execute(self._delete, keys[0])
        else:
            state.sql.executemany(self._delete, keys)
        assert state.sql.rowcount == len(rows), (self._name, keys)
        self._count(state, [(topic, row) for row in rows], -1, state.changed)

    def update(self, state: State, topic: Topic, old: Row, new: Row) -> None:
        """One gets other values; its key stays."""
        self.update_each(state, topic, [(old, new)])

    def update_each(self, state: State, topic: Topic, changes: Sequence[tuple[Row, Row]]) -> None:
        """The same of several, each from what it was to what it is."""
        assert all(old[: self._keys] == new[: self._keys] for old, new in changes)
        values = [(*new[self._keys :], *new[: self._keys]) for _, new in changes]
        if len(values) == 1:
            state.sql.execute(self._update, values[0])
        else:
            state.sql.executemany(self._update, values)
        assert state.sql.rowcount == len(changes), (self._name, changes)
        self._count(state, [(topic, old) for old, _ in changes], -1, state.changed)
        self._count(state, [(topic, new) for _, new in changes], 1, state.changed)

    def _count(
        self, state: State, rows: Iterable[tuple[Topic, Row]], sign: int, note: Callable[[int], None]
    ) -> None:  # fmt: skip
        for topic, row in rows:
            encoded = self._encoded(row)
            note(len(encoded))
            topic.digests[SCHEDULES if self._owner is None else row[self._owner]] += sign * bytes_digest(encoded)
            state.touch(topic)

    def select(self, state: State, tail: str, values: Row = ()) -> list[Row]:
        """Those that `tail` (WHERE and what follows) says."""
        return state.sql.execute(self._select + tail, values).fetchall()

    def each(self, state: State, tail: str, values: Row = ()) -> Iterator[Row]:
        """The same one by one, as long as nothing else is executed."""
        for row in state.sql.execute(self._select + tail, values):  # noqa: UP028 # `yield from` would close the cursor.
            yield row


MESSAGE = Table("message", "id, store, lane, sequence, published_ms, due_ms, attributes, body", 1, 1)
ID, STORE, LANE, SEQUENCE, PUBLISHED_MS, DUE_MS, ATTRIBUTES, BODY = range(8)
"""The columns of `message`."""
PACK = Table("pack", "id, store, first, count, published_ms, contents", 1, 1)
GROUP = Table("message_group", "store, lane, name", 2, 0)
LEASE = Table("lease", "id, subscription, due_ms, items", 1, 1)
ASIDE = Table("aside", "subscription, state, lane, sequence, deliveries, nacked, due_ms", 4, 0)
TURN = Table("turn", "subscription, lane, cursor, turn", 2, 0)
SHARED = Table("shared", "store, sequence, done", 2, 0)
SCHEDULE = Table("schedule", "id, topic, name, plan, next_ms", 1, None)

NEVER = 1 << 62
"""A sequence, or a cursor, behind everything."""
READY, DELAYED, DEAD = 0, 1, 2
"""States of a row of `aside`."""
