"""Dead letters: messages that were handed out too often, where they go, and how they come back.

A message is dead each time the number of its deliveries reaches a multiple of the topic's `max_deliveries`. It moves to
the dead-letter topic with its id, unless other subscriptions still need it: then a copy goes. Where there is no such
topic, or it is full, the message stands still in its own, is kept, and the move is tried again now and then.

Redrive gives another chance: to those that stand still, and to dead letters, which go back to where they came from,
behind what waits there, for the subscription that they had died in.
"""

from __future__ import annotations

import msgspec

from app.broker import aside, ended, groups, messages, overflow
from app.broker.commands import Redrive
from app.broker.messages import Attributes, attributes_of
from app.broker.packs import Coming
from app.broker.results import DeadLetter, Redriven, encode, no_such_topic
from app.broker.rows import BODY, DEAD, ID, LANE, PUBLISHED_MS, READY, SEQUENCE, Row
from app.broker.state import LANES, State, Subscription, Topic
from app.broker.withdraw import is_leased, withdraw

RETRY_MS = 300_000
"""Between two tries to move a message to a dead-letter topic that is missing or full."""


def bury(
    state: State, topic: Topic, subscription: Subscription, row: Row, deliveries: int, *, nacked: bool
) -> None:
    """This message, not leased any more, is dead."""
    if _move(state, topic, subscription, row, deliveries):
        ended.note(state, topic, subscription, row[SEQUENCE], deliveries, ended.NACKED if nacked else ended.LOST)
        return
    due_ms = None if topic.settings.dead_letter_topic is None else state.numbers.time_ms + RETRY_MS
    values = (subscription.id, DEAD, row[LANE], row[SEQUENCE], deliveries, int(nacked), due_ms)
    aside.put(state, topic, subscription, values)
    if due_ms is not None:
        state.expect(due_ms)


def _move(state: State, topic: Topic, subscription: Subscription, row: Row, deliveries: int) -> bool:
    """Move a message to the dead-letter topic; whether that was possible."""
    name = topic.settings.dead_letter_topic
    target = None if name is None else state.topic(name)
    if target is None or target is topic:
        return False
    origin = DeadLetter(topic.name, subscription.name, row[SEQUENCE], deliveries, state.numbers.time_ms)
    carried = _carried(state, row, target, origin)
    if not overflow.admit(state, target, 1, messages.size_of(row[BODY], carried)):
        return False
    before = topic.messages
    messages.finish(state, topic, subscription, [row])
    _put(state, target, row, carried, is_copy=topic.messages == before)
    return True


def _carried(state: State, row: Row, target: Topic, origin: DeadLetter | None) -> Attributes:
    """What the message carries in the target, where it has that topic's time to live from now on."""
    ttl_ms = target.settings.ttl_ms
    expires_ms = None if ttl_ms is None else state.numbers.time_ms + ttl_ms
    return msgspec.structs.replace(attributes_of(row), origin=origin, expires_ms=expires_ms)


def _put(
    state: State, target: Topic, row: Row, carried: Attributes, *, is_copy: bool, only: Subscription | None = None
) -> None:
    """Add the message at the target's end."""
    id = row[ID]
    if is_copy:
        id = state.numbers.next_message_id
        state.numbers.next_message_id += 1
    new = messages.compose(state, target, id, target.next_sequence, row[BODY], carried)
    target.next_sequence += 1
    coming = Coming()
    messages.add(state, target, [(*new[:PUBLISHED_MS], row[PUBLISHED_MS], *new[PUBLISHED_MS + 1 :])], coming, only)
    coming.store(state)


def redrive(state: State, command: Redrive) -> bytes:
    """Redriven; refused for an unknown topic."""
    topic = state.topic(command.topic)
    to = None if command.to is None else state.topic(command.to)
    if topic is None:
        return no_such_topic(command.topic)
    if command.to is not None and to is None:
        return no_such_topic(command.to)
    moved = 0 if to is not None else _revive(state, topic, command.max)
    kept, start, limit = 0, command.start, command.max - moved
    found = messages.in_order(state, topic, start, limit)
    for sequence, lane in found:
        row = messages.at(state, topic, lane, sequence)
        assert row is not None
        if attributes_of(row).origin is not None:
            went = not is_leased(state, topic, row) and _send_back(state, topic, row, to)
            moved += went
            kept += not went
        start = sequence + 1
    return encode(Redriven(moved, kept, None if len(found) < limit else start))


def _revive(state: State, topic: Topic, limit: int) -> int:
    """Let those be handed out again that stand still in this topic. -> how many."""
    count = 0
    for subscription in topic.subscriptions:
        found = aside.dead(state, subscription, limit - count)
        for row in found:
            aside.take(state, topic, subscription, row)
            aside.put(state, topic, subscription, (subscription.id, READY, *row[2:6], None))
            if row[2] >= LANES:
                # Out of line the group had nothing waiting: all that is there was handed out. More may be on its way.
                last = messages.last_in_lane(state, topic, row[2])
                groups.arrive(state, topic, subscription, row[2], last + 1)
        count += len(found)
    if count:
        state.woken[topic.name] = None
    return count


def _send_back(state: State, topic: Topic, row: Row, to: Topic | None) -> bool:
    origin = attributes_of(row).origin
    assert origin is not None
    target = state.topic(origin.topic) if to is None else to
    if target is None or target is topic:
        return False
    only = None
    if to is None and len(target.subscriptions) > 1:
        only = target.subscription(origin.subscription)
        if only is None:
            return False
    carried = _carried(state, row, target, None)
    if not overflow.admit(state, target, 1, messages.size_of(row[BODY], carried)):
        return False
    withdraw(state, topic, row)
    _put(state, target, row, carried, is_copy=False, only=only)
    return True
