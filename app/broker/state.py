"""What the commands work on: the tables through one cursor, and in memory the numbers that nearly all of them change.

Rules of this file: memory never knows anything that the tables could not tell again. Within a transaction the
numbers run ahead of the tables; `flush` writes them back, whatever the number of commands; after a rollback the whole
object is thrown away and loaded anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from app.broker.commands import TopicSettings
from app.broker.digest import DIGEST_BYTES, MASK, bytes_digest, from_bytes, to_bytes
from app.broker.handed import Handed

TOPICS_CACHED = 16_384
"""About 1 KB each. To read one again costs as much as a publish."""
ROW_BYTES = 512
"""What any row counts for, beside its own size: 4,096 of them make a long transaction."""
LANES = 10
"""Priorities. The first id is this number, so that the lane of a group, which is an id, is none of them."""
NEVER_MS = 1 << 62
SCHEDULES = 0
"""In the place of an id, where rows belong to the topic as such."""
DEFAULT = "default"
"""The subscription that every topic has from the start."""

_encode = msgspec.msgpack.Encoder().encode


class Numbers(msgspec.Struct, array_like=True):
    """Row 0 of `hot`. The counters name the next id to give; `next_id` is for stores, subscriptions, lanes of groups
    and schedules; `rows_digest` sums the rows of all topics and all claims and chores. `claims` counts claims,
    `next_claim_id` their rows."""

    applied_index: int = 0
    applied_term: int = 0
    time_ms: int = 0
    next_topic_id: int = 1
    next_id: int = LANES
    next_message_id: int = 1
    next_lease_id: int = 1
    next_claim_id: int = 1
    claims: int = 0
    claims_bytes: int = 0
    rows_digest: bytes = bytes(16)


class Subscription(msgspec.Struct, array_like=True):
    """How far one group of consumers is in a topic.

    `start`: the first sequence that it gets. `cursors`: in each lane of priorities, the first sequence that it has not
    been handed out. Of the `backlog`, all that it is not done with, `leased`, `delayed` and `dead` messages cannot be
    handed out now; `again` counts those set aside that can. `turns` counts its rows of `turn`; `next_turn` is the next
    to give, `plain_turn` that of all messages without a group together.
    """

    id: int
    name: str
    slot: int
    start: int
    cursors: list[int]
    backlog: int = 0
    leased: int = 0
    delayed: int = 0
    dead: int = 0
    again: int = 0
    turns: int = 0
    next_turn: int = 1
    plain_turn: int = 0

    @property
    def ready(self) -> int:
        """How many messages could be handed out, but for groups that wait for one of their own."""
        return self.backlog - self.leased - self.delayed - self.dead


class Tally(msgspec.Struct, array_like=True, frozen=True):
    """A topic's row of `hot`. `messages` and `size_bytes` (of bodies and attributes): what is stored in `store`.
    `digests`: of its schedules, of the store's rows, and of each subscription's, sums of rows' digests. `slots`: bits
    that subscriptions have, or have left behind. `shares`: rows of `shared`, `packs`: of `pack`. While `groups_later`
    messages with a group have not arrived, none may arrive before `group_due_ms`, lest it overtake another."""

    next_sequence: int
    messages: int
    size_bytes: int
    digests: list[bytes]
    store: int
    slots: int
    shares: int
    packs: int
    groups_later: int
    group_due_ms: int
    subscriptions: list[Subscription]


class Topic(msgspec.Struct):
    """A topic in memory. `identity`: its row of `topic` as bytes. `digests`: as in the tally, by the id of the store or
    subscription, `SCHEDULES` for schedules. `row_digest`: its share in the state's digest as last written; `touched`
    topics differ from it until the next flush."""

    id: int
    name: str
    settings: TopicSettings
    created_ms: int
    version: int
    identity: bytes
    store: int
    subscriptions: list[Subscription]
    digests: dict[int, int]
    next_sequence: int = 1
    messages: int = 0
    size_bytes: int = 0
    slots: int = 0
    shares: int = 0
    packs: int = 0
    groups_later: int = 0
    group_due_ms: int = 0
    row_digest: int = 0

    def tally(self) -> bytes:
        """Its row of `hot`."""
        assert min(self.messages, self.size_bytes, self.shares, self.packs, self.groups_later) >= 0, self
        digests = [to_bytes(self.digests[id]) for id in (SCHEDULES, *self.owned())]
        numbers = (self.next_sequence, self.messages, self.size_bytes, digests, self.store)
        group_numbers = (self.groups_later, self.group_due_ms)
        return _encode((*numbers, self.slots, self.shares, self.packs, *group_numbers, self.subscriptions))

    def subscription(self, name: str) -> Subscription | None:
        """The one of that name."""
        return next((each for each in self.subscriptions if each.name == name), None)

    def owned(self) -> list[int]:
        """Its ids in `owner`."""
        return [self.store, *(each.id for each in self.subscriptions)]


decode_numbers = msgspec.msgpack.Decoder(Numbers).decode
decode_tally = msgspec.msgpack.Decoder(Tally).decode
decode_settings = msgspec.msgpack.Decoder(TopicSettings).decode

TOPIC_ROWS = (
    "SELECT t.id, t.name, t.settings, t.created_ms, t.version, h.numbers FROM topic t JOIN hot h ON h.id = t.id"
)


def topic_from_row(row: tuple[Any, ...]) -> Topic:
    """A topic as the tables have it. row: of `TOPIC_ROWS`."""
    tally = decode_tally(row[5])
    ids = [SCHEDULES, tally.store, *(each.id for each in tally.subscriptions)]
    digests = dict(zip(ids, map(from_bytes, tally.digests), strict=True))
    return Topic(
        row[0], row[1], decode_settings(row[2]), row[3], row[4], _encode(row[:5]), tally.store, tally.subscriptions,
        digests, tally.next_sequence, tally.messages, tally.size_bytes, tally.slots, tally.shares, tally.packs,
        tally.groups_later, tally.group_due_ms, bytes_digest(_encode(row[:5]) + row[5]),
    )  # fmt: skip


def names_in(names: bytes) -> list[bytes]:
    """The names in a row of `claim`, one by one."""
    return [names[start : start + DIGEST_BYTES] for start in range(0, len(names), DIGEST_BYTES)]


def hash_of(numbers: Numbers, configuration: bytes | None) -> str:
    """The state's hash in hex: the machine's numbers, in them the digest of all rows, and the configuration."""
    return to_bytes(bytes_digest(_encode((numbers, configuration)))).hex()


class State:
    """The tables and the numbers of one machine. Not thread-safe: the machine guards it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.sql = connection.cursor()
        """One cursor for all: each statement ends the one before, so read a result before the next execute."""
        self.numbers = decode_numbers(self.sql.execute("SELECT numbers FROM hot WHERE id = 0").fetchall()[0][0])
        found = self.sql.execute("SELECT data FROM configuration").fetchall()
        self.configuration: bytes | None = found[0][0] if found else None
        self.rows_digest = from_bytes(self.numbers.rows_digest)
        self.has_chores = bool(self.sql.execute("SELECT 1 FROM chore LIMIT 1").fetchall())
        self.touched: dict[int, Topic] = {}
        self.next_due_ms = self._first_due_ms()
        """Nothing has its time before; maybe nothing has it then."""
        self.woken: dict[str, None] = {}
        """Topics that went, or in which something became ready to be handed out, in this apply, in that order."""
        self.handed = Handed()
        self.claimed = {
            name: id
            for id, names in self.sql.execute("SELECT id, names FROM claim ORDER BY id")
            for name in names_in(names)
        }
        """Which row of `claim` holds the last one of a name (`dedup`)."""
        self.claims_read: tuple[int, int, dict[bytes, Any]] | None = None
        """The row that was read last: its id, when its time is over, its claims by name. Rows never change."""
        self.came_bytes = self.changed_bytes = 0
        """By `came` and `changed`, in this transaction."""
        self.unpacked: tuple[tuple[int, ...], list[tuple[Any, ...]]] | None = None
        """The pack that was read last, and its messages as rows (`packs`)."""
        self.is_asked = True
        """Of the entry that is being applied: whether somebody waits for the answer."""
        self.may_drop_more = False
        """Of the entry that is being applied: whether it may still drop messages beyond what it needs (`overflow`)."""
        self._names: dict[str, Topic] = {}
        self._ids: dict[int, Topic] = {}

    def topic(self, name: str) -> Topic | None:
        """The living topic of that name."""
        topic = self._names.get(name)
        return topic if topic is not None else self._load("t.name", name)

    def topic_of(self, owned: int) -> Topic | None:
        """The living topic that a store or a subscription with this id belongs to."""
        rows = self.sql.execute("SELECT topic FROM owner WHERE id = ?", (owned,)).fetchall()
        if not rows:
            return None
        topic = self.topic_by_id(rows[0][0])
        assert topic is not None, f"{owned} belongs to a topic that is not there"
        return topic

    def topic_by_id(self, id: int) -> Topic | None:
        """The living topic with that id."""
        topic = self._ids.get(id)
        return topic if topic is not None else self._load("t.id", id)

    def _load(self, column: str, value: str | int) -> Topic | None:
        rows = self.sql.execute(f"{TOPIC_ROWS} WHERE {column} = ?", (value,)).fetchall()
        return self._keep(topic_from_row(rows[0])) if rows else None

    def _keep(self, topic: Topic) -> Topic:
        self._names[topic.name] = self._ids[topic.id] = topic
        return topic

    def new_id(self) -> int:
        """An id that was never used."""
        self.numbers.next_id += 1
        return self.numbers.next_id - 1

    def own(self, topic: Topic) -> int:
        """A new id, for a store or a subscription of the topic."""
        id = self.new_id()
        self.sql.execute("INSERT INTO owner (id, topic) VALUES (?, ?)", (id, topic.id))
        topic.digests[id] = 0
        return id

    def disown(self, topic: Topic, ids: Iterable[int]) -> None:
        """These belong to nobody any more."""
        for id in ids:
            self.sql.execute("DELETE FROM owner WHERE id = ?", (id,))
            del topic.digests[id]

    def add_topic(self, name: str, settings: TopicSettings) -> None:
        """A new topic, empty, with the subscription `DEFAULT`; there is none of that name."""
        row = (self.numbers.next_topic_id, name, _encode(settings), self.numbers.time_ms, 1)
        self.numbers.next_topic_id += 1
        lanes = LANES if settings.priorities else 1
        topic = Topic(row[0], name, settings, row[3], 1, _encode(row), 0, [], {SCHEDULES: 0}, slots=1)
        topic.store = self.own(topic)
        topic.subscriptions.append(Subscription(self.own(topic), DEFAULT, 0, 1, [1] * lanes))
        tally = topic.tally()
        self.sql.execute("INSERT INTO topic (id, name, settings, created_ms, version) VALUES (?, ?, ?, ?, ?)", row)
        self.sql.execute("INSERT INTO hot (id, numbers) VALUES (?, ?)", (topic.id, tally))
        topic.row_digest = bytes_digest(topic.identity + tally)
        self.rows_digest += topic.row_digest
        self._keep(topic)

    def change_topic(self, topic: Topic, settings: TopicSettings) -> None:
        """Other settings, and the next version."""
        topic.settings, topic.version = settings, topic.version + 1
        row = (topic.id, topic.name, _encode(settings), topic.created_ms, topic.version)
        topic.identity = _encode(row)
        self.sql.execute("UPDATE topic SET settings = ?, version = ? WHERE id = ?", (row[2], row[4], topic.id))
        self.touch(topic)

    def remove_topic(self, topic: Topic) -> None:
        """The topic is gone, with all that it owned; the rows of those are waste now."""
        self.sql.execute("DELETE FROM topic WHERE id = ?", (topic.id,))
        self.sql.execute("DELETE FROM hot WHERE id = ?", (topic.id,))
        self.rows_digest -= topic.row_digest
        del self._names[topic.name], self._ids[topic.id]
        self.touched.pop(topic.id, None)
        self.woken[topic.name] = None

    def expect(self, due_ms: int) -> None:
        """Something has its time then."""
        self.next_due_ms = min(self.next_due_ms, due_ms)

    def look_ahead(self) -> None:
        """All is done whose time has come: find out what comes next."""
        self.next_due_ms = self._first_due_ms()

    def _first_due_ms(self) -> int:
        found = self.sql.execute(
            "SELECT min(due_ms) FROM message WHERE due_ms IS NOT NULL UNION ALL SELECT min(due_ms) FROM lease"
            " UNION ALL SELECT min(due_ms) FROM aside WHERE due_ms IS NOT NULL"
        ).fetchall()
        return min((due_ms for (due_ms,) in found if due_ms is not None), default=NEVER_MS)

    def came(self, size_bytes: int) -> None:
        """A row of that size came, beside the one before, but for a page of an index that is its topic's."""
        self.came_bytes += ROW_BYTES + size_bytes

    def changed(self, size_bytes: int, rows: int = 1) -> None:
        """Rows of that size together went, or changed. Where they are is anywhere: four pages or so each, in the table
        and its indexes."""
        self.changed_bytes += rows * ROW_BYTES + size_bytes

    def touch(self, topic: Topic) -> None:
        """Its numbers changed."""
        self.touched[topic.id] = topic

    def configure(self, configuration: bytes) -> None:
        """Keep the cluster's configuration."""
        self.sql.execute("REPLACE INTO configuration (id, data) VALUES (0, ?)", (configuration,))
        self.configuration = configuration

    def flush(self) -> None:
        """Write the numbers that changed; the tables then hold the whole state."""
        rows = []
        for topic in self.touched.values():
            tally = topic.tally()
            digest = bytes_digest(topic.identity + tally)
            self.rows_digest += digest - topic.row_digest
            topic.row_digest = digest
            for id in topic.digests:
                topic.digests[id] &= MASK
            rows.append((tally, topic.id))
        self.numbers.rows_digest = to_bytes(self.rows_digest)
        self.rows_digest = from_bytes(self.numbers.rows_digest)
        rows.append((_encode(self.numbers), 0))
        self.sql.executemany("UPDATE hot SET numbers = ? WHERE id = ?", rows)
        assert self.sql.rowcount == len(rows), "a topic without its row of numbers"
        self.touched.clear()
        if len(self._ids) > TOPICS_CACHED:
            self._names.clear()
            self._ids.clear()

    def hash(self) -> str:
        """The state's hash in hex, between transactions."""
        return hash_of(self.numbers, self.configuration)
