"""Read-only questions to one node's own state, answered between two applies.

They say what this node has applied, no more: whoever needs the newest asks the node for a read barrier first.
"""

from __future__ import annotations

import msgspec

from app.broker.commands import TopicSettings
from app.broker.digest import bytes_digest, row_digest, to_bytes
from app.broker.state import State, Topic, hash_of, topic_from_row

TOPICS_PER_PAGE = 1000


class TopicInfo(msgspec.Struct, frozen=True):
    """A topic as it stands. `id` counts in the order of creation; `messages` with `size_bytes` of bodies wait in it."""

    id: int
    name: str
    settings: TopicSettings
    created_ms: int
    next_sequence: int
    messages: int
    size_bytes: int


class Counts(msgspec.Struct, frozen=True):
    """Sums over the whole state."""

    topics: int
    messages: int
    size_bytes: int
    claims: int


def topic(state: State, name: str) -> TopicInfo | None:
    """One topic by its name."""
    found = state.topic(name)
    return _info(found) if found is not None else None


def topics(state: State, prefix: str, limit: int, after: int) -> list[TopicInfo]:
    """Topics in the order of creation: up to `limit` of those whose id is above `after`."""
    rows = state.sql.execute(
        "SELECT t.id, t.name, t.settings, t.created_ms, h.numbers FROM topic t JOIN hot h ON h.id = t.id"
        " WHERE t.id > ? AND substr(t.name, 1, ?) = ? ORDER BY t.id LIMIT ?",
        (after, len(prefix), prefix, limit),
    )
    return [_info(topic_from_row(row)) for row in rows]


def counts(state: State) -> Counts:
    """Walks all topics, no messages."""
    number = messages = size_bytes = 0
    after = 0
    while page := topics(state, "", TOPICS_PER_PAGE, after):
        number += len(page)
        messages += sum(info.messages for info in page)
        size_bytes += sum(info.size_bytes for info in page)
        after = page[-1].id
    return Counts(number, messages, size_bytes, state.numbers.claims)


def audit(state: State) -> str:
    """The state's hash, recomputed from every row. Reads the whole database: for tests."""
    rows_digest = claims = claims_bytes = 0
    for row in state.sql.execute(
        "SELECT t.id, t.name, t.settings, t.created_ms, h.numbers FROM topic t JOIN hot h ON h.id = t.id"
    ).fetchall():
        rows_digest += _audited(state, topic_from_row(row))
    for row in state.sql.execute("SELECT id, topic_id, kind, key, fingerprint, expires_ms, answer FROM claim"):
        rows_digest += row_digest(row)
        claims += 1
        claims_bytes += len(row[6]) + len(row[4]) + len(row[3])
    fresh = State(state.sql.connection)
    fresh.numbers.rows_digest = to_bytes(rows_digest)
    fresh.numbers.claims = claims
    fresh.numbers.claims_bytes = claims_bytes
    return hash_of(fresh.numbers, fresh.configuration)


def _audited(state: State, found: Topic) -> int:
    digest = messages = size_bytes = 0
    for row in state.sql.execute(
        "SELECT id, topic_id, sequence, published_ms, attributes, body FROM message WHERE topic_id = ?", (found.id,)
    ):
        digest += row_digest(row)
        messages += 1
        size_bytes += len(row[5])
    found.digest, found.messages, found.size_bytes = digest, messages, size_bytes
    return bytes_digest(found.identity + found.tally())


def _info(found: Topic) -> TopicInfo:
    return TopicInfo(
        found.id, found.name, found.settings, found.created_ms, found.next_sequence, found.messages, found.size_bytes
    )
