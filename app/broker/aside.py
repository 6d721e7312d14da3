"""Aside: messages behind a subscription's cursor that it is not done with and nobody holds: ready again, delayed, or
dead.

Rules of this file: rows of `aside` come and go through here, so that the subscription's counts never miss one. Mostly
there is none that is ready, and then nobody needs to look.
"""

from __future__ import annotations

from app.broker.rows import ASIDE, DEAD, DELAYED, READY, Row
from app.broker.state import State, Subscription, Topic


def put(state: State, topic: Topic, subscription: Subscription, row: Row) -> None:
    """A message is set aside."""
    ASIDE.insert(state, topic, row)
    _count(subscription, row[1], 1)


def take(state: State, topic: Topic, subscription: Subscription, row: Row) -> None:
    """It is no longer."""
    ASIDE.delete(state, topic, row)
    _count(subscription, row[1], -1)


def at(state: State, subscription: Subscription, lane: int, sequence: int) -> Row | None:
    """The message's row, in whatever state."""
    found = ASIDE.select(
        state, "WHERE subscription = ? AND state IN (0, 1, 2) AND lane = ? AND sequence = ?",
        (subscription.id, lane, sequence),
    )  # fmt: skip
    return found[0] if found else None


def ready(state: State, subscription: Subscription, lane: int, limit: int) -> list[Row]:
    """Up to `limit` of a lane that are ready, in order."""
    if not subscription.again:
        return []
    tail = "WHERE subscription = ? AND state = 0 AND lane = ? ORDER BY sequence LIMIT ?"
    return ASIDE.select(state, tail, (subscription.id, lane, limit))


def dead(state: State, subscription: Subscription, limit: int) -> list[Row]:
    """Up to `limit` that are dead, by lane and sequence."""
    tail = "WHERE subscription = ? AND state = 2 ORDER BY lane, sequence LIMIT ?"
    return ASIDE.select(state, tail, (subscription.id, limit))


def _count(subscription: Subscription, what: int, change: int) -> None:
    if what == READY:
        subscription.again += change
    elif what == DELAYED:
        subscription.delayed += change
    else:
        assert what == DEAD
        subscription.dead += change
