"""Topics: create, change, delete, purge.

To delete a topic or its messages takes the same time whatever it holds: the rows, which nobody can reach any more, go
later (`chores`).
"""

from __future__ import annotations

from app.broker import chores
from app.broker.commands import ChangeTopic, CreateTopic, DeleteTopic, Purge
from app.broker.results import (
    BAD_COMMAND,
    VERSION_CONFLICT,
    Purged,
    TopicChanged,
    TopicCreated,
    TopicDeleted,
    TopicExists,
    encode,
    no_such_topic,
    refuse,
)
from app.broker.state import State

NAME_LENGTH_MAX = 512

_CREATED = encode(TopicCreated())
_DELETED = encode(TopicDeleted())


def create_topic(state: State, command: CreateTopic) -> bytes:
    """TopicCreated; TopicExists; refused for a name that cannot be."""
    if not is_name(command.name):
        return refuse(BAD_COMMAND, f"a topic's name has 1 to {NAME_LENGTH_MAX} characters, none of them NUL")
    topic = state.topic(command.name)
    if topic is not None:
        return encode(TopicExists(topic.settings == command.settings))
    state.add_topic(command.name, command.settings)
    return _CREATED


def is_name(name: str) -> bool:
    """Whether a topic, a subscription or a schedule may be called so."""
    return 1 <= len(name) <= NAME_LENGTH_MAX and "\0" not in name


def change_topic(state: State, command: ChangeTopic) -> bytes:
    """TopicChanged; refused for an unknown topic, or when its version is another."""
    topic = state.topic(command.name)
    if topic is None:
        return no_such_topic(command.name)
    if command.version not in (None, topic.version):
        return refuse(VERSION_CONFLICT, f"the topic {command.name!r} is at version {topic.version}")
    settings = command.change.of(topic.settings)
    if settings != topic.settings:
        state.change_topic(topic, settings)
    return encode(TopicChanged(topic.version))


def delete_topic(state: State, command: DeleteTopic) -> bytes:
    """TopicDeleted; refused where there is none."""
    topic = state.topic(command.name)
    if topic is None:
        return no_such_topic(command.name)
    state.sql.execute("DELETE FROM schedule WHERE topic = ?", (topic.id,))
    state.remove_topic(topic)
    chores.reap(state, topic, topic.owned())
    return _DELETED


def purge(state: State, command: Purge) -> bytes:
    """Purged; refused for an unknown topic. Sequences go on; who holds a lease has lost it."""
    topic = state.topic(command.topic)
    if topic is None:
        return no_such_topic(command.topic)
    answer = encode(Purged(topic.messages))
    chores.reap(state, topic, topic.owned())
    topic.store = state.own(topic)
    topic.messages = topic.size_bytes = topic.shares = topic.packs = topic.groups_later = 0
    for each in topic.subscriptions:
        each.id = state.own(topic)
        each.cursors = [topic.next_sequence] * len(each.cursors)
        each.backlog = each.leased = each.delayed = each.dead = each.again = each.turns = 0
    state.touch(topic)
    return answer
