"""Create and delete topics, and sweep up what deleted ones leave behind.

A delete takes the same time whatever the topic holds: the name is free at once, and the messages' rows, which nobody
can reach any more, go a few with every later apply. How many went is no part of the state, so replicas that batch
differently stay equal.
"""

from __future__ import annotations

from app.broker.commands import CreateTopic, DeleteTopic, TopicSettings
from app.broker.results import (
    BAD_COMMAND,
    NOT_SUPPORTED,
    TopicCreated,
    TopicDeleted,
    TopicExists,
    encode,
    no_such_topic,
    refuse,
)
from app.broker.state import State

NAME_LENGTH_MAX = 512
REAP_ROWS = 256
REAP_BYTES = 1 << 20
"""A body larger than a page is a chain of pages, each to be visited: rows alone do not bound the work."""

_CREATED = encode(TopicCreated())
_DELETED = encode(TopicDeleted())


def create_topic(state: State, command: CreateTopic) -> bytes:
    """TopicCreated; TopicExists; refused for a name or settings that cannot be."""
    if not 1 <= len(command.name) <= NAME_LENGTH_MAX or "\0" in command.name:
        return refuse(BAD_COMMAND, f"a topic's name has 1 to {NAME_LENGTH_MAX} characters, none of them NUL")
    topic = state.topic(command.name)
    if topic is not None:
        return encode(TopicExists(topic.settings == command.settings))
    if command.settings != TopicSettings(dedup_window_ms=command.settings.dedup_window_ms):
        return refuse(NOT_SUPPORTED, "of a topic's settings only dedup_window_ms can be changed for now")
    state.add_topic(command.name, command.settings)
    return _CREATED


def delete_topic(state: State, command: DeleteTopic) -> bytes:
    """TopicDeleted; refused where there is none."""
    topic = state.topic(command.name)
    if topic is None:
        return no_such_topic(command.name)
    state.remove_topic(topic)
    return _DELETED


def reap(state: State) -> None:
    """Delete a bounded number of messages of a dead topic, if there is one."""
    dead = state.dead_topic
    if dead is None:
        return
    size_bytes, last = 0, None
    # length() of a trailing blob is read from the row's header: the body is not loaded.
    found = state.sql.execute(
        "SELECT sequence, length(body) FROM message WHERE topic_id = ? ORDER BY sequence LIMIT ?", (dead, REAP_ROWS)
    ).fetchall()
    for sequence, body_bytes in found:
        if last is not None and size_bytes + body_bytes > REAP_BYTES:
            break
        size_bytes += body_bytes
        last = sequence
    if last is not None:
        state.sql.execute("DELETE FROM message WHERE topic_id = ? AND sequence <= ?", (dead, last))
    if len(found) < REAP_ROWS and (not found or last == found[-1][0]):
        state.sql.execute("DELETE FROM dead_topic WHERE id = ?", (dead,))
        state.dead_topic = state.next_dead_topic()
