"""Publish: append messages to a topic, all or none.

The messages of one command have consecutive ids and consecutive sequences, so its answer can be told again from three
numbers: that is all a claim keeps of it.
"""

from __future__ import annotations

import msgspec

from app.broker import dedup
from app.broker.commands import NewMessage, Publish
from app.broker.digest import row_digest
from app.broker.results import KEY_REUSED, NOT_SUPPORTED, Published, PublishedMessage, encode, no_such_topic, refuse
from app.broker.state import State, Topic

_INSERT = "INSERT INTO message (id, topic_id, sequence, published_ms, attributes, body) VALUES (?, ?, ?, ?, ?, ?)"


class Attributes(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a message carries beside its body; most carry nothing, and their column is NULL."""

    binary: bool = False
    headers: dict[str, str] | None = None


class Run(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The answer to a Publish in short: `count` consecutive ids and sequences."""

    first_id: int
    first_sequence: int
    count: int


_encode = msgspec.msgpack.Encoder().encode
_decode_run = msgspec.msgpack.Decoder(Run).decode


def publish(state: State, command: Publish) -> bytes:
    """Published; refused for an unknown topic, a key used for something else, or what does not work yet."""
    topic = state.topic(command.topic)
    if topic is None:
        return no_such_topic(command.topic)
    missing = _not_supported(command.messages)
    if missing is not None:
        return refuse(NOT_SUPPORTED, f"a message cannot have {missing} yet")
    if command.key is None:
        return _answer(_append(state, topic, command.messages), duplicate=False)
    claim = dedup.find(state, topic, dedup.PUBLISH, command.key)
    if claim is not None:
        if claim.fingerprint != command.fingerprint:
            return refuse(KEY_REUSED, f"the key {command.key!r} was used for another publish")
        return _answer(_decode_run(claim.answer), duplicate=True)
    run = _append(state, topic, command.messages)
    dedup.remember(state, topic, dedup.PUBLISH, command.key, command.fingerprint, _encode(run))
    return _answer(run, duplicate=False)


def _append(state: State, topic: Topic, messages: list[NewMessage]) -> Run:
    numbers = state.numbers
    run = Run(numbers.next_message_id, topic.next_sequence, len(messages))
    ahead = run.first_sequence - run.first_id
    digest = size_bytes = 0
    rows = []
    for id, message in enumerate(messages, run.first_id):
        row = (id, topic.id, id + ahead, numbers.time_ms, _attributes(message), message.body)
        digest += row_digest(row)
        size_bytes += len(message.body)
        rows.append(row)
    if len(rows) == 1:
        state.sql.execute(_INSERT, rows[0])
    else:
        state.sql.executemany(_INSERT, rows)
    numbers.next_message_id += run.count
    topic.next_sequence += run.count
    topic.messages += run.count
    topic.size_bytes += size_bytes
    topic.digest += digest
    state.touched[topic.id] = topic
    state.woken[topic.name] = None
    return run


def _attributes(message: NewMessage) -> bytes | None:
    if message.headers is None and not message.binary:
        return None
    return _encode(Attributes(message.binary, message.headers))


def _not_supported(messages: list[NewMessage]) -> str | None:
    for message in messages:
        if message.group is not None:
            return "a group"
        if message.dedup_id is not None:
            return "a dedup_id"
        if message.delay_ms:
            return "a delay_ms"
        if message.ttl_ms is not None:
            return "a ttl_ms"
        if message.priority:
            return "a priority"
    return None


def _answer(run: Run, duplicate: bool) -> bytes:
    ahead = run.first_sequence - run.first_id
    ids = range(run.first_id, run.first_id + run.count)
    return encode(Published([PublishedMessage(str(id), id + ahead, duplicate) for id in ids]))
