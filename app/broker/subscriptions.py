"""Subscriptions: several groups of consumers over the same messages, each as if it were alone.

A new one begins at the earliest message that is still stored, at a given sequence, or with what comes. To begin takes
as long as the topic has groups, since each is put in line.
"""

from __future__ import annotations

from app.broker import chores, groups, packs
from app.broker.commands import CreateSubscription, DeleteSubscription
from app.broker.messages import LATER
from app.broker.results import (
    BAD_COMMAND,
    LAST_SUBSCRIPTION,
    TOO_MANY,
    SubscriptionCreated,
    SubscriptionDeleted,
    SubscriptionExists,
    encode,
    no_such_subscription,
    no_such_topic,
    refuse,
)
from app.broker.state import State, Subscription, Topic
from app.broker.topics import is_name

SLOTS = 63
"""Subscriptions of a topic: bits of an integer of SQLite."""


def create_subscription(state: State, command: CreateSubscription) -> bytes:
    """SubscriptionCreated; SubscriptionExists; refused for an unknown topic, or one too many."""
    topic = state.topic(command.topic)
    if topic is None:
        return no_such_topic(command.topic)
    if not is_name(command.name):
        return refuse(BAD_COMMAND, "a subscription's name has 1 to 512 characters, none of them NUL")
    found = topic.subscription(command.name)
    if found is not None:
        return encode(SubscriptionExists(found.start))
    slot = next((slot for slot in range(SLOTS) if not topic.slots >> slot & 1), None)
    if slot is None:
        return refuse(TOO_MANY, f"the topic {command.topic!r} has {SLOTS} subscriptions, or is clearing up after some")
    start = _start(topic, command.start)
    lanes = len(topic.subscriptions[0].cursors)
    new = Subscription(state.own(topic), command.name, slot, start, [start] * lanes)
    topic.subscriptions.append(new)
    topic.slots |= 1 << slot
    state.touch(topic)
    if start < topic.next_sequence:
        _catch_up(state, topic, new)
    return encode(SubscriptionCreated(start))


def _start(topic: Topic, asked: str | int) -> int:
    if asked == "earliest":
        return 1
    return topic.next_sequence if isinstance(asked, str) else min(asked, topic.next_sequence)


def _catch_up(state: State, topic: Topic, new: Subscription) -> None:
    """Count what is there for it already, and put the groups in line."""
    new.backlog = _count(state, topic, "lane = 0", new.start) + _count(state, topic, "lane <> 0", new.start)
    new.backlog += packs.count_from(state, topic, new.start)
    new.delayed = _count(state, topic, f"lane = {LATER}", new.start)
    has_some = "EXISTS (SELECT 1 FROM message m WHERE m.store = g.store AND m.lane = g.lane AND m.sequence >= ?)"
    lanes = state.sql.execute(
        f"SELECT lane FROM message_group g WHERE store = ? AND {has_some} ORDER BY lane", (topic.store, new.start)
    ).fetchall()
    for (lane,) in lanes:
        groups.arrive(state, topic, new, lane, new.start)
    if new.ready:
        state.woken[topic.name] = None


def _count(state: State, topic: Topic, which: str, start: int) -> int:
    found = state.sql.execute(
        f"SELECT count(*) FROM message WHERE store = ? AND {which} AND sequence >= ?", (topic.store, start)
    ).fetchall()
    return int(found[0][0])


def delete_subscription(state: State, command: DeleteSubscription) -> bytes:
    """SubscriptionDeleted; refused where there is none, and for the last one."""
    topic = state.topic(command.topic)
    if topic is None:
        return no_such_topic(command.topic)
    gone = topic.subscription(command.name)
    if gone is None:
        return no_such_subscription(command.topic, command.name)
    if len(topic.subscriptions) == 1:
        return refuse(LAST_SUBSCRIPTION, f"{command.name!r} is the last subscription of {command.topic!r}: delete that")
    topic.subscriptions.remove(gone)
    state.touch(topic)
    chores.reap(state, topic, [gone.id])
    chores.sweep(state, topic, gone.slot)
    # Who waits for it is to learn that it is gone.
    state.woken[topic.name] = None
    return encode(SubscriptionDeleted())
