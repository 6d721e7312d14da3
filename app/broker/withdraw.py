"""Taking a message away before it was handed out, or was again: its time is over, the topic is full, a dead letter goes
back, an ack comes late.

Where a message stands with a subscription is known from its sequence and that subscription's cursor; only a message
behind the cursor, not set aside and not done, can be leased.
"""

from __future__ import annotations

from enum import Enum

from app.broker import aside, ended, groups, messages, shared
from app.broker.messages import LATER
from app.broker.rows import DELAYED, LANE, NEVER, SEQUENCE, Row
from app.broker.state import LANES, State, Subscription, Topic


class Standing(Enum):
    """Where a message stands with a subscription."""

    WAITING = 1
    ASIDE = 2
    LEASED = 3
    DONE = 4


def standing(state: State, topic: Topic, subscription: Subscription, row: Row) -> Standing:
    """Where this message stands with that subscription."""
    lane, sequence = row[LANE], row[SEQUENCE]
    if sequence < subscription.start or shared.is_done(state, topic, subscription, sequence):
        return Standing.DONE
    if lane == LATER or sequence >= _cursor(state, subscription, lane):
        return Standing.WAITING
    return Standing.ASIDE if aside.at(state, subscription, lane, sequence) is not None else Standing.LEASED


def is_leased(state: State, topic: Topic, row: Row) -> bool:
    """Whether some subscription has leased it."""
    return any(standing(state, topic, each, row) is Standing.LEASED for each in topic.subscriptions)


def withdraw(state: State, topic: Topic, row: Row) -> None:
    """The message is done for every subscription that has not leased it."""
    # All are asked first: what is noted of a message goes with it when the last one is done.
    places = [(each, standing(state, topic, each, row)) for each in topic.subscriptions]
    if all(stands is Standing.DONE for _, stands in places):
        messages.delete(state, topic, row)  # kept for a deleted subscription alone
    for subscription, stands in places:
        if stands is Standing.WAITING:
            subscription.delayed -= row[LANE] == LATER
            messages.finish(state, topic, subscription, [row])
            if row[LANE] >= LANES:
                groups.shrink(state, topic, subscription, row[LANE])
        elif stands is Standing.ASIDE:
            found = aside.at(state, subscription, row[LANE], row[SEQUENCE])
            assert found is not None
            finish_aside(state, topic, subscription, row, found, ended.LOST)


def finish_aside(state: State, topic: Topic, subscription: Subscription, row: Row, found: Row, how: bytes) -> None:
    """The subscription is done with a message that it had set aside, in `found`. `how` its last delivery ended: see
    `ended`."""
    aside.take(state, topic, subscription, found)
    ended.note(state, topic, subscription, row[SEQUENCE], found[4], how)
    messages.finish(state, topic, subscription, [row])
    if row[LANE] >= LANES and found[1] == DELAYED:
        groups.release(state, topic, subscription, row[LANE])
    elif row[LANE] >= LANES:
        groups.shrink(state, topic, subscription, row[LANE])


def _cursor(state: State, subscription: Subscription, lane: int) -> int:
    if lane < LANES:
        return subscription.cursors[lane]
    turn = groups.turn_of(state, subscription, lane)
    # A group that is not in line has nothing that waits.
    return NEVER if turn is None else int(turn[groups.CURSOR])
