"""What the commands work on: the tables through one cursor, and in memory the numbers that nearly all of them change.

Rules of this file: memory never knows anything that the tables could not tell again. Within a transaction the
numbers run ahead of the tables; `flush` writes them back once, whatever the number of commands; after a rollback the
whole object is thrown away and loaded anew. Only `publish`, `receive`, `topics` and `dedup` change it.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from app.broker.commands import TopicSettings
from app.broker.digest import bytes_digest, from_bytes, to_bytes

TOPICS_CACHED = 4096
_encode = msgspec.msgpack.Encoder().encode


class Numbers(msgspec.Struct, array_like=True):
    """Row 0 of `hot`. The counters name the next id to give; `rows_digest` sums all topic and claim rows."""

    applied_index: int = 0
    applied_term: int = 0
    time_ms: int = 0
    next_topic_id: int = 1
    next_message_id: int = 1
    next_claim_id: int = 1
    claims: int = 0
    claims_bytes: int = 0
    rows_digest: bytes = bytes(16)


class Tally(msgspec.Struct, array_like=True, frozen=True):
    """A topic's row of `hot`. `messages` and `size_bytes` (of bodies) wait in it; `digest` sums their rows' digests."""

    next_sequence: int
    messages: int
    size_bytes: int
    digest: bytes


class Topic(msgspec.Struct):
    """A topic in memory. `identity`: its unchanging row as bytes. `row_digest`: its share in the state's digest as
    last written; `touched` topics differ from it until the next flush."""

    id: int
    name: str
    settings: TopicSettings
    created_ms: int
    identity: bytes
    next_sequence: int = 1
    messages: int = 0
    size_bytes: int = 0
    digest: int = 0
    row_digest: int = 0

    def tally(self) -> bytes:
        """Its row of `hot`."""
        assert self.messages >= 0 and self.size_bytes >= 0 and self.next_sequence > self.messages
        return _encode((self.next_sequence, self.messages, self.size_bytes, to_bytes(self.digest)))


decode_numbers = msgspec.msgpack.Decoder(Numbers).decode
decode_tally = msgspec.msgpack.Decoder(Tally).decode
decode_settings = msgspec.msgpack.Decoder(TopicSettings).decode


def topic_from_row(row: tuple[Any, ...]) -> Topic:
    """A topic as the tables have it. row: (id, name, settings, created_ms, numbers)."""
    tally = decode_tally(row[4])
    topic = Topic(row[0], row[1], decode_settings(row[2]), row[3], _encode(row[:4]))
    topic.next_sequence, topic.messages, topic.size_bytes = tally.next_sequence, tally.messages, tally.size_bytes
    topic.digest = from_bytes(tally.digest)
    topic.row_digest = bytes_digest(topic.identity + row[4])
    return topic


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
        self.dead_topic = self.next_dead_topic()
        self.touched: dict[int, Topic] = {}
        self.woken: dict[str, None] = {}
        """Topics that got a message in this transaction, in that order."""
        self._topics: dict[str, Topic] = {}

    def topic(self, name: str) -> Topic | None:
        """The living topic of that name."""
        topic = self._topics.get(name)
        if topic is not None:
            return topic
        rows = self.sql.execute(
            "SELECT t.id, t.name, t.settings, t.created_ms, h.numbers FROM topic t JOIN hot h ON h.id = t.id"
            " WHERE t.name = ?",
            (name,),
        ).fetchall()
        if not rows:
            return None
        topic = self._topics[name] = topic_from_row(rows[0])
        return topic

    def add_topic(self, name: str, settings: TopicSettings) -> None:
        """A new topic, empty; there is none of that name."""
        row = (self.numbers.next_topic_id, name, _encode(settings), self.numbers.time_ms)
        self.numbers.next_topic_id += 1
        topic = Topic(row[0], name, settings, row[3], _encode(row))
        tally = topic.tally()
        self.sql.execute("INSERT INTO topic (id, name, settings, created_ms) VALUES (?, ?, ?, ?)", row)
        self.sql.execute("INSERT INTO hot (id, numbers) VALUES (?, ?)", (topic.id, tally))
        topic.row_digest = bytes_digest(topic.identity + tally)
        self.rows_digest += topic.row_digest
        self._topics[name] = topic

    def remove_topic(self, topic: Topic) -> None:
        """The topic and, as far as anyone can see, its messages are gone; their rows wait for the reaper."""
        self.sql.execute("DELETE FROM topic WHERE id = ?", (topic.id,))
        self.sql.execute("DELETE FROM hot WHERE id = ?", (topic.id,))
        self.rows_digest -= topic.row_digest
        del self._topics[topic.name]
        self.touched.pop(topic.id, None)
        self.woken.pop(topic.name, None)
        if topic.messages > 0:
            self.sql.execute("INSERT INTO dead_topic (id) VALUES (?)", (topic.id,))
            self.dead_topic = self.next_dead_topic()

    def next_dead_topic(self) -> int | None:
        """The first dead topic that still has messages lying about."""
        found = self.sql.execute("SELECT id FROM dead_topic ORDER BY id LIMIT 1").fetchall()
        return found[0][0] if found else None

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
            topic.digest = from_bytes(tally[-16:])
            rows.append((tally, topic.id))
        self.numbers.rows_digest = to_bytes(self.rows_digest)
        self.rows_digest = from_bytes(self.numbers.rows_digest)
        rows.append((_encode(self.numbers), 0))
        self.sql.executemany("UPDATE hot SET numbers = ? WHERE id = ?", rows)
        assert self.sql.rowcount == len(rows), "a topic without its row of numbers"
        self.touched.clear()
        if len(self._topics) > TOPICS_CACHED:
            self._topics.clear()

    def hash(self) -> str:
        """The state's hash in hex, between transactions."""
        return hash_of(self.numbers, self.configuration)
