"""Receive with `auto_ack`: hand out the oldest messages of a topic and forget them, in one command.

With a key the whole answer is kept as a claim, bodies included, since the messages themselves are gone. An empty
answer is kept as well: a first try that was delayed would otherwise take messages when its retry has been answered
already, and nobody would ever see them. Only who still waits for messages, and will ask again, leaves it open.
"""

from __future__ import annotations

import msgspec

from app.broker import dedup
from app.broker.commands import Receive
from app.broker.digest import row_digest
from app.broker.publish import Attributes
from app.broker.results import KEY_REUSED, NOT_SUPPORTED, Received, ReceivedMessage, encode, no_such_topic, refuse
from app.broker.state import State, Topic

RECEIVE_BYTES = 4 << 20
"""The most bytes of bodies in one answer; a single message may exceed it."""

Row = tuple[int, int, int, int, bytes | None, bytes]
"""id, topic_id, sequence, published_ms, attributes, body: a row of `message`."""

_EMPTY = encode(Received([]))
_decode_attributes = msgspec.msgpack.Decoder(Attributes).decode


def receive(state: State, command: Receive) -> bytes:
    """Received; refused for an unknown topic, or for what does not work yet."""
    if not command.auto_ack:
        return refuse(NOT_SUPPORTED, "messages can only be received with auto_ack for now")
    if command.subscription != "default":
        return refuse(NOT_SUPPORTED, "a topic has only the subscription 'default' for now")
    topic = state.topic(command.topic)
    if topic is None:
        return no_such_topic(command.topic)
    fingerprint = b"%d" % command.max
    if command.key is not None:
        claim = dedup.find(state, topic, dedup.RECEIVE, command.key)
        if claim is not None:
            if claim.fingerprint != fingerprint:
                return refuse(KEY_REUSED, f"the key {command.key!r} was used for another receive")
            return claim.answer
    if topic.messages == 0:
        answer = _EMPTY
    else:
        answer = encode(Received([_handed_out(row) for row in _pop(state, topic, command.max)]))
    if command.key is not None and (command.final or answer is not _EMPTY):
        dedup.remember(state, topic, dedup.RECEIVE, command.key, fingerprint, answer)
    return answer


def _pop(state: State, topic: Topic, limit: int) -> list[Row]:
    rows: list[Row] = []
    digest = size_bytes = 0
    for row in state.sql.execute(
        "SELECT id, topic_id, sequence, published_ms, attributes, body FROM message"
        " WHERE topic_id = ? ORDER BY sequence LIMIT ?",
        (topic.id, limit),
    ):
        if rows and size_bytes + len(row[5]) > RECEIVE_BYTES:
            break
        size_bytes += len(row[5])
        digest += row_digest(row)
        rows.append(row)
    assert rows, "a topic counts messages that it does not have"
    if len(rows) == 1:
        state.sql.execute("DELETE FROM message WHERE id = ?", (rows[0][0],))
    else:
        state.sql.execute("DELETE FROM message WHERE topic_id = ? AND sequence <= ?", (topic.id, rows[-1][2]))
    assert state.sql.rowcount == len(rows)
    topic.messages -= len(rows)
    topic.size_bytes -= size_bytes
    topic.digest -= digest
    state.touched[topic.id] = topic
    return rows


def _handed_out(row: Row) -> ReceivedMessage:
    id, _, sequence, published_ms, attributes, body = row
    if attributes is None:
        return ReceivedMessage(str(id), sequence, body, False, None, published_ms)
    carried = _decode_attributes(attributes)
    return ReceivedMessage(str(id), sequence, body, carried.binary, carried.headers, published_ms)
